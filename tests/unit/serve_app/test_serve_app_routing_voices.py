"""Who speaks where a request names a voice: always the same one while that model is up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.catalogue import ModelCard
from deployments.core.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    SpeechError,
    Unavailable,
)
from deployments.core.speech import SpeechRequest
from serve_app.config import OPENAI_MODEL_ALIASES
from serve_app.routing.decision import Choice, Load
from serve_app.routing.fallback import moves_on, stand_in
from serve_app.routing.names import POLICIES, served_language
from serve_app.routing.needs import Needs
from serve_app.routing.policy import Policy, rank

FAST = ModelCard("kokoro", "kokoro", 24_000, ("en", "zh"), "a", quality_rank=10)
GOOD = ModelCard("indextts2", "indextts2", 22_050, ("en", "zh"), "b", cloning=True, quality_rank=30)
TWIN = ModelCard("twin", "indextts2", 22_050, ("en", "zh"), "b", cloning=True, quality_rank=30)
CARDS = (FAST, GOOD, TWIN)
BOTH = Needs(owners=frozenset(["kokoro", "indextts2"]))
DOWN = Load(0.1, ready=False)


def ranked(
    model: str = "auto",
    needs: Needs = BOTH,
    loads: dict[str, Load] | None = None,
    default: str | None = None,
    fallback: bool | None = None,
    cards: tuple[ModelCard, ...] = CARDS,
) -> list[tuple[str, str]]:
    request = SpeechRequest("id", "Hello.", model=model, voice="alloy", fallback=fallback)
    choices = rank(request, needs, Policy(cards, OPENAI_MODEL_ALIASES, default), loads or {})
    return [(choice.model, choice.reason) for choice in choices]


@settings(max_examples=60, deadline=None)
@given(
    policy=st.sampled_from([*POLICIES, *OPENAI_MODEL_ALIASES]),
    figures=st.lists(
        st.builds(Load, st.none() | st.floats(0, 100), st.integers(0, 1000), st.just(True), st.booleans()),
        min_size=3,
        max_size=3,
    ),
    budget_ms=st.none() | st.floats(1, 5000),
)
def test_neither_load_nor_policy_nor_budget_changes_the_speaker(
    policy: str, figures: list[Load], budget_ms: float | None
) -> None:
    loads = dict(zip(("kokoro", "indextts2", "twin"), figures, strict=True))
    request = SpeechRequest("id", "Hello.", model=policy, voice="alloy", latency_budget_ms=budget_ms)
    choices = rank(request, BOTH, Policy(CARDS, OPENAI_MODEL_ALIASES, "kokoro"), loads)
    assert [(choice.model, choice.reason) for choice in choices] == [
        ("kokoro", "voice"),
        ("indextts2", "fallback:kokoro"),
    ]


def test_the_voice_is_that_of_the_default_model_else_of_the_best_else_of_the_first_configured() -> None:
    everybody = Needs(owners=frozenset(["kokoro", "indextts2", "twin"]))
    assert ranked(default="kokoro")[0][0] == "kokoro"
    assert ranked(default=None)[0][0] == "indextts2"
    assert ranked(needs=everybody)[0][0] == "indextts2"
    assert ranked(needs=everybody, cards=CARDS[::-1])[0][0] == "twin"
    assert ranked(default="twin")[0][0] == "indextts2"  # the default model does not have this voice


def test_the_speaker_of_a_recording_is_one_model_too() -> None:
    request = SpeechRequest("id", "Hello.", model="fast", reference_audio=b"RIFF")
    loads = {"indextts2": Load(90.0), "twin": Load(0.1)}
    choices = rank(request, Needs(cloning=True), Policy(CARDS, OPENAI_MODEL_ALIASES), loads)
    assert [choice.model for choice in choices] == ["indextts2", "twin"]


@pytest.mark.parametrize("policy", POLICIES)
def test_another_speaks_only_while_the_model_is_down(policy: str) -> None:
    down = {"kokoro": DOWN}
    assert ranked(policy, loads=down, default="kokoro") == [
        ("indextts2", "fallback:kokoro"),
        ("kokoro", "voice"),
    ]
    assert ranked(policy, loads=down, default="kokoro", fallback=False) == [("kokoro", "voice")]
    only = Needs(owners=frozenset(["kokoro"]))
    assert ranked(policy, needs=only, loads=down) == [("kokoro", "only-suitable")]


def test_an_unknown_voice_is_not_one_models_fault() -> None:
    with pytest.raises(NotFound, match=r"^voice 'alloy' does not exist; GET") as caught:
        ranked(needs=Needs(voice_unknown=True), cards=(FAST,))
    assert (caught.value.param, caught.value.code) == ("voice", "voice_not_found")


FULL, GONE = Overloaded("full"), Unavailable("down")


@pytest.mark.parametrize(
    ("failure", "voice", "fallback", "expected"),
    [
        (FULL, None, None, True),
        (FULL, "alloy", None, False),
        (FULL, "alloy", True, True),
        (GONE, "alloy", None, True),
        (DeadlineExceeded("late"), "alloy", None, True),
        (SpeechError("a bug"), "alloy", None, True),
        (InvalidRequest("no"), None, True, False),
        (NotFound("no"), "alloy", True, False),
    ],
)
def test_when_the_next_model_may_be_tried(
    failure: SpeechError, voice: str | None, fallback: bool | None, expected: bool
) -> None:
    assert moves_on(SpeechRequest("id", "x", voice=voice, fallback=fallback), failure) == expected


def test_who_stands_in_says_for_whom() -> None:
    first, second = Choice("kokoro", "voice"), Choice("indextts2", "fastest")
    told = stand_in(second, first)
    assert told == Choice("indextts2", "fallback:kokoro")
    assert told.warnings("ben") == (
        "model 'kokoro' cannot answer now: voice 'ben' of model 'indextts2' speaks",
    )
    assert first.warnings("alloy") == ()
    # The one that was wanted, and was tried last because it was down, stands in for nobody.
    assert stand_in(first, told) == first


@pytest.mark.parametrize(
    ("written", "code"),
    [(None, None), ("auto", None), (" AUTO ", None), ("en-US", "en"), ("Chinese", "zh"), ("中文", "zh")],
)
def test_languages_as_people_write_them(written: str | None, code: str | None) -> None:
    assert served_language(written, CARDS) == code


@pytest.mark.parametrize("written", ["de", "Klingon", "", "e", "x" * 60, "\ud800"])
def test_a_language_that_nobody_speaks_is_refused_with_those_that_are_spoken(written: str) -> None:
    with pytest.raises(
        InvalidRequest, match=r"is not spoken here; spoken are en \(English\), zh \(Chinese\)"
    ) as e:
        served_language(written, CARDS)
    assert e.value.param == "language"
