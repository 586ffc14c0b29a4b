"""The text front end against the golden cases of the published one (indextts2-front.md 10)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.indextts2.text.route import correct_pinyin, is_email, language_route
from deployments.indextts2.text.segments import split_tokens
from deployments.indextts2.text.tokenizer import pretokenize
from deployments.text.fst import WetextFst

PLACEHOLDER = re.compile(r"<(?:pinyin|n)_[a-z]+>|PRONPLACEHOLDER[a-z]+PRONPLACEHOLDER")


class RecordedFst:
    """Answers as recorded, whatever letters the placeholders have; raises where nothing was recorded."""

    def __init__(self, records: list[dict[str, str]]) -> None:
        self.records = records

    def __call__(self, text: str, route: str) -> str:
        shape = PLACEHOLDER.sub("<>", text)
        for record in self.records:
            if record["lang"] == route and PLACEHOLDER.sub("<>", record["input"]) == shape:
                theirs, ours = PLACEHOLDER.findall(record["input"]), PLACEHOLDER.findall(text)
                back = dict(zip(theirs, ours, strict=True))
                assert len(set(back.values())) == len(back)
                return PLACEHOLDER.sub(lambda match, back=back: back[match.group()], record["output"])
        assert not self.records, f"{text!r} is not what the published normaliser was given: {self.records}"
        raise AssertionError("recorded as failed")


@pytest.fixture(scope="module")
def recorded(golden_front: Path) -> dict[str, Any]:
    return json.loads((golden_front / "text_frontend.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def make_frontend(golden_front: Path, recorded: dict[str, Any]) -> Callable[..., IndexTextFrontend]:
    glossary = golden_front / recorded["glossary"]

    def make(fst: Any) -> IndexTextFrontend:
        return IndexTextFrontend(golden_front / "ckpt" / "bpe.model", glossary, fst)

    return make


def test_tokenizer_is_the_recorded_one(recorded: dict[str, Any], make_frontend: Any) -> None:
    tokenizer = make_frontend(None).tokenizer
    assert (tokenizer.vocab_size, tokenizer.unknown_id) == (recorded["vocab_size"], recorded["unk_id"])


def test_normalised_and_pretokenised_text(recorded: dict[str, Any], make_frontend: Any) -> None:
    assert recorded["cases"]
    for case in recorded["cases"]:
        normalized = make_frontend(RecordedFst(case["fst"])).normalize(case["text"])
        assert normalized == case["normalized"], case["name"]
        assert pretokenize(normalized) == case["pretokenized"], case["name"]
        assert (language_route(case["text"]) == "zh") == case["use_chinese"], case["name"]


def test_tokens_ids_and_segments(recorded: dict[str, Any], make_frontend: Any) -> None:
    for case in recorded["cases"]:
        frontend = make_frontend(RecordedFst(case["fst"]))
        tokens = frontend.tokens(case["text"])
        assert tokens == case["tokens"], case["name"]
        assert frontend.tokenizer.ids(tokens) == case["ids"], case["name"]
        for key, limits in (
            ("segments_120", (120, 0)),
            ("segments_30", (30, 0)),
            ("segments_60_quick40", (60, 40)),
        ):
            segments = frontend.segments(case["text"], *limits)
            assert_segments(
                [list(segment.pieces) for segment in segments], case[key], f"{case['name']} {key}"
            )


def assert_segments(ours: list[list[str]], recorded: list[Any], name: str) -> None:
    """Long texts are recorded as lengths only."""
    assert [
        segment if isinstance(theirs, list) else len(segment)
        for segment, theirs in zip(ours, recorded, strict=True)
    ] == recorded, name


@pytest.mark.slow
def test_wetext_gives_what_was_recorded(recorded: dict[str, Any], make_frontend: Any) -> None:
    frontend = make_frontend(WetextFst())
    for case in recorded["cases"]:
        assert frontend.normalize(case["text"]) == case["normalized"], case["name"]


def test_random_token_lists_are_split_the_same(recorded: dict[str, Any]) -> None:
    assert recorded["split_cases"]
    for number, case in enumerate(recorded["split_cases"]):
        assert split_tokens(case["tokens"], case["max"], case["quick"]) == case["segments"], number


def test_units(recorded: dict[str, Any]) -> None:
    assert recorded["unit"]
    for given, expected in recorded["unit"]:
        if isinstance(expected, bool):
            assert is_email(given.removeprefix("email:")) is expected, given
        else:
            assert correct_pinyin(given) == expected, given
