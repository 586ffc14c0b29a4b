"""Hundreds of requests, fleets and loads: what holds of every decision."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.core.catalogue import ModelCard
from deployments.core.speech import SpeechRequest
from serve_app.config import OPENAI_MODEL_ALIASES
from serve_app.routing.decision import Load
from serve_app.routing.names import POLICIES
from serve_app.routing.needs import NO_TRANSCRIPT, Needs
from serve_app.routing.order import best_first
from serve_app.routing.policy import Policy, decide
from serve_app.routing.rules import RoutingSettings

NAMES = ("a", "b", "c", "d")
CARD = st.builds(
    ModelCard,
    st.sampled_from(NAMES),
    st.just("k"),
    st.sampled_from([16_000, 24_000, 48_000]),
    st.sampled_from([("en",), ("en", "zh"), ("zh",)]),
    st.just("v"),
    cloning=st.booleans(),
    cloning_needs_transcript=st.booleans(),
    emotion=st.booleans(),
    instructions=st.booleans(),
    dialogue=st.booleans(),
    quality_rank=st.integers(0, 3),
)
CARDS = st.lists(CARD, min_size=1, max_size=4, unique_by=lambda card: card.name)
RARELY = st.sampled_from([False, False, False, True])
NEEDS = st.builds(
    Needs,
    language=st.sampled_from([None, None, "en", "zh"]),
    cloning=RARELY,
    emotion=RARELY,
    owners=st.none() | st.frozensets(st.sampled_from(NAMES), min_size=1),
    voice_unknown=RARELY,
    transcript=st.sampled_from([True, True, False]),
    dialogue=RARELY,
    instructions=st.booleans(),
    sample_rate_hz=st.sampled_from([None, 48_000]),
)
LOADS = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(Load, st.none() | st.floats(0, 20), st.none() | st.floats(0, 50), st.booleans(), st.booleans()),
)
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sets(st.sampled_from(POLICIES), min_size=1).map(list),
        "language": st.sampled_from([["en"], ["zh"]]),
        "min_characters": st.integers(1, 50),
        "strong_text": st.booleans(),
        "emotion": st.booleans(),
        "tags": st.just(["t"]),
    },
)
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "when": CONDITIONS,
            "prefer": st.permutations(NAMES).flatmap(lambda p: st.integers(1, 3).map(lambda n: p[:n])),
        }
    ),
    max_size=3,
).map(lambda rules: [{"name": f"r{number}", **rule} for number, rule in enumerate(rules)])
ROUTING = st.builds(
    lambda rules, longest: RoutingSettings.model_validate({"rules": rules, "long_text_chars": longest}),
    RULES,
    st.sampled_from([None, 20, 1000]),
)
REQUEST = st.builds(
    SpeechRequest,
    st.just("id"),
    st.sampled_from(["Hello.", "No! Never!", "A long text of some words. " * 3, "你好。"]),
    model=st.sampled_from([*POLICIES, *OPENAI_MODEL_ALIASES, *NAMES]),
    instructions=st.none() | st.just("softly"),
    tags=st.sampled_from([(), ("t",)]),
    latency_budget_ms=st.none() | st.floats(1, 20_000),
    fallback=st.none() | st.booleans(),
)
MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def with_voice(request: SpeechRequest, needs: Needs) -> SpeechRequest:
    """A request names a voice where its needs say that one is wanted."""
    named = needs.owners is not None or needs.voice_unknown
    return replace(request, voice="somebody" if named else None)


def known(request: SpeechRequest, cards: list[ModelCard]) -> SpeechRequest:
    """A model that is not there is another test's business."""
    there = {*(card.name for card in cards), *POLICIES, *OPENAI_MODEL_ALIASES}
    return request if request.model in there else replace(request, model="auto")


@MANY
@given(
    cards=CARDS,
    request=REQUEST,
    needs=NEEDS,
    loads=LOADS,
    routing=ROUTING,
    default=st.none() | st.sampled_from(NAMES),
)
def test_every_decision(
    cards: list[ModelCard],
    request: SpeechRequest,
    needs: Needs,
    loads: dict[str, Load],
    routing: RoutingSettings,
    default: str | None,
) -> None:
    request = known(with_voice(request, needs), cards)
    policy = Policy(tuple(cards), OPENAI_MODEL_ALIASES, default, routing)
    decision = decide(request, needs, policy, loads)
    assert (
        decide(request, needs, policy, dict(loads)) == decision or decision.problem
    )  # one state, one answer
    by_name = {card.name: card for card in cards}
    # All models are shown once, those that are tried first and in their order.
    assert sorted(each.model for each in decision.candidates) == sorted(by_name)
    assert [(e.model, e.reason) for e in decision.candidates if e.reason] == [
        (choice.model, choice.reason) for choice in decision.choices
    ]
    assert bool(decision.choices) == (decision.problem is None)
    named = policy.wanted(request)
    for choice in decision.choices:
        # Never an unsuitable model. One that is named may know a transcript from elsewhere, and asks for it otherwise.
        known_elsewhere = {NO_TRANSCRIPT} if choice.model == named else set()
        assert not set(needs.objections(by_name[choice.model])) - known_elsewhere
    for candidate in decision.candidates:
        assert list(candidate.objections) == needs.objections(by_name[candidate.model])
    if named in by_name and decision.choices:
        assert named in [choice.model for choice in decision.choices]
        if not request.fallback:
            assert [choice.model for choice in decision.choices] == [named]
    if request.fallback is False:
        assert len(decision.choices) <= 1
    states = [loads.get(choice.model, Load()).ready for choice in decision.choices]
    if len(states) > 1:
        assert states == sorted(states, reverse=True)


@MANY
@given(cards=CARDS, request=REQUEST, needs=NEEDS, loads=LOADS)
def test_the_order_of_the_configuration_matters_among_equals_only(
    cards: list[ModelCard], request: SpeechRequest, needs: Needs, loads: dict[str, Load]
) -> None:
    request = known(with_voice(request, needs), cards)
    ranked = [replace(card, quality_rank=rank) for rank, card in enumerate(cards)]
    answers = {
        tuple(decide(request, needs, Policy(order, OPENAI_MODEL_ALIASES), loads).choices)
        for order in permutations(ranked)
    }
    figures = [(load.first_audio_s, load.audio_s_per_s) for load in loads.values()]
    if len(set(figures)) == len(figures) == len(ranked):
        assert len(answers) == 1


@MANY
@given(
    cards=CARDS,
    request=REQUEST,
    needs=NEEDS,
    loads=LOADS,
    routing=ROUTING,
    budgets=st.tuples(st.floats(1, 20_000), st.floats(1, 20_000)),
)
def test_a_larger_budget_never_gives_a_model_that_ranks_lower(
    cards: list[ModelCard],
    request: SpeechRequest,
    needs: Needs,
    loads: dict[str, Load],
    routing: RoutingSettings,
    budgets: tuple[float, float],
) -> None:
    request = known(with_voice(request, needs), cards)
    policy, by_name = Policy(tuple(cards), OPENAI_MODEL_ALIASES, None, routing), {c.name: c for c in cards}

    def chosen(budget_ms: float) -> ModelCard | None:
        decision = decide(replace(request, latency_budget_ms=budget_ms), needs, policy, loads)
        return by_name[decision.choices[0].model] if decision.choices else None

    tight, loose = chosen(min(budgets)), chosen(max(budgets))
    assert (tight is None) == (loose is None)
    if tight is not None and loose is not None:
        assert best_first(loose, needs) <= best_first(tight, needs)


def test_a_long_text_goes_to_who_makes_most_audio() -> None:
    slow, quick = (
        ModelCard(name, "k", 24_000, ("en",), "v", quality_rank=rank) for name, rank in (("a", 9), ("b", 1))
    )
    loads = {"a": Load(0.1, 2.0), "b": Load(0.5, 6.0)}
    policy = Policy((slow, quick), {}, "a")

    def first(
        length: int, model: str = "auto", loads: dict[str, Load] = loads, **fields: float
    ) -> tuple[str, str]:
        request = SpeechRequest("id", "x" * length, model=model, **fields)  # type: ignore[arg-type]
        choice = decide(request, Needs(), policy, loads).choices[0]
        return choice.model, choice.reason

    assert first(999) == ("a", "default")
    assert first(1000) == ("b", "long-text")
    assert first(1000, "fast") == ("b", "long-text")
    assert first(1000, "quality") == ("a", "best-quality")
    assert first(1000, latency_budget_ms=200) == ("a", "best-within-budget")
    assert first(1000, loads={}) == ("a", "default")


def test_what_a_request_would_like_decides_where_it_costs_nothing_else() -> None:
    usual = ModelCard("usual", "k", 24_000, ("en",), "v", quality_rank=10)
    heeds = ModelCard("heeds", "k", 24_000, ("en",), "v", quality_rank=5, instructions=True)
    policy = Policy((usual, heeds), {}, "usual")
    request = SpeechRequest("id", "Hello.")

    def tried(needs: Needs, request: SpeechRequest = request) -> list[tuple[str, str]]:
        return [(choice.model, choice.reason) for choice in decide(request, needs, policy, {}).choices]

    assert tried(Needs())[0] == ("usual", "default")
    assert tried(Needs(instructions=True)) == [("heeds", "instructions"), ("usual", "instructions")]
    named = replace(request, voice="anna")
    assert tried(Needs(instructions=True, owners=frozenset(["usual", "heeds"])), named)[0] == (
        "usual",
        "voice",
    )
    equal = Policy((usual, replace(usual, name="bright", sample_rate_hz=48_000)), {})
    first = decide(request, Needs(sample_rate_hz=44_100), equal, {})
    assert first.choices[0].model == "bright"
    assert first.candidates[1].wishes_unmet == ("makes 24000 Hz, which is resampled to 44100",)
    assert decide(request, Needs(), equal, {}).choices[0].model == "usual"


def test_a_model_that_must_know_the_words_is_not_asked_without_them() -> None:
    blind = ModelCard("blind", "k", 24_000, ("en",), "v", cloning=True, quality_rank=1)
    told = ModelCard(
        "told", "k", 24_000, ("en",), "v", cloning=True, cloning_needs_transcript=True, quality_rank=2
    )
    policy, request = Policy((blind, told), {}), SpeechRequest("id", "Hello.", reference_audio=b"RIFF")
    assert decide(request, Needs(cloning=True), policy, {}).choices[0].model == "told"
    decision = decide(request, Needs(cloning=True, transcript=False), policy, {})
    assert [choice.model for choice in decision.choices] == ["blind"]
    assert "told what is said in the recording (ref_text)" in decision.candidates[1].objections[0]
    spoken = decide(request, Needs(dialogue=True), Policy((blind, replace(told, dialogue=True)), {}), {})
    assert [choice.model for choice in spoken.choices] == ["told"]
