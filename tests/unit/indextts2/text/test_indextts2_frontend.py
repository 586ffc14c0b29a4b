from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.indextts2.text.normalizer import Normalizer, hide, letters, map_characters, restore
from deployments.indextts2.text.route import reads_chinese
from deployments.indextts2.text.segments import split_tokens
from deployments.indextts2.text.spelling import spell_with
from deployments.indextts2.text.tokenizer import pretokenize
from deployments.text.fst import WetextFst
from deployments.text.glossary import Glossary


@pytest.fixture(scope="module")
def bpe_model(golden_front: Path) -> Path:
    return golden_front / "ckpt" / "bpe.model"


@pytest.fixture(scope="module")
def frontend(bpe_model: Path) -> IndexTextFrontend:
    return IndexTextFrontend(bpe_model)


def unchanged(text: str, route: str) -> str:
    return text


def broken(text: str, route: str) -> str:
    raise AssertionError("no path")


TOKENS = st.lists(
    st.sampled_from(["▁a", "b", ",", "▁,", "-", ".", "▁.", "!", "▁!", "'", "▁'", "▁...", "▁?"]), max_size=60
)


@given(TOKENS, st.integers(1, 12), st.integers(0, 20))
def test_split_keeps_every_token_but_for_repeated_quotes(
    tokens: list[str], max_tokens: int, quick: int
) -> None:
    segments = split_tokens(tokens, max_tokens, quick)
    joined = [token for segment in segments for token in segment]
    kept = iter(joined)
    assert all(token in kept for token in tokens)
    assert [token for token in joined if token not in ("'", "▁'")] == [
        t for t in tokens if t not in ("'", "▁'")
    ]
    assert all(0 < len(segment) <= max_tokens + 1 for segment in segments)


@given(st.lists(st.sampled_from(["ng4", "zhuang4", "a1", "xx"]), max_size=40))
def test_placeholders_are_put_back(items: list[str]) -> None:
    text = " ".join(items)
    hidden, back = hide(text, items, "<p_{}>")
    assert not any(item in hidden for item in items)
    assert restore(hidden, back) == text


def test_letters() -> None:
    assert [letters(i) for i in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]


def test_failed_grammar_is_told(bpe_model: Path) -> None:
    frontend = IndexTextFrontend(bpe_model, fst=broken)
    (segment,) = frontend.segments("It's 5")
    assert segment.text == "IT IS 5"
    assert "spoken as written" in segment.warnings[0]
    assert frontend.normalize("今天5") == ""
    with pytest.raises(InvalidRequest, match="write it as words"):
        frontend.segments("今天5")


def test_segments_carry_ids_and_warnings(frontend: IndexTextFrontend) -> None:
    (segment,) = frontend.segments("hello 😀 world")
    assert list(segment.ids) == frontend.tokenizer.ids(segment.pieces)
    assert segment.text == "HELLO 😀 WORLD"
    assert segment.warnings == ("the model has no reading for 😀",)
    assert frontend.segments("") == []
    cut = frontend.segments("and then " * 40, max_tokens=30)
    assert any("cut after" in warning for warning in cut[0].warnings)
    assert not any("cut after" in warning for warning in cut[-1].warnings)


def test_paragraphs_are_normalised_each_on_its_own(frontend: IndexTextFrontend) -> None:
    segments = list(frontend.iter_segments("It is 5.\n\nAnd 25 is more."))
    assert [segment.text for segment in segments] == ["IT IS FIVE.", "AND TWENTY FIVE IS MORE."]
    assert all(segment.ends_paragraph for segment in segments)
    assert not any("spoken as written" in w for segment in segments for w in segment.warnings)


def test_quick_tokens_count_over_all_paragraphs(frontend: IndexTextFrontend) -> None:
    text = "The quick river walks, the quiet bridge waits, the old story ends."
    quick = len(frontend.segments(text)[0].ids)
    slow, fast = frontend.segments(text, quick), frontend.segments(text, quick, quick_tokens=quick)
    assert len(fast) > len(slow) == 1
    several = list(frontend.iter_segments("\n".join([text] * 3), quick, quick_tokens=quick))
    assert several == fast + slow + slow


def test_long_paragraphs_reach_the_grammar_in_groups_of_sentences(bpe_model: Path) -> None:
    given: list[str] = []

    def record(text: str, route: str) -> str:
        given.append(text)
        return text

    frontend = IndexTextFrontend(bpe_model, fst=record)
    text = "请付 3.5 dollars, then left. " * 40
    segments = frontend.iter_segments(text)
    first = next(segments)
    assert given == ["请付 3.5 dollars, then left."]
    assert not first.ends_paragraph
    rest = list(segments)
    assert max(map(len, given)) <= 300
    assert " ".join(given) == text.strip()
    assert [segment.ends_paragraph for segment in rest[-2:]] == [False, True]


@pytest.mark.parametrize(
    ("text", "document", "chinese"),
    [
        ("Print 24 pages on A4 paper.", "en", False),
        ("CO2 and A1", "en", False),
        ("A4", "en", False),
        ("7", "en", False),
        ("2 + 2 = 4", "en", False),
        ("7", "zh", True),
        ("2 + 2 = 4", "zh", True),
        ("ni3 hao3", "en", True),
        ("zhong1guo2", "en", True),
        ("我有 A4 纸", "en", True),
        ("jane@mail.org", "en", False),
    ],
)
def test_which_grammar_reads_a_text(text: str, document: str, chinese: bool) -> None:
    assert reads_chinese(text, document) == chinese


def test_english_of_a_bilingual_checkpoint_keeps_its_numbers(frontend: IndexTextFrontend) -> None:
    def heard(text: str, language: str = "en") -> str:
        return " ".join(segment.text for segment in frontend.iter_segments(text, language=language))

    assert frontend.languages == ("zh", "en")
    assert heard("Print 24 pages on A4 paper.") == "PRINT TWENTY FOUR PAGES ON A FOUR PAPER."
    assert heard("7") == "SEVEN"
    assert heard("7天", "zh") == "七 天"
    assert heard("No. We are open 24/7.") == "NO. WE ARE OPEN TWENTY FOUR SEVEN."
    # The grammar fails on this minus, and would leave all of it as written.
    assert heard("It is \u22125 °C, at $5 or ($3).") == (
        "IT IS MINUS FIVE DEGREES CELSIUS, AT FIVE DOLLARS OR 'THREE DOLLARS'."
    )


def test_the_published_reading_is_left_to_whole_segments(frontend: IndexTextFrontend) -> None:
    assert frontend.segments("24/7 here")[0].text == "TWENTY FOUR SEVENTHS HERE"


def test_a_checkpoint_without_chinese_reads_all_as_english(bpe_model: Path) -> None:
    frontend = IndexTextFrontend(bpe_model, fst=broken, languages=("en",))
    assert frontend.segments("7")[0].text == "SEVEN"
    assert frontend.segments("A4 and 2 + 2")[0].text == "A FOUR AND TWO PLUS TWO"


def test_accents_that_the_vocabulary_lacks_are_left_out() -> None:
    letters_only = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ',.-")
    assert spell_with("CAFÉ – STRAẞE, ŒUVRE ¿SÍ", letters_only) == "CAFE - STRASSE, OEUVRE SI"
    assert spell_with("É", letters_only | {"É"}) == "É"
    assert spell_with("日 ♥", letters_only) == "日 ♥"


def test_annotations_are_untouched_by_every_step() -> None:
    normalizer = Normalizer(Glossary({"bank": "BANK"}), unchanged)
    assert normalizer("a <bank；|it's 5> bank；").text == "a <bank；|it's 5> BANK,"


def test_character_map_is_one_pass() -> None:
    assert map_characters("，，，。。。", chinese=True) == ",,,..."
    assert (map_characters("$", chinese=True), map_characters("$", chinese=False)) == (".", "$")


@given(st.text())
@settings(deadline=None)
def test_pretokenised_text_has_single_cjk_items_and_is_stable(text: str) -> None:
    once = pretokenize(text)
    assert once == once.strip()
    assert pretokenize(once) == once or once != once.upper()  # a few letters have no stable upper case


def test_missing_or_damaged_tokenizer_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"bpe\.model"):
        IndexTextFrontend(tmp_path / "bpe.model")
    (tmp_path / "bpe.model").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"bpe\.model"):
        IndexTextFrontend(tmp_path / "bpe.model")


@pytest.mark.slow
def test_threads_agree_with_one_thread(bpe_model: Path) -> None:
    frontend = IndexTextFrontend(bpe_model, fst=WetextFst())
    texts = [f"It costs ${n}.50 on 2024-03-{n % 28 + 1:02d}." for n in range(40)] + [
        f"价格是{n}.5元" for n in range(40)
    ]
    alone = [frontend.segments(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(frontend.segments, texts)) == alone


@pytest.mark.parametrize(
    "text", ["今天天气很好我们去散步" * 300, "今天七个人和一只狗 " * 400, "今天a" * 1300]
)
def test_no_clause_reaches_the_grammar_in_one_piece_however_long_it_is(bpe_model: Path, text: str) -> None:
    given: list[str] = []

    def record(part: str, route: str) -> str:
        given.append(part)
        return part

    spoken = "".join(segment.text for segment in IndexTextFrontend(bpe_model, fst=record).iter_segments(text))
    assert max(map(len, given)) <= 300
    assert "".join("".join(given).split()) == "".join(text.split())
    assert "".join(spoken.split()) == "".join(text.upper().split())


def test_an_annotation_is_not_cut(bpe_model: Path) -> None:
    given: list[str] = []

    def record(part: str, route: str) -> str:
        given.append(part)
        return part

    list(
        IndexTextFrontend(bpe_model, fst=record).iter_segments(
            "word " * 56 + "<bank of the river|it's 5> " + "word " * 60
        )
    )
    assert sum("<bank of the river|it's 5>" in part for part in given) <= 1
    assert all(part.count("<") == part.count(">") for part in given)
