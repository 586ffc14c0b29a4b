"""Which model answers a request: pure functions over the request, what models declare, and their live load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployments.core.catalogue import ModelCard
from deployments.core.errors import InvalidRequest, NotFound, Overloaded, SpeechError
from deployments.core.speech import SpeechRequest
from deployments.text.language_names import english_name, language_code
from serve_app.config import POLICIES

FALLBACK = "fallback:"  # in a reason, before the name of the model that was wanted


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

    @property
    def instead_of(self) -> str | None:
        """The model that would have answered if it could."""
        return self.reason.removeprefix(FALLBACK) if self.reason.startswith(FALLBACK) else None

    def warnings(self, voice: str) -> tuple[str, ...]:
        """What a client is told where another speaker than the wanted one, `voice`, answers."""
        if self.instead_of is None:
            return ()
        return (
            f"model {self.instead_of!r} cannot answer now: voice {voice!r} of model {self.model!r} speaks",
        )


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
            spoken = ", ".join(card.languages)
            found.append(f"does not speak {self.language!r}, but {spoken}")
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

    chosen = names_voice(request)
    if wanted in POLICIES and needs.voice_unknown:
        suitable = [card for card in suitable if card.cloning]
        if not suitable:
            raise no_such_voice(request.voice)
    if wanted not in POLICIES:
        others = sorted((card for card in suitable if card.name != wanted), key=_best_first)
        ranked = [Choice(wanted, "explicit"), *(Choice(card.name, FALLBACK + wanted) for card in others)]
    elif len(suitable) == 1:
        ranked = [Choice(suitable[0].name, "only-suitable")]
    elif chosen:
        ranked = _by_voice(suitable, default)
    else:
        ranked = _by_load(wanted, request.latency_budget_ms, suitable, loads, default)
    may = request.fallback if request.fallback is not None else wanted in POLICIES
    # A model that is known to be down goes last, but is still tried when nothing else is left, or when the client
    # wants no other.
    if may or (wanted in POLICIES and not chosen):
        ranked.sort(key=lambda choice: not loads.get(choice.model, Load()).ready)
    return ranked if may else ranked[:1]


def _best_first(card: ModelCard) -> int:
    return -card.quality_rank


def _by_voice(suitable: Sequence[ModelCard], default: str | None) -> list[Choice]:
    """One name is one voice of one model, whatever the policy and the load: who sends a text sentence by sentence
    hears one speaker. The default model's voice comes first, then the best model's, then the first configured one's."""
    first, *others = sorted(suitable, key=lambda card: (card.name != default, _best_first(card)))
    return [Choice(first.name, "voice"), *(Choice(card.name, FALLBACK + first.name) for card in others)]


def _by_load(
    wanted: str,
    budget_ms: float | None,
    suitable: Sequence[ModelCard],
    loads: Mapping[str, Load],
    default: str | None,
) -> list[Choice]:
    """For requests that leave the speaker open."""

    def expected_s(card: ModelCard) -> float:
        return loads.get(card.name, Load()).expected_first_audio_s()

    fastest = sorted(suitable, key=lambda card: (expected_s(card), _best_first(card)))
    best = sorted(suitable, key=lambda card: (_best_first(card), expected_s(card)))
    if budget_ms is not None:
        within = [card for card in best if expected_s(card) * 1000 <= budget_ms]
        beyond = [Choice(card.name, "fastest:budget-unmet") for card in fastest if card not in within]
        return [Choice(card.name, "best-within-budget") for card in within] + beyond
    if wanted == "fast":
        return [Choice(card.name, "fastest") for card in fastest]
    if wanted == "auto" and default is not None and any(card.name == default for card in suitable):
        rest = [card for card in best if card.name != default]
        return [Choice(default, "default"), *(Choice(card.name, FALLBACK + default) for card in rest)]
    return [Choice(card.name, "best-quality") for card in best]


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


def no_such_voice(voice: str | None) -> NotFound:
    return NotFound(
        f"voice {voice!r} does not exist; GET /v1/audio/voices lists all",
        param="voice",
        code="voice_not_found",
    )


def served_language(written: str | None, cards: Sequence[ModelCard]) -> str | None:
    """The code of the language that a request names; None where it is to be told from the text.

    Raises InvalidRequest that says what is spoken here.
    """
    if written is None or written.strip().lower() == "auto":
        return None
    served = list(dict.fromkeys(language for card in cards for language in card.languages))
    code = language_code(written, served)
    if code in served:
        return code
    listed = ", ".join(f"{known} ({english_name(known)})" for known in sorted(served))
    raise InvalidRequest(
        f"language {written[:40]!r} is not spoken here; spoken are {listed}; auto has it told from the text",
        param="language",
    )
