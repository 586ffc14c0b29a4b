"""Terms and how they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.core.errors import CheckpointError
from deployments.kokoro.phonemes import Phonemizer
from deployments.text.glossary import Glossary


def test_glossary_errors_name_file_and_entry(tmp_path: Path) -> None:
    path = tmp_path / "glossary.yaml"
    for content, says in (
        ("3.5: x", "3.5"),
        ("a: {fr: b}", "'a'"),
        ("- a", "list"),
        ("a: [", "cannot be read"),
    ):
        path.write_text(content)
        with pytest.raises(CheckpointError, match=says) as caught:
            Glossary.load(path)
        assert "glossary.yaml" in str(caught.value)


def test_glossary_falls_back_to_the_terms_own_spelling() -> None:
    glossary = Glossary({"Foo": {"zh": "福"}, r"a\1": r"b\2"})
    assert glossary.apply(r"FOO A\1", "en") == r"Foo b\2"
    assert glossary.apply("foo", "zh") == "福"


def test_a_family_names_its_languages() -> None:
    with pytest.raises(CheckpointError, match="no term with a reading"):
        Glossary({"Foo": {"es": "fu"}})
    assert Glossary({"Foo": {"es": "fu"}}, languages=("en", "es")).apply("foo", "es") == "fu"


def test_kokoro_reads_terms_as_it_is_told() -> None:
    terms = {"还钱": "孩钱", "SQL": {"en": "sequel"}, "GB 5": {"zh": "国标五"}}
    told, plain = Phonemizer(Glossary(terms)), Phonemizer()
    assert told.phonemes("我要还钱", "zh") == plain.phonemes("我要孩钱", "zh")
    assert told.phonemes("sql is old", "en-us") == plain.phonemes("sequel is old", "en-us")
    assert told.phonemes("按GB 5执行", "zh") == plain.phonemes("按国标五执行", "zh")
