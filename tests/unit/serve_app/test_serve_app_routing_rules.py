"""The operator's rules: what they mean, and what is said of those that cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from deployments.core.catalogue import ModelCard
from deployments.core.speech import SpeechRequest
from serve_app.config import Config
from serve_app.routing.decision import Load
from serve_app.routing.needs import Needs
from serve_app.routing.policy import Policy, decide
from serve_app.routing.rules import Conditions, RoutingSettings
from serve_app.routing.strong_text import is_strong

PLAIN = ModelCard("plain", "k", 24_000, ("en", "zh"), "a", quality_rank=10)
RICH = ModelCard("rich", "k", 22_050, ("en",), "b", cloning=True, emotion=True, quality_rank=30)
QUICK = ModelCard("quick", "k", 48_000, ("en", "zh"), "c", cloning=True, quality_rank=20)
CARDS = (PLAIN, RICH, QUICK)


def first(rules: list[dict[str, Any]], needs: Needs | None = None, **fields: Any) -> tuple[str, str]:
    settings = RoutingSettings.model_validate({"rules": rules})
    settings.check([card.name for card in CARDS])
    request = SpeechRequest("id", fields.pop("text", "Hello."), **fields)
    loads = fields.pop("loads", {})
    choice = decide(request, needs or Needs(), Policy(CARDS, {}, "plain", settings), loads).choices[0]
    return choice.model, choice.reason


def rule(when: dict[str, Any] | None = None, prefer: tuple[str, ...] = ("quick",), **more: Any) -> list[Any]:
    return [{"name": "mine", "when": when or {}, "prefer": prefer, **more}]


MINE, USUAL = ("quick", "rule:mine"), ("plain", "default")


@pytest.mark.parametrize(
    ("when", "fields", "fits"),
    [
        ({}, {}, True),
        ({"policy": ["auto"]}, {}, True),
        ({"policy": ["fast", "quality"]}, {}, False),
        ({"language": ["English"]}, {}, True),
        ({"language": ["zh-CN"]}, {}, False),
        ({"min_characters": 6}, {}, True),
        ({"min_characters": 7}, {}, False),
        ({"max_characters": 6}, {}, True),
        ({"max_characters": 5}, {}, False),
        ({"max_budget_ms": 300}, {}, False),
        ({"strong_text": True}, {}, False),
        ({"strong_text": True}, {"text": "No! Never!"}, True),
        ({"strong_text": False}, {}, True),
        ({"instructions": True}, {"instructions": "whisper"}, True),
        ({"instructions": True}, {}, False),
        ({"tags": ["agent"]}, {"tags": ("agent", "x")}, True),
        ({"tags": ["agent", "y"]}, {"tags": ("agent", "x")}, False),
        ({"emotion": False, "cloning": False}, {}, True),
        ({"emotion": True}, {}, False),
    ],
    ids=str,
)
def test_a_condition(when: dict[str, Any], fields: dict[str, Any], fits: bool) -> None:
    assert first(rule(when), **fields) == (MINE if fits else USUAL)


@pytest.mark.parametrize(
    ("budget_ms", "fits"), [(None, False), (99, False), (100, True), (300, True), (301, False)]
)
def test_conditions_about_the_budget(budget_ms: float | None, fits: bool) -> None:
    when = Conditions(min_budget_ms=100, max_budget_ms=300)
    assert when.hold(SpeechRequest("id", "x", latency_budget_ms=budget_ms), Needs(), "auto") == fits


def test_the_first_rule_that_fits_and_of_which_a_model_can_serve_decides() -> None:
    rules = [
        {"name": "rich-first", "prefer": ["rich"]},
        {"name": "then-quick", "prefer": ["quick", "plain"]},
    ]
    assert first(rules) == ("rich", "rule:rich-first")
    assert first(rules, Needs(language="zh")) == ("quick", "rule:then-quick")


def test_what_is_preferred_goes_first_in_its_order_and_what_is_down_last() -> None:
    settings = RoutingSettings.model_validate({"rules": rule(prefer=("quick", "rich"))})
    policy, request = Policy(CARDS, {}, "plain", settings), SpeechRequest("id", "Hello.")

    def tried(**loads: Load) -> list[tuple[str, str]]:
        return [(choice.model, choice.reason) for choice in decide(request, Needs(), policy, loads).choices]

    mine = [("quick", "rule:mine"), ("rich", "rule:mine"), ("plain", "fallback:quick")]
    assert tried() == mine
    assert tried(quick=Load(ready=False)) == [*mine[1:], mine[0]]
    assert tried(quick=Load(full=True)) == [*mine[1:], mine[0]]
    assert tried(quick=Load(ready=False), rich=Load(full=True)) == [mine[2], mine[1], mine[0]]


def test_a_named_model_is_obeyed_and_a_named_voice_stays_one_speaker() -> None:
    assert first(rule(), model="rich") == ("rich", "explicit")
    both = Needs(owners=frozenset(["rich", "quick"]))
    assert first(rule(), both, voice="anna") == ("rich", "voice")
    assert first(rule(named_voices=True), both, voice="anna") == MINE
    assert first(rule(named_voices=True), Needs(owners=frozenset(["rich", "plain"])), voice="anna") == (
        "plain",
        "voice",
    )


MODELS = {"one": {"kind": "x"}, "two": {"kind": "x"}}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([{"name": "a", "prefer": ["three"]}], r"'a' prefers 'three', which is not one of \['one', 'two'\]"),
        ([{"name": "a"}], "'a' does nothing: say which models it shall `prefer`"),
        ([{"name": "a", "prefer": ["one", "one"]}], "'a' prefers a model twice"),
        ([{"name": "a", "prefer": ["one"]}, {"name": "a", "prefer": ["two"]}], "two rules are called 'a'"),
        ([{"name": "A B", "prefer": ["one"]}], "should match pattern"),
        ([{"name": "a", "prefer": ["one"], "when": {"language": ["Klingon"]}}], "'Klingon' is no language"),
        ([{"name": "a", "prefer": ["one"], "when": {"lang": ["en"]}}], "Extra inputs are not permitted"),
        ([{"name": "a", "prefer": ["one"], "when": {"policy": ["best"]}}], "'auto', 'fast' or 'quality'"),
        (
            [{"name": "a", "prefer": ["one"], "when": {"min_characters": 9, "max_characters": 8}}],
            "min_characters 9 is above max_characters 8, so no request would ever match",
        ),
        (
            [{"name": "a", "prefer": ["one"], "named_voices": True, "when": {"strong_text": True}}],
            "strong_text would change the speaker of a named voice from sentence to sentence",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_in_words(rules: list[Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Config.model_validate({"models": MODELS, "routing": {"rules": rules}})


@pytest.mark.parametrize(
    ("text", "strong"),
    [
        ("The train leaves at nine.", False),
        ("Hello! How are you today?", False),
        ("Hello!", True),
        ("What?! No.", True),
        ("I won. I won!! It is done. All of it. Really.", True),
        ("Get out! Now! I mean it.", True),
        ("我太高兴了！", True),
        ("今天天气很好。我们去公园吧。", False),
        ("They NEVER EVER listen.", True),
        ("The BBC and the NATO met in Rome for the annual summit of the members.", False),
        ("THIS TEXT IS ALL IN CAPITALS.", False),
        ("", False),
        ("5! is 120 and 6! is 720. Both are factorials. They grow fast. Very fast.", False),
    ],
)
def test_texts_with_strong_feeling(text: str, strong: bool) -> None:
    assert is_strong(text) == strong
