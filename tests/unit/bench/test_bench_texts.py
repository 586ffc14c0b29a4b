from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from serve_app.bench.errors import BenchError
from serve_app.bench.texts import CHINESE, ENGLISH, endless, read_texts


def test_the_built_in_texts_vary_around_twelve_words() -> None:
    words = [len(text.split()) for text in ENGLISH]
    assert 11 <= sum(words) / len(words) <= 13
    assert min(words) <= 3
    assert max(words) >= 25
    assert len(set(ENGLISH)) == len(ENGLISH) >= 40
    assert len(set(CHINESE)) == len(CHINESE) >= 10
    assert all("\u4e00" <= text[0] <= "\u9fff" for text in CHINESE)


def test_every_text_once_per_round_in_a_seeded_order() -> None:
    two_rounds = list(islice(endless(ENGLISH, seed=1), 2 * len(ENGLISH)))
    first, second = two_rounds[: len(ENGLISH)], two_rounds[len(ENGLISH) :]
    assert sorted(first) == sorted(second) == sorted(ENGLISH)
    assert first != second
    assert two_rounds == list(islice(endless(ENGLISH, seed=1), 2 * len(ENGLISH)))
    assert first != list(islice(endless(ENGLISH, seed=2), len(ENGLISH)))


def test_a_file_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts"
    path.write_text("One.\n\n  二。 \n", encoding="utf-8")
    assert read_texts(path) == ("One.", "二。")


@pytest.mark.parametrize("content", [b"\n \n", b"\xff\xfe\x00", None])
def test_a_file_without_texts_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "texts"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BenchError, match=r"each line|one text per line"):
        read_texts(path)
