"""When another model may answer in the place of the first one, and how it is told."""

from __future__ import annotations

from deployments.core.errors import Overloaded, SpeechError
from deployments.core.speech import SpeechRequest
from serve_app.routing.decision import FALLBACK, Choice


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
