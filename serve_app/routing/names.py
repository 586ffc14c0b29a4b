"""What a client may call a model, a policy or a language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployments.core.catalogue import ModelCard
from deployments.core.errors import InvalidRequest, NotFound
from deployments.text.language_names import english_name, language_code

POLICIES = ("auto", "fast", "quality")


def default_model(configured: str | None, cards: Sequence[ModelCard]) -> str:
    """What `auto` means where nothing else decides: the configured model, else the best, as the policy has it."""
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
