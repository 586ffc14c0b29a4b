from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.indextts2.text.byte_tokenizer import ByteTokenizer
from deployments.indextts2.text.japanese import COMMAND, JapaneseWords
from deployments.indextts2.text.languages import language_id, language_of
from deployments.indextts2.text.multilingual import MultilingualFrontend
from deployments.indextts2.text.segment import TextSegment
from deployments.text.check import check_text
from deployments.text.scripts import check_scripts

POSITIONS = 90
BUDGET = 60
STOP = 1

needs_japanese = pytest.mark.skipif(not JapaneseWords.installed(), reason="needs the extra `japanese`")


class NoJapanese(JapaneseWords):
    @staticmethod
    def installed() -> bool:
        return False


@pytest.fixture(scope="module")
def vocabulary(golden: Path) -> Path:
    return golden / "indextts2.5" / "checkpoint" / "multilingual_zh_ja_yue_char_del.tiktoken"


@pytest.fixture(scope="module")
def frontend(vocabulary: Path) -> MultilingualFrontend:
    return MultilingualFrontend(vocabulary, POSITIONS)


def heard(frontend: MultilingualFrontend, text: str, language: str = "en", most: int = 80) -> list[str]:
    return [segment.text for segment in frontend.iter_segments(text, most, language=language)]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello there, how are you?", "en"),
        ("你好，世界", "zh"),
        ("今日は晴れです", "ja"),
        ("¿Qué tal?", "es"),
        ("Hoy es un buen día para todos", "es"),
        ("مرحبا بالعالم", "ar"),
        ("안녕하세요", "ko"),
        ("1, 2, 3", "en"),
        ("", "en"),
        ("We met in El Paso, and it was hot.", "en"),
    ],
)
def test_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language


def test_unknown_languages_have_the_common_row() -> None:
    assert (language_id("en"), language_id("klingon"), language_id("common")) == (0, 105, 105)


@pytest.mark.parametrize(
    ("text", "language", "read"),
    [
        ("Print 24 pages on A4 paper.", "en", "print twenty four pages on a four paper."),
        ("今天是2024年", "zh", "今天是二零二四年"),
        ("Cuesta 25 euros, señor.", "es", "CUESTA VEINTICINCO EUROS, SEÑOR."),
        ("مرحبا بالعالم، كيف حالك؟", "ar", "مرحبا بالعالم، كيف حالك؟"),
        ("He said «yes» – twice.", "en", "he said 'yes' - twice."),
        ("这是<行|xing2>吧", "zh", "这是<|SPECIAL_TOKEN_2|>XING2<|SPECIAL_TOKEN_2|>吧"),
        ("the <lead|l eh1 d> pipe", "en", "the <|SPECIAL_TOKEN_1|>L EH1 D<|SPECIAL_TOKEN_1|> pipe"),
    ],
)
def test_text_as_it_is_read(frontend: MultilingualFrontend, text: str, language: str, read: str) -> None:
    assert heard(frontend, text, language) == [read]


@needs_japanese
def test_japanese_in_words_with_readings_in_one_piece(frontend: MultilingualFrontend) -> None:
    assert heard(frontend, "<今日|キョウ>は晴れ", "ja") == ["キョ ウ は 晴れ"]
    assert heard(frontend, "彼は<行|XING2>った", "ja") == [
        "彼 は <|SPECIAL_TOKEN_2|>XING2<|SPECIAL_TOKEN_2|> っ た"
    ]
    assert heard(frontend, "ｶﾞﾗｽのコップ", "ja") == ["ガラス の コップ"]


def test_no_mark_is_dropped(frontend: MultilingualFrontend) -> None:
    """The GPT's prefix drops the ids 0 and 1, which are `!` and `"`."""
    segments = list(frontend.iter_segments('Stop! He said "no"!', 80, language="en"))
    assert [segment.text for segment in segments] == ["stop!", "he said 'no'!"]
    assert not {0, 1} & {id_ for segment in segments for id_ in segment.ids[:-1]}
    assert list(segments[0].ids) == [*frontend.tokenizer.encode("<|en|> stop."), STOP]
    (published,) = frontend.published("Stop!", 80, language="en")
    assert published.ids[-2:] == (0, STOP)


def test_tags_of_a_text_are_text(frontend: MultilingualFrontend) -> None:
    happy = frontend.tokenizer.special_ids["<|HAPPY|>"]
    (published,) = frontend.published("<|happy|>so", 80, language="en")
    assert happy in published.ids
    assert all(
        happy not in segment.ids for segment in frontend.iter_segments("<|happy|>so", 80, language="en")
    )


def test_language_row_and_prefix(frontend: MultilingualFrontend) -> None:
    (segment,) = frontend.iter_segments("Hola", 80, language="es")
    assert segment.language_id == 3
    assert segment.ids[0] == frontend.tokenizer.special_ids["<|es|>"]


def test_what_cannot_be_said_is_told(frontend: MultilingualFrontend) -> None:
    (segment,) = frontend.iter_segments("这个字是\U00020bb7吗", 80, language="zh")
    assert segment.warnings == ("the model has no reading for \U00020bb7",)
    (segment,) = frontend.iter_segments("the <lead|metal> pipe", 80, language="en")
    assert "<lead|metal> is neither pinyin" in segment.warnings[0]


def test_glossary_is_read_in_every_language(vocabulary: Path) -> None:
    glossary = {"FC": {"es": "fútbol club", "en": "football club"}}
    frontend = MultilingualFrontend(vocabulary, POSITIONS, glossary)
    assert heard(frontend, "Soy del FC", "es") == ["SOY DEL FÚTBOL CLUB"]
    assert heard(frontend, "I like FC") == ["i like football club"]


def test_long_sentences_are_cut_between_words(frontend: MultilingualFrontend) -> None:
    text = "and then the quick river walks over the quiet bridge " * 12
    segments = list(frontend.iter_segments(text, 30, language="en"))
    assert " ".join(segment.text for segment in segments) == text.strip()
    assert all(len(segment.ids) - 1 <= 30 for segment in segments)
    assert any("cut without a pause" in warning for segment in segments for warning in segment.warnings)


def test_paragraphs_end(frontend: MultilingualFrontend) -> None:
    segments = list(frontend.iter_segments("It is 5.\n\n***\n\nAnd 25 is more.", 80, language="en"))
    assert [segment.text for segment in segments] == ["it is five.", "and twenty five is more."]
    assert all(segment.ends_paragraph for segment in segments)


def test_japanese_without_its_packages(vocabulary: Path, caplog: pytest.LogCaptureFixture) -> None:
    frontend = MultilingualFrontend(vocabulary, POSITIONS, japanese=NoJapanese())
    assert frontend.languages == ("zh", "en", "es", "ar")
    for call in (
        lambda: frontend.language_of("今日は晴れです"),
        lambda: frontend.published("今日", 80, language="ja"),
        lambda: list(frontend.iter_segments("今日", 80, language="ja")),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            call()
        assert COMMAND in refusal.value.message


def test_a_reading_that_does_not_fit_is_refused(frontend: MultilingualFrontend) -> None:
    with pytest.raises(InvalidRequest, match="Shorten"):
        list(frontend.iter_segments("<word|" + "AH0 " * 80 + "AH0>", 80, language="en"))


def test_failed_chinese_grammar_is_refused(vocabulary: Path) -> None:
    def broken(text: str, route: str) -> str:
        raise AssertionError("no path")

    frontend = MultilingualFrontend(vocabulary, POSITIONS, fst=broken)
    for call in (
        lambda: frontend.published("今天5", 80, language="zh"),
        lambda: list(frontend.iter_segments("今天5", 80, language="zh")),
    ):
        with pytest.raises(InvalidRequest, match="write it as words"):
            call()


def spoken_or_reason(
    frontend: MultilingualFrontend, text: str, language: str | None
) -> list[TextSegment] | str:
    try:
        checked = check_text(text, max_chars=10_000, cleaning=True)
        language = language or frontend.language_of(checked)
        check_scripts(checked, "indextts2.5", frontend.languages)
        return list(frontend.iter_segments(checked, BUDGET, language=language))
    except InvalidRequest as refusal:
        return refusal.message


@given(st.text(min_size=1, max_size=400))
@settings(deadline=None)
def test_any_text_gives_segments_or_a_reason(frontend: MultilingualFrontend, text: str) -> None:
    given = spoken_or_reason(frontend, text, None)
    assert given
    if not isinstance(given, str):
        assert_within_bounds(frontend, given)


WORDS = (
    "hello ¡Hola! día 你好 世界。 مرحبا ، 25 3.5 ! <行|XING2> ... – « A4 ① €5 12:30 and e-mail@x.org ¿ ？ ～"
)
TEXTS = st.lists(st.sampled_from([*WORDS.split(), '"no"', "x" * 70, "\n", "\n\n"]), min_size=1, max_size=60)


@given(TEXTS, st.sampled_from(["", " "]), st.sampled_from(["zh", "en", "es", "ar"]))
@settings(deadline=None)
def test_mixed_words_are_spoken_in_every_language(
    frontend: MultilingualFrontend, words: list[str], glue: str, language: str
) -> None:
    given = spoken_or_reason(frontend, glue.join(words), language)
    assert given
    if not isinstance(given, str):
        assert_within_bounds(frontend, given)


def assert_within_bounds(frontend: MultilingualFrontend, segments: list[TextSegment]) -> None:
    for segment in segments:
        assert segment.text
        assert all(0 <= id_ < frontend.tokenizer.vocab_size for id_ in segment.ids)
        assert not {0, 1} & set(segment.ids[:-1])
        assert len(segment.ids) - 1 <= BUDGET or "SPECIAL_TOKEN" in segment.text
        assert segment.language_id is not None


def test_missing_or_damaged_vocabulary_names_the_file(tmp_path: Path, vocabulary: Path) -> None:
    path = tmp_path / "some.tiktoken"
    with pytest.raises(CheckpointError, match=r"some\.tiktoken"):
        ByteTokenizer(path)
    lines = vocabulary.read_bytes().splitlines()
    for damaged in (b"nonsense", b"!!!! 0", b"IQ== x", b"\n".join(lines[:300] + lines[301:])):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"some\.tiktoken"):
            ByteTokenizer(path)


@pytest.mark.slow
def test_threads_agree_with_one_thread(frontend: MultilingualFrontend) -> None:
    texts = [f"It costs ${n}.50 on 2024-03-{n % 28 + 1:02d}." for n in range(40)]
    if JapaneseWords.installed():
        texts += [f"足が長く見えるように、真ん中のところまで{n}回。" for n in range(40)]

    def spoken(text: str) -> list[TextSegment]:
        return list(frontend.iter_segments(text, BUDGET, language=frontend.language_of(text)))

    alone = [spoken(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(spoken, texts)) == alone
