"""Which model answers a request: pure functions over the request, what models declare, and their live load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployments.core.catalogue import ModelCard
from deployments.core.errors import InvalidRequest, NotFound
from deployments.core.speech import SpeechRequest
from serve_app.config import POLICIES


@dataclass(frozen=True, slots=True)
class Load:
    """Live figures of one model. `first_audio_s`: what a request that comes now may expect, None where nothing is
    known."""

    first_audio_s: float | None = None
    audio_s_per_s: float | None = None  # that the model makes
    ready: bool = True

    def expected_first_audio_s(self, unknown_s: float = 1.0) -> float:
        return unknown_s if self.first_audio_s is None else self.first_audio_s


@dataclass(frozen=True, slots=True)
class Choice:
    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request demands of a model, beside a name."""

    language: str | None = None
    cloning: bool = False
    emotion: bool = False
    owners: frozenset[str] | None = None  # models that have the wanted voice; None: no voice was named, or
    voice_unknown: bool = (
        False  # it may have been uploaded a moment ago, which the models that clone find out
    )

    def objections(self, card: ModelCard) -> list[str]:
        """Why `card` cannot serve; empty if it can."""
        found = []
        if self.owners is not None and card.name not in self.owners:
            found.append("does not have this voice")
        if self.cloning and not card.cloning:
            found.append("cannot clone a voice")
        if self.emotion and not card.emotion:
            found.append("has no emotion control")
        if self.language and self.language not in card.languages:
            found.append(f"does not speak {self.language!r}")
        return found


def default_model(configured: str | None, cards: Sequence[ModelCard]) -> str:
    """What `auto` means where nothing else decides: the configured model, else the best, as `rank` has it."""
    return configured or max(cards, key=lambda card: card.quality_rank).name


def resolve(name: str, cards: Sequence[ModelCard], aliases: Mapping[str, str]) -> str:
    """A model's name or a policy for what a client wrote. Raises NotFound listing what there is."""
    wanted = aliases.get(name, name)
    if wanted in POLICIES or any(card.name == wanted for card in cards):
        return wanted
    known = sorted({*(card.name for card in cards), *aliases, *POLICIES})
    raise NotFound(
        f"model {name!r} does not exist; available: {', '.join(known)}", param="model", code="model_not_found"
    )


def rank(
    request: SpeechRequest,
    needs: Needs,
    cards: Sequence[ModelCard],
    aliases: Mapping[str, str],
    loads: Mapping[str, Load],
    default: str | None = None,
) -> list[Choice]:
    """Models for `request`, best first; those after the first are fallbacks, tried only before the first byte.

    Raises NotFound for an unknown model and InvalidRequest if no model can do what is asked, saying why.
    """
    wanted = resolve(request.model, cards, aliases)
    objections = {card.name: needs.objections(card) for card in cards}
    if wanted not in POLICIES and objections[wanted]:
        raise InvalidRequest(
            f"model {wanted!r} {' and '.join(objections[wanted])}", param="model", code="model_unsuitable"
        )
    suitable = [card for card in cards if not objections[card.name]]
    if not suitable:
        details = "; ".join(f"{name} {' and '.join(why)}" for name, why in objections.items())
        raise InvalidRequest(
            f"no model can serve this request: {details}", param="model", code="model_unsuitable"
        )

    ranked = _order(wanted, request.latency_budget_ms, suitable, loads, default)
    if wanted in POLICIES and needs.voice_unknown:
        cloning = {card.name for card in suitable if card.cloning}
        ranked.sort(key=lambda choice: choice.model not in cloning)
    # A model that is known to be down goes last, but is still tried when nothing else is left, or when the client
    # named it and wants no other.
    if wanted in POLICIES or request.fallback:
        ranked.sort(key=lambda choice: not loads.get(choice.model, Load()).ready)
    return ranked if request.fallback else ranked[:1]


def _order(
    wanted: str,
    budget_ms: float | None,
    suitable: Sequence[ModelCard],
    loads: Mapping[str, Load],
    default: str | None,
) -> list[Choice]:
    def expected_s(card: ModelCard) -> float:
        return loads.get(card.name, Load()).expected_first_audio_s()

    fastest = sorted(suitable, key=lambda card: (expected_s(card), -card.quality_rank))
    best = sorted(suitable, key=lambda card: (-card.quality_rank, expected_s(card)))
    if wanted not in POLICIES:
        others = [Choice(card.name, f"fallback:{wanted}") for card in best if card.name != wanted]
        return [Choice(wanted, "explicit"), *others]
    if len(suitable) == 1:
        return [Choice(suitable[0].name, "only-suitable")]
    if budget_ms is not None:
        within = [card for card in best if expected_s(card) * 1000 <= budget_ms]
        beyond = [Choice(card.name, "fastest:budget-unmet") for card in fastest if card not in within]
        return [Choice(card.name, "best-within-budget") for card in within] + beyond
    if wanted == "fast":
        return [Choice(card.name, "fastest") for card in fastest]
    if wanted == "auto" and default is not None and any(card.name == default for card in suitable):
        rest = [card for card in best if card.name != default]
        return [Choice(default, "default"), *(Choice(card.name, "fallback:default") for card in rest)]
    return [Choice(card.name, "best-quality") for card in best]
