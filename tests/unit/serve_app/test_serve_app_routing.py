from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.catalogue import ModelCard
from deployments.core.errors import InvalidRequest, NotFound
from deployments.core.speech import SpeechRequest
from serve_app.config import OPENAI_MODEL_ALIASES
from serve_app.routing.decision import Choice, Load
from serve_app.routing.names import POLICIES, default_model, resolve
from serve_app.routing.needs import Needs
from serve_app.routing.policy import Policy, rank

FAST = ModelCard("kokoro", "kokoro", 24_000, ("en", "zh"), "a", quality_rank=10)
GOOD = ModelCard(
    "indextts2", "indextts2", 22_050, ("en", "zh"), "b", cloning=True, emotion=True, quality_rank=30
)
MIDDLE = ModelCard("voxcpm", "voxcpm", 44_100, ("en", "zh", "ja"), "c", cloning=True, quality_rank=20)
CARDS = (FAST, GOOD, MIDDLE)
LOADS = {"kokoro": Load(0.2), "indextts2": Load(0.9), "voxcpm": Load(0.4)}


def models(
    model: str = "auto",
    needs: Needs | None = None,
    loads: dict[str, Load] | None = None,
    default: str | None = None,
    budget_ms: float | None = None,
    fallback: bool | None = None,
) -> list[Choice]:
    """A request names a voice where `needs` say that one is wanted."""
    needs = needs or Needs()
    named = "somebody" if needs.owners is not None or needs.voice_unknown else None
    request = SpeechRequest(
        "id", "Hello.", model=model, voice=named, latency_budget_ms=budget_ms, fallback=fallback
    )
    return rank(request, needs, Policy(CARDS, OPENAI_MODEL_ALIASES, default), loads or LOADS)


def names(choices: list[Choice]) -> list[str]:
    return [choice.model for choice in choices]


NAME = st.sampled_from(["kokoro", "indextts2", "voxcpm"])
LOAD = st.builds(Load, st.none() | st.floats(0, 100), st.none() | st.floats(0, 100), st.booleans())


@pytest.mark.slow
@settings(max_examples=150)
@given(
    cards=st.lists(st.sampled_from(CARDS), unique_by=lambda card: card.name),
    wanted=NAME | st.sampled_from([*POLICIES, *OPENAI_MODEL_ALIASES, "other", ""]),
    needs=st.builds(
        Needs,
        st.sampled_from([None, "en", "zh", "ja", "xx"]),
        st.booleans(),
        st.booleans(),
        st.none() | st.frozensets(NAME),
    ),
    loads=st.dictionaries(NAME, LOAD),
    default=st.none() | NAME,
    budget_ms=st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
    fallback=st.none() | st.booleans(),
    voice=st.none() | st.just("somebody"),
)
def test_every_request_is_ranked_or_refused_with_a_reason(
    cards: list[ModelCard],
    wanted: str,
    needs: Needs,
    loads: dict[str, Load],
    default: str | None,
    budget_ms: float | None,
    fallback: bool | None,
    voice: str | None,
) -> None:
    request = SpeechRequest(
        "id", "x", model=wanted, voice=voice, latency_budget_ms=budget_ms, fallback=fallback
    )
    known = {card.name: card for card in cards}
    target = OPENAI_MODEL_ALIASES.get(wanted, wanted)
    try:
        choices = rank(request, needs, Policy(tuple(cards), OPENAI_MODEL_ALIASES, default), loads)
    except NotFound:
        assert target not in {*known, *POLICIES}
        return
    except InvalidRequest:
        asked = [known[target]] if target in known else cards
        assert all(needs.objections(card) for card in asked)
        return
    ranked = names(choices)
    assert len(set(ranked)) == len(ranked) >= 1
    assert all(not needs.objections(known[name]) for name in ranked)
    assert all(choice.reason for choice in choices)
    may = target in POLICIES if fallback is None else fallback
    if not may:
        assert len(ranked) == 1
    if target in known:
        ready = loads.get(target, Load()).ready
        assert ranked[0] == target or (fallback and not ready)
    elif may or voice is None:
        states = [loads.get(name, Load()).ready for name in ranked]
        assert states == sorted(states, reverse=True)  # whatever is down comes last
        suitable = [card for card in cards if not needs.objections(card)]
        if not states[0]:
            assert not any(loads.get(card.name, Load()).ready for card in suitable)


def test_a_name_is_obeyed_and_the_others_stand_by_where_the_client_allows_it() -> None:
    for fallback in (None, False):
        assert models("voxcpm", fallback=fallback) == [Choice("voxcpm", "explicit")]
    assert models("voxcpm", fallback=True) == [
        Choice("voxcpm", "explicit"),
        Choice("indextts2", "fallback:voxcpm"),
        Choice("kokoro", "fallback:voxcpm"),
    ]


def test_policies() -> None:
    assert names(models("fast")) == ["kokoro", "voxcpm", "indextts2"]
    assert names(models("tts-1")) == names(models("fast"))
    assert names(models("quality")) == ["indextts2", "voxcpm", "kokoro"]
    assert names(models("auto")) == names(models("quality"))
    assert names(models("auto", default="voxcpm"))[0] == "voxcpm"
    assert names(models("quality", default="voxcpm"))[0] == "indextts2"


def test_a_budget_takes_the_best_model_that_keeps_it() -> None:
    assert names(models(budget_ms=500))[0] == "voxcpm"
    assert names(models(budget_ms=2000))[0] == "indextts2"
    choice = models(budget_ms=10)[0]
    assert (choice.model, choice.reason) == ("kokoro", "fastest:budget-unmet")


def test_load_moves_requests_on() -> None:
    busy = {**LOADS, "kokoro": Load(3.2)}
    assert names(models("fast", loads=busy))[0] == "voxcpm"


def test_a_model_that_is_down_is_tried_last_and_without_fallback_not_chosen_freely() -> None:
    down = {**LOADS, "indextts2": Load(0.9, ready=False)}
    assert names(models("quality", loads=down)) == ["voxcpm", "kokoro", "indextts2"]
    assert names(models("quality", loads=down, fallback=False)) == ["voxcpm"]
    assert names(models("indextts2", loads=down, fallback=False)) == ["indextts2"]
    assert names(models("indextts2", loads=down)) == ["indextts2"]
    assert names(models("indextts2", loads=down, fallback=True)) == ["voxcpm", "kokoro", "indextts2"]


def test_what_a_request_needs_rules_models_out() -> None:
    assert names(models("fast", Needs(cloning=True))) == ["voxcpm", "indextts2"]
    assert names(models("fast", Needs(emotion=True))) == ["indextts2"]
    assert models("fast", Needs(emotion=True))[0].reason == "only-suitable"
    assert names(models("fast", Needs(language="ja"))) == ["voxcpm"]
    assert names(models("quality", Needs(owners=frozenset(["kokoro"])))) == ["kokoro"]


def test_refusals_say_why() -> None:
    with pytest.raises(InvalidRequest, match=r"'kokoro' cannot clone a voice and has no emotion control"):
        models("kokoro", Needs(cloning=True, emotion=True))
    with pytest.raises(InvalidRequest, match=r"kokoro does not speak 'xx', but en, zh; indextts2 does"):
        models("auto", Needs(language="xx"))
    with pytest.raises(
        NotFound, match=r"'gpt' does not exist; available: auto, fast, gpt-4o-mini-tts, indextts2"
    ):
        models("gpt")


def test_aliases_resolve_once() -> None:
    assert resolve("tts-1", CARDS, OPENAI_MODEL_ALIASES) == "fast"
    assert resolve("mine", CARDS, {"mine": "kokoro"}) == "kokoro"


def test_a_voice_that_may_just_have_been_uploaded_is_looked_for_by_models_that_clone() -> None:
    unknown = Needs(voice_unknown=True)
    assert names(models("fast", unknown)) == ["indextts2", "voxcpm"]
    assert names(models("auto", unknown, default="voxcpm")) == ["voxcpm", "indextts2"]
    assert names(models("kokoro", unknown)) == ["kokoro"]
    assert names(models("fast", Needs(voice_unknown=True, language="ja"))) == ["voxcpm"]


def test_the_default_is_the_configured_model_else_the_best() -> None:
    assert default_model("kokoro", CARDS) == "kokoro"
    assert default_model(None, CARDS) == "indextts2" == names(models("auto"))[0]
