"""Phonemes by the real misaki: expected ones of a few sentences, and that nothing of a text is dropped."""

from __future__ import annotations

import random
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.errors import InvalidRequest
from deployments.kokoro.phonemes import Phonemizer, split_phonemes


@pytest.fixture(scope="module")
def phonemizer() -> Phonemizer:
    return Phonemizer()


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("Hello from Voicegraph.", "həlˈO fɹʌm vˈYsɡɹæf."),
        ("Dr. Smith paid $5.20.", "dˈɑktəɹ smˈɪθ pˈAd fˈIv dˈɑləɹz ænd twˈɛnti sˈɛnts."),
        ("“Hi,” she said.", "“hˈI,” ʃi sˈɛd."),
        ("It’s fine, don't worry!", "ˌɪts fˈIn, dˈOnt wˈɜɹi!"),
        ("well-known", "wˈɛl—nˈOn"),
        # Words that are pronounced differently as noun and verb, or as past and present.
        ("They record a record.", "ðˌA ɹəkˈɔɹd ɐ ɹˈɛkəɹd."),
        ("I will read it.", "ˌI wɪl ɹˈid ɪt."),
        ("I have read it.", "ˌI hæv ɹˈɛd ɪt."),
        # The article before a vowel.
        ("the apple and the book", "ði ˈæpᵊl ænd ðə bˈʊk"),
    ],
)
def test_english(phonemizer: Phonemizer, text: str, phonemes: str) -> None:
    assert phonemizer.phonemes(text, "en-us") == phonemes


@pytest.mark.slow
def test_british_and_american_differ(phonemizer: Phonemizer) -> None:
    assert phonemizer.phonemes("The tomato in the bath.", "en-gb") == "ðə təmˈɑːtQ ɪn ðə bˈɑːθ."
    assert phonemizer.phonemes("The tomato in the bath.", "en-us") == "ðə təmˈATO ɪn ðə bˈæθ."


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("Mr. & Mrs. Smith", "Mr. and Mrs. Smith"),
        ("R&B", "R and B"),
        ("AT&T", "A T and T"),
        ("50%", "50 percent"),
        ("50 % off", "50 percent off"),
        ("me@home", "me at home"),
        ("5€", "€5"),
        ("it costs 20$.", "it costs $20."),
        ("¥500", "500 yen"),
        ("25°C", "25 degrees Celsius"),
        ("25 ℃ today", "25 degrees Celsius today"),
        ("77°F", "77 degrees Fahrenheit"),
        ("90° angle", "90 degrees angle"),
        ("#1", "number 1"),
        ("C# and F#", "C sharp and F sharp"),
        ("§5", "section 5"),
        ("3 < 5", "3 is less than 5"),
        ("ＡＢＣ １２", "ABC 12"),
        ("cafe\u0301", "café"),
        ("12345678901234567890", " ".join("12345678901234567890")),
        ("1,000,000,000", "1000000000"),
    ],
)
def test_symbols_are_spoken(phonemizer: Phonemizer, text: str, same_as: str) -> None:
    def sounds(text: str) -> str:
        found = phonemizer.phonemes(text, "en-us")
        return "".join(c for c in found if c.isalpha())

    assert sounds(text) == sounds(same_as)


def test_brackets_in_a_text_are_no_markup(phonemizer: Phonemizer) -> None:
    plain = phonemizer.phonemes("word", "en-us")
    for text in ("[word](/fˈu/)", "[word](-2)", "[word](#x#)", "[word](0.5)"):
        assert plain in phonemizer.phonemes(text, "en-us")
    assert "fˈu" not in phonemizer.phonemes("[word](/fˈu/)", "en-us")
    assert phonemizer.phonemes("as is [sic] there", "en-us").count("sˈɪk") == 1


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("你好，世界。", "ni↓xau↓, ʂɨ↘ʨje↘."),
        ("“你好”，他说。", "“ni↓xau↓”, tʰa→ ʂwo→."),
        ("二〇二四年", "ɚ↘li↗ŋɚ↘ sɨ↘njɛ↗n"),
        ("你好world你好", "ni↓xau↓ wˈɜɹld ni↓xau↓"),
        ("AT&T很大", "ˈA tˈi ænd tˈi xə↓nta↘"),
        ("café 你好", "kæfˈA ni↓xau↓"),
        ("ＡＢＣ你好", "ˌAbˌisˈi ni↓xau↓"),
        ("豈有此理", "ʨʰi↓ jou↓ ʦʰɨ↓li↓"),  # the first is a compatibility ideograph
    ],
)
def test_chinese(phonemizer: Phonemizer, text: str, phonemes: str) -> None:
    assert phonemizer.phonemes(text, "zh") == phonemes


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("25℃", "二十五摄氏度"),
        ("¥100", "一百元"),
        ("你好$5", "你好五美元"),
        ("1+1=2", "一加一等于二"),
        ("100%", "百分之一百"),
        ("你&我", "你和我"),
        ("３月", "三月"),
        ("10:30见", "十点三十分见"),
        ("-5度", "负五度"),
        ("１/２的人", "二分之一的人"),
    ],
)
def test_chinese_numbers_and_symbols_are_spoken(phonemizer: Phonemizer, text: str, same_as: str) -> None:
    def sounds(text: str) -> str:
        return phonemizer.phonemes(text, "zh").replace(" ", "")

    assert sounds(text) == sounds(same_as)


def test_english_by_a_chinese_voice_has_english_numbers(phonemizer: Phonemizer) -> None:
    text = "It costs $5 and 20%."
    assert phonemizer.phonemes(text, "zh") == phonemizer.phonemes(text, "en-us")


@pytest.mark.parametrize("accent", ["en-us", "en-gb", "es", "fr-fr", "hi", "it", "pt-br"])
def test_chinese_within_another_language_is_spoken_as_chinese(phonemizer: Phonemizer, accent: str) -> None:
    found = phonemizer.phonemes("Taxi 北京.", accent)
    assert found.endswith("pei↓ʨi→ŋ.")
    assert not found.startswith("pei")


def test_a_word_of_another_script_does_not_bring_language_names_along(phonemizer: Phonemizer) -> None:
    assert phonemizer.phonemes("say नमस्ते now", "en-us") == "sˈA nəmˈʌstA nˈW"


@pytest.mark.parametrize("text", ["兙", "你𠀂好", "龦"])
def test_a_character_without_a_known_pronunciation_is_refused_not_skipped(
    phonemizer: Phonemizer, text: str
) -> None:
    with pytest.raises(InvalidRequest, match=r"does not know how to pronounce '(兙|𠀂|龦)'") as caught:
        phonemizer.phonemes(text, "zh")
    assert (caught.value.param, caught.value.code) == ("input", "unsupported_characters")


WORDS = (
    *("alpha", "zyzzyva", "Xq", "café", "naïve", "don't", "US", "A.I.", "e-mail", "1990s", "Ωmega", "R&B"),
    *("42", "3.5", "$7", "20%", "你好", "北京", "世界"),
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=8),
    accent=st.sampled_from(["en-us", "en-gb", "zh"]),
)
def test_every_word_adds_sound(phonemizer: Phonemizer, words: list[str], accent: str) -> None:
    def sounds(text: str) -> int:
        # The first words settle the language that numbers are read in.
        return sum(c.isalpha() for c in phonemizer.phonemes(f"你好 hello, {text}", accent))

    for count in range(1, len(words) + 1):
        # A comma keeps numbers and units from being read together.
        assert sounds(", ".join(words[:count])) > sounds(", ".join(words[: count - 1]))


def anything(luck: random.Random) -> str:
    ranges = [
        (32, 0x24F),
        (0x2000, 0x2BFF),
        (0x3000, 0x303F),
        (0x4E00, 0x9FA5),
        (0xFF00, 0xFFEF),
        (0x1F300, 0x1F6FF),
    ]
    low, high = luck.choice(ranges)
    return chr(luck.randint(low, high))


@pytest.mark.parametrize("accent", ["en-us", "zh", "fr-fr"])
def test_no_text_crashes_it(phonemizer: Phonemizer, accent: str) -> None:
    luck = random.Random(1)
    texts = [
        "9" * 400,
        "9," * 200,
        "$" + "9" * 30,
        "1/0",
        "''",
        "---",
        "\n",
        "",
        "a" * 500,
        "e\u0301" * 5,
        "1.2.3.4",
    ]
    texts += ["".join(anything(luck) for _ in range(luck.randint(1, 12))) for _ in range(150)]
    for text in texts:
        if any(unicodedata.name(c, "").startswith(("HALFWIDTH", "HANGUL")) for c in text):
            continue  # never reaches a phonemizer
        with suppress(InvalidRequest):
            phonemizer.phonemes(text, accent)


@given(st.text("ab ,.!?;:—", max_size=300), st.integers(4, 60))
def test_pieces_of_phonemes_are_short_and_complete(phonemes: str, limit: int) -> None:
    pieces = split_phonemes(phonemes, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(phonemes.split())


def test_pieces_end_at_punctuation_where_they_can() -> None:
    assert split_phonemes("aaaa bbbb, cccc dddd", 14) == ["aaaa bbbb,", "cccc dddd"]
    assert split_phonemes("aaaa bbbb cccc dddd", 14) == ["aaaa bbbb", "cccc dddd"]
    assert split_phonemes("a" * 20, 8) == ["a" * 8, "a" * 8, "a" * 4]
    assert split_phonemes("  ab:", 4) == ["ab:"]
