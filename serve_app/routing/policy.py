"""Which model answers a request: pure functions over the request, what models declare, and their live load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deployments.core.catalogue import ModelCard
from deployments.core.errors import InvalidRequest, NotFound, SpeechError
from deployments.core.speech import SpeechRequest
from serve_app.routing.decision import Candidate, Choice, Decision, Load
from serve_app.routing.fallback import names_voice
from serve_app.routing.names import POLICIES, no_such_voice, resolve
from serve_app.routing.needs import NO_TRANSCRIPT, Needs
from serve_app.routing.order import in_order
from serve_app.routing.rules import RoutingRule, RoutingSettings

UP, ASLEEP, FULL, DOWN = range(4)  # the order in which choices are tried


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

    def asked(self, request: SpeechRequest) -> str:
        """`wanted` for counting: one word for whatever does not exist."""
        try:
            return self.wanted(request)
        except NotFound:
            return "unknown"


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
    longest = policy.settings.long_text_chars
    ordered = in_order(request, needs, wanted, suitable, loads, rule, policy.default, longest)
    choices = _as_tried(request, wanted, ordered, loads)
    decided = rule.name if rule and choices[0].reason == f"rule:{rule.name}" else None
    candidates = _candidates(choices, needs, policy.cards, objections, loads)
    sleeper = ordered[0].model if loads.get(ordered[0].model, Load()).asleep else None
    return Decision(choices, candidates, None, decided, _may_fill(request, needs, wanted, policy), sleeper)


def _problem(wanted: str, objections: Mapping[str, Sequence[str]]) -> InvalidRequest | None:
    """Why nothing can serve. A model that is named says itself what it misses of a recording, which it may know from
    elsewhere."""
    if wanted not in POLICIES:
        why = [objection for objection in objections[wanted] if objection is not NO_TRANSCRIPT]
        if not why:
            return None
        return InvalidRequest(f"model {wanted!r} {' and '.join(why)}", param="model", code="model_unsuitable")
    if all(objections.values()):
        details = "; ".join(f"{name} {' and '.join(why)}" for name, why in objections.items())
        return InvalidRequest(
            f"no model can serve this request: {details}", param="model", code="model_unsuitable"
        )
    return None


def _rule(
    request: SpeechRequest, needs: Needs, wanted: str, suitable: Sequence[ModelCard], policy: Policy
) -> RoutingRule | None:
    """The first one that fits the request and prefers a model that can serve it."""
    able = {card.name for card in suitable}
    for rule in policy.settings.rules:
        speaks_for_voices = rule.named_voices or not names_voice(request)
        if speaks_for_voices and able & set(rule.prefer) and rule.when.hold(request, needs, wanted):
            return rule
    return None


def _may_fill(request: SpeechRequest, needs: Needs, wanted: str, policy: Policy) -> bool:
    """Whether the answer may begin with a filler. A rule about that changes no speaker, so it is for all requests."""
    if policy.settings.fillers is None:
        return False
    if request.filler is not None:
        return request.filler
    return any(rule.filler and rule.when.hold(request, needs, wanted) for rule in policy.settings.rules)


def _as_tried(
    request: SpeechRequest, wanted: str, choices: list[Choice], loads: Mapping[str, Load]
) -> tuple[Choice, ...]:
    """What sleeps, what is full and what is down come behind what is up, in this order; what is down is still tried
    when nothing else is left. Where the client wants no other, nothing moves and the first remains alone."""
    free = wanted in POLICIES and not names_voice(request)
    may = request.fallback if request.fallback is not None else wanted in POLICIES

    def turn(choice: Choice) -> int:
        load = loads.get(choice.model, Load())
        if not load.ready:
            return DOWN if may or free else UP
        if request.fallback is True or free:
            return ASLEEP if load.asleep else FULL if load.full else UP
        return UP

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
