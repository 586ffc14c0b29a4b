"""In which order the models that can serve a request are to be asked, as if every one were up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployments.core.catalogue import ModelCard
from deployments.core.speech import SpeechRequest
from serve_app.routing.decision import FALLBACK, Choice, Load
from serve_app.routing.fallback import names_voice
from serve_app.routing.names import POLICIES
from serve_app.routing.needs import Needs
from serve_app.routing.rules import RoutingRule


def in_order(
    request: SpeechRequest,
    needs: Needs,
    wanted: str,
    suitable: Sequence[ModelCard],
    loads: Mapping[str, Load],
    rule: RoutingRule | None,
    default: str | None,
    long_text_chars: int | None,
) -> list[Choice]:
    """All that can serve, as if every one were up."""
    if wanted not in POLICIES:
        others = sorted(
            (card for card in suitable if card.name != wanted), key=lambda card: best_first(card, needs)
        )
        return [Choice(wanted, "explicit"), *_instead(wanted, others)]
    if len(suitable) == 1:
        return [Choice(suitable[0].name, "only-suitable")]
    if names_voice(request):
        usual = _by_voice(suitable, default)
    else:
        usual = _by_load(request, needs, wanted, suitable, loads, default, long_text_chars)
    if rule is None:
        return usual
    able = {card.name for card in suitable}
    preferred = [name for name in rule.prefer if name in able]
    rest = [choice.model for choice in usual if choice.model not in preferred]
    return [
        *(Choice(name, f"rule:{rule.name}") for name in preferred),
        *(Choice(name, FALLBACK + preferred[0]) for name in rest),
    ]


def _by_voice(suitable: Sequence[ModelCard], default: str | None) -> list[Choice]:
    """One name is one voice of one model, whatever the policy and the load: who sends a text sentence by sentence
    hears one speaker. The default model's voice comes first, then the best model's, then the first configured one's."""
    first, *others = sorted(suitable, key=lambda card: (card.name != default, -card.quality_rank))
    return [Choice(first.name, "voice"), *_instead(first.name, others)]


def _by_load(
    request: SpeechRequest,
    needs: Needs,
    wanted: str,
    suitable: Sequence[ModelCard],
    loads: Mapping[str, Load],
    default: str | None,
    long_text_chars: int | None,
) -> list[Choice]:
    """For requests that leave the speaker open."""

    def expected_s(card: ModelCard) -> float:
        return loads.get(card.name, Load()).expected_first_audio_s()

    def pace(card: ModelCard) -> float:
        return loads.get(card.name, Load()).audio_s_per_s or 0.0

    budget_ms = request.latency_budget_ms
    fastest = sorted(suitable, key=lambda card: (expected_s(card), best_first(card, needs)))
    best = sorted(suitable, key=lambda card: (best_first(card, needs), expected_s(card)))
    if budget_ms is not None:
        within = [card for card in best if expected_s(card) * 1000 <= budget_ms]
        beyond = [Choice(card.name, "fastest:budget-unmet") for card in fastest if card not in within]
        return [Choice(card.name, "best-within-budget") for card in within] + beyond
    is_long = long_text_chars is not None and len(request.text) >= long_text_chars
    if is_long and wanted in ("auto", "fast") and any(map(pace, suitable)):
        return [Choice(card.name, "long-text") for card in sorted(best, key=lambda card: -pace(card))]
    if wanted == "fast":
        return [Choice(card.name, "fastest") for card in fastest]
    if wanted == "auto":
        usual = next((card for card in suitable if card.name == default), None)
        heeding = [card for card in best if not needs.ignores_instructions(card)]
        if usual is not None and (usual in heeding or not heeding):
            return [Choice(usual.name, "default"), *_instead(usual.name, (c for c in best if c != usual))]
        if usual is not None:
            return [Choice(card.name, "instructions") for card in best]
    return [Choice(card.name, "best-quality") for card in best]


def best_first(card: ModelCard, needs: Needs) -> tuple[bool, int, bool]:
    """The best for this request comes first: what it would like counts more than the rank, its rate less."""
    return needs.ignores_instructions(card), -card.quality_rank, needs.is_resampled_up(card)


def _instead(wanted: str, others: Iterable[ModelCard]) -> list[Choice]:
    return [Choice(card.name, FALLBACK + wanted) for card in others]
