"""Which model answers a request: pure functions over the request, what models declare, and their live load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deployments.core.catalogue import ModelCard
from deployments.core.errors import InvalidRequest, Overloaded, SpeechError
from deployments.core.speech import SpeechRequest
from serve_app.routing.decision import FALLBACK, Candidate, Choice, Decision, Load
from serve_app.routing.names import POLICIES, no_such_voice, resolve
from serve_app.routing.needs import Needs
from serve_app.routing.rules import RoutingSettings, Rule

UP, FULL, DOWN = range(3)  # the order in which choices are tried


@dataclass(frozen=True, slots=True)
class Policy:
    """All that decides beside a request and the load: what models declare, and what the operator configured."""

    cards: tuple[ModelCard, ...]
    aliases: Mapping[str, str]
    default: str | None = None
    settings: RoutingSettings = field(default_factory=RoutingSettings)  # type: ignore[arg-type]

    def wanted(self, request: SpeechRequest) -> str:
        """The model or policy that the request names. Raises NotFound."""
        return resolve(request.model, self.cards, self.aliases)


def rank(request: SpeechRequest, needs: Needs, policy: Policy, loads: Mapping[str, Load]) -> list[Choice]:
    """Models for `request`, best first; those after the first are fallbacks, tried only before the first byte.

    Raises NotFound for an unknown model or voice and InvalidRequest if no model can do what is asked, saying why.
    """
    decision = decide(request, needs, policy, loads)
    if decision.problem is not None:
        raise decision.problem
    return list(decision.choices)


def decide(request: SpeechRequest, needs: Needs, policy: Policy, loads: Mapping[str, Load]) -> Decision:
    """As `rank`, with every model and how it was judged. Raises NotFound for an unknown model."""
    wanted = policy.wanted(request)
    objections = {card.name: needs.objections(card) for card in policy.cards}
    suitable = [card for card in policy.cards if not objections[card.name]]
    problem: SpeechError | None = _problem(wanted, objections)
    if problem is None and wanted in POLICIES and needs.voice_unknown:
        suitable = [card for card in suitable if card.cloning]
        if not suitable:
            problem = no_such_voice(request.voice)
    if problem is not None:
        return Decision((), _candidates((), needs, policy.cards, objections, loads), problem)
    rule = None if wanted not in POLICIES else _rule(request, needs, wanted, suitable, policy)
    ordered = _in_order(request, needs, wanted, suitable, policy, loads, rule)
    choices = _as_tried(request, wanted, ordered, loads)
    decided = rule.name if rule and choices[0].reason == f"rule:{rule.name}" else None
    return Decision(choices, _candidates(choices, needs, policy.cards, objections, loads), rule=decided)


def _problem(wanted: str, objections: Mapping[str, Sequence[str]]) -> InvalidRequest | None:
    """Why nothing can serve."""
    if wanted not in POLICIES and objections[wanted]:
        return InvalidRequest(
            f"model {wanted!r} {' and '.join(objections[wanted])}", param="model", code="model_unsuitable"
        )
    if all(objections.values()):
        details = "; ".join(f"{name} {' and '.join(why)}" for name, why in objections.items())
        return InvalidRequest(
            f"no model can serve this request: {details}", param="model", code="model_unsuitable"
        )
    return None


def _rule(
    request: SpeechRequest, needs: Needs, wanted: str, suitable: Sequence[ModelCard], policy: Policy
) -> Rule | None:
    """The first one that fits the request and prefers a model that can serve it."""
    able = {card.name for card in suitable}
    for rule in policy.settings.rules:
        speaks_for_voices = rule.named_voices or not names_voice(request)
        if speaks_for_voices and able & set(rule.prefer) and rule.when.hold(request, needs, wanted):
            return rule
    return None


def _in_order(
    request: SpeechRequest,
    needs: Needs,
    wanted: str,
    suitable: Sequence[ModelCard],
    policy: Policy,
    loads: Mapping[str, Load],
    rule: Rule | None,
) -> list[Choice]:
    """All that can serve, as if every one were up."""
    if wanted not in POLICIES:
        others = sorted(
            (card for card in suitable if card.name != wanted), key=lambda card: _best(card, needs)
        )
        return [Choice(wanted, "explicit"), *_instead(wanted, others)]
    if len(suitable) == 1:
        return [Choice(suitable[0].name, "only-suitable")]
    if names_voice(request):
        usual = _by_voice(needs, suitable, policy.default)
    else:
        usual = _by_load(request, needs, wanted, suitable, policy, loads)
    if rule is None:
        return usual
    able = {card.name for card in suitable}
    preferred = [name for name in rule.prefer if name in able]
    rest = [choice.model for choice in usual if choice.model not in preferred]
    return [
        *(Choice(name, f"rule:{rule.name}") for name in preferred),
        *(Choice(name, FALLBACK + preferred[0]) for name in rest),
    ]


def _by_voice(needs: Needs, suitable: Sequence[ModelCard], default: str | None) -> list[Choice]:
    """One name is one voice of one model, whatever the policy and the load: who sends a text sentence by sentence
    hears one speaker. The default model's voice comes first, then the best model's, then the first configured one's."""
    first, *others = sorted(suitable, key=lambda card: (card.name != default, -card.quality_rank))
    return [Choice(first.name, "voice"), *_instead(first.name, others)]


def _by_load(
    request: SpeechRequest,
    needs: Needs,
    wanted: str,
    suitable: Sequence[ModelCard],
    policy: Policy,
    loads: Mapping[str, Load],
) -> list[Choice]:
    """For requests that leave the speaker open."""

    def expected_s(card: ModelCard) -> float:
        return loads.get(card.name, Load()).expected_first_audio_s()

    def pace(card: ModelCard) -> float:
        return loads.get(card.name, Load()).audio_s_per_s or 0.0

    budget_ms, longest = request.latency_budget_ms, policy.settings.long_text_chars
    fastest = sorted(suitable, key=lambda card: (expected_s(card), _best(card, needs)))
    best = sorted(suitable, key=lambda card: (_best(card, needs), expected_s(card)))
    if budget_ms is not None:
        within = [card for card in best if expected_s(card) * 1000 <= budget_ms]
        beyond = [Choice(card.name, "fastest:budget-unmet") for card in fastest if card not in within]
        return [Choice(card.name, "best-within-budget") for card in within] + beyond
    is_long = longest is not None and len(request.text) >= longest
    if is_long and wanted in ("auto", "fast") and any(map(pace, suitable)):
        return [Choice(card.name, "long-text") for card in sorted(best, key=lambda card: -pace(card))]
    if wanted == "fast":
        return [Choice(card.name, "fastest") for card in fastest]
    if wanted == "auto":
        default = next((card for card in suitable if card.name == policy.default), None)
        heeding = [card for card in best if not needs.ignores_instructions(card)]
        if default is not None and (default in heeding or not heeding):
            return [
                Choice(default.name, "default"),
                *_instead(default.name, (c for c in best if c != default)),
            ]
        if default is not None:
            return [Choice(card.name, "instructions") for card in best]
    return [Choice(card.name, "best-quality") for card in best]


def _best(card: ModelCard, needs: Needs) -> tuple[bool, int, bool]:
    """The best for this request comes first: what it would like counts more than the rank, its rate less."""
    return needs.ignores_instructions(card), -card.quality_rank, needs.is_resampled_up(card)


def _instead(wanted: str, others: Iterable[ModelCard]) -> list[Choice]:
    return [Choice(card.name, FALLBACK + wanted) for card in others]


def _as_tried(
    request: SpeechRequest, wanted: str, choices: list[Choice], loads: Mapping[str, Load]
) -> tuple[Choice, ...]:
    """With what is full behind what is up, and what is down last: it is still tried when nothing else is left. Where
    the client wants no other, nothing moves and the first remains alone."""
    free = wanted in POLICIES and not names_voice(request)
    may = request.fallback if request.fallback is not None else wanted in POLICIES

    def turn(choice: Choice) -> int:
        load = loads.get(choice.model, Load())
        if not load.ready:
            return DOWN if may or free else UP
        return FULL if load.full and (request.fallback is True or free) else UP

    ordered = sorted(choices, key=turn)
    return tuple(ordered if may else ordered[:1])


def _candidates(
    choices: Sequence[Choice],
    needs: Needs,
    cards: Sequence[ModelCard],
    objections: Mapping[str, Sequence[str]],
    loads: Mapping[str, Load],
) -> tuple[Candidate, ...]:
    reasons = {choice.model: choice.reason for choice in choices}
    tried = list(reasons)
    ordered = sorted(cards, key=lambda card: tried.index(card.name) if card.name in reasons else len(tried))
    return tuple(
        Candidate(
            card.name,
            reasons.get(card.name, ""),
            tuple(objections[card.name]),
            tuple(needs.wishes_unmet(card)),
            loads.get(card.name, Load()),
            card.quality_rank,
        )
        for card in ordered
    )


def moves_on(request: SpeechRequest, failure: SpeechError) -> bool:
    """Whether the next model may be tried after `failure`.

    Bad input is bad for every model. A full model is up: another speaker in its place only where the client named
    none, or said that it may be.
    """
    if isinstance(failure, Overloaded):
        return request.fallback is True or not names_voice(request)
    return failure.status > Overloaded.status


def stand_in(choice: Choice, first: Choice) -> Choice:
    """`choice` as it is told to the client after the `first` one has failed."""
    wanted = first.instead_of or first.model
    return choice if choice.model == wanted else Choice(choice.model, FALLBACK + wanted)


def names_voice(request: SpeechRequest) -> bool:
    """Whether the client has said who is to speak."""
    return request.voice is not None or request.reference_audio is not None
