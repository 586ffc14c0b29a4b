"""How English is read: a table, numbers that keep their value, and that no text is too much."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.kokoro.phonemes import Phonemizer
from deployments.text.english.normalizer import normalize_english
from tests.unit.text.english_readings import READINGS

UNITS = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SMALL = dict(zip(UNITS, range(20), strict=True)) | {word: 20 + 10 * i for i, word in enumerate(TENS)}
LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def table() -> list[tuple[str, list[str]]]:
    lines = [line.split(" => ") for line in READINGS.strip().splitlines() if not line.startswith("# ")]
    return [(text, words.split(" | ")) for text, words in lines]


def value(words: str) -> Fraction:
    """The number that words say, by a way of its own: no part of what is tested."""
    said = words.lower().split()
    sign = -1 if said[0] == "minus" else 1
    whole, _, decimals = " ".join(said).removeprefix("minus ").partition(" point ")
    digits, scale = decimals.split(), 1
    if digits and digits[-1] in LARGE:
        scale = LARGE[digits.pop()]
    total, group = 0, 0
    for word in whole.replace(" and ", " ").split():
        if word in SMALL:
            group += SMALL[word]
        elif word == "hundred":
            group *= 100
        else:
            total, group = total + group * LARGE[word], 0
    fraction = Fraction(int("".join(str(SMALL[digit]) for digit in digits) or 0), 10 ** len(digits))
    return sign * (total + group + fraction) * scale


@pytest.fixture(scope="module")
def frontend(golden_front: Path) -> IndexTextFrontend:
    return IndexTextFrontend(golden_front / "ckpt" / "bpe.model", languages=["en"])


def test_the_table_is_large_and_without_doubles() -> None:
    texts = [text for text, _ in table()]
    assert len(texts) == len(set(texts)) >= 200


@pytest.mark.parametrize(("text", "readings"), table())
def test_readings(text: str, readings: list[str]) -> None:
    read = normalize_english(text)
    assert read in readings
    assert normalize_english(read) == read


def test_indextts_reads_the_table_alike(frontend: IndexTextFrontend) -> None:
    for text, readings in table():
        heard = " ".join(segment.text for segment in frontend.iter_segments(text))
        spelled = [" ".join(segment.text for segment in frontend.iter_segments(words)) for words in readings]
        assert heard in spelled, text
        assert not re.search(r"\d", heard)


def test_kokoro_reads_the_table_alike() -> None:
    phonemizer = Phonemizer()
    for text, readings in table()[::5]:
        heard = phonemizer.phonemes(text, "en-us")
        assert heard in [phonemizer.phonemes(words, "en-us") for words in readings], text


def spaced(sign: str) -> Callable[[int], str]:
    return lambda number: f"{number:,}".replace(",", sign)


GROUPED = st.sampled_from([str, *map(spaced, (",", "\u00a0", "\u202f", "\u2009", "'"))])


@settings(deadline=None)
@given(st.integers(10_000, 10**14), GROUPED, st.sampled_from(["", "-", "\u2212"]))
def test_whole_numbers_keep_their_value(number: int, written: Callable[[int], str], minus: str) -> None:
    read = normalize_english(f"It is {minus}{written(number)} in all.")
    assert value(read.removeprefix("It is ").removesuffix(" in all.")) == (-number if minus else number)


@settings(deadline=None)
@given(st.integers(0, 9_999_999), st.integers(1, 5), st.sampled_from(["{}.{}", "{:,}.{}"]))
def test_decimals_keep_their_value(number: int, places: int, form: str) -> None:
    whole, decimals = divmod(number, 10**places)
    read = normalize_english(f"It is {form.format(whole, str(decimals).zfill(places))} in all.")
    assert value(read.removeprefix("It is ").removesuffix(" in all.")) == Fraction(number, 10**places)


@settings(deadline=None)
@given(
    st.integers(1, 10**9), st.integers(0, 99), st.sampled_from(["${:,}.{:02}", "${}.{:02}", "{:,}.{:02} USD"])
)
def test_amounts_keep_their_value(dollars: int, cents: int, form: str) -> None:
    read = (
        normalize_english(f"Pay {form.format(dollars, cents)} now.")
        .removeprefix("Pay ")
        .removesuffix(" now.")
    )
    whole, _, part = re.sub(r" (U S )?dollars?( and )?", "|", read).partition("|")
    assert value(whole) == dollars
    assert (value(re.sub(r" cents?$", "", part)) if part else 0) == cents


@settings(deadline=None)
@given(st.integers(1, 999), st.integers(0, 99), st.sampled_from(["M", "bn", "k", " million"]))
def test_scaled_amounts_keep_their_value(whole: int, decimals: int, suffix: str) -> None:
    scale = {"M": 10**6, "bn": 10**9, "k": 10**3, " million": 10**6}[suffix]
    read = normalize_english(f"Pay ${whole}.{decimals:02}{suffix} now.")
    said = read.removeprefix("Pay ").removesuffix(" dollars now.")
    assert value(said) == (whole + Fraction(decimals, 100)) * scale


SIGNS = "0123456789 .,:;/-–−+*=<>$€£%°'\"()#@_^½²①ⅧabkmMBTIVX\n"


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(alphabet=SIGNS, max_size=60), st.text(max_size=80)))
def test_no_text_is_too_much_and_no_digit_is_left(text: str) -> None:
    read = re.sub(r"<[^|>\n]+\|[^>\n]+>", "", normalize_english(text))
    assert not [char for char in read if char.isdigit() or unicodedata.category(char) == "Nd"]


@pytest.mark.parametrize(
    "text",
    [
        "1" * 4096,
        "1," * 2048,
        "1-" * 2048,
        "a.b." * 1024,
        "a1" * 2048,
        "I V " * 1024,
        "$" * 4096,
        "1 " * 2048,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    began_s = time.process_time()
    normalize_english(text)
    assert time.process_time() - began_s < 2.0


@pytest.mark.parametrize(
    "text", ["a <word|5> b", "Plain words, “quoted” (in brackets) — and no more!", "C'est ça.", ""]
)
def test_what_needs_no_reading_stays(text: str) -> None:
    assert normalize_english(text) == text


def test_a_line_that_begins_with_a_number_is_a_paragraph_still() -> None:
    assert normalize_english("Buy these:\n5 apples\n2 pears") == "Buy these:\n\nFive apples\n\nTwo pears"
    assert normalize_english("It cost $5\nmillion.") == "It cost five million dollars."
