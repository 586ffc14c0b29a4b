"""What a client is told of a failure inside a model."""

from __future__ import annotations

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from deployments.core.deaths import death_behind
from deployments.core.errors import Overloaded, ReplicaDied, SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.ray_internals import logs_directory
from serve_app.client import cause_of


def as_answer(model: str, error: Exception, request_id: str) -> SpeechError:
    """`error` as it is told; what was not foreseen is logged with its trace."""
    cause = cause_of(error) if isinstance(error, RayTaskError) else error
    if isinstance(cause, SpeechError):
        return cause
    if isinstance(cause, BackPressureError):
        return Overloaded(f"model {model!r} is full; try again shortly", retry_after_s=2)
    if isinstance(cause, RayActorError | RayServeException):
        logs = logs_directory()
        death = death_behind(cause, logs) if logs else None
        if death is not None:
            RequestLogger(request_id).warning("model %s: %s. %s", model, death, death.advice)
        else:
            first_line = str(cause).strip().partition("\n")[0]
            RequestLogger(request_id).warning("model %s: %s: %s", model, type(cause).__name__, first_line)
        told = f": {death}" if death else ""
        return ReplicaDied(
            f"model {model!r} stopped while working on this request{told}; try again", retry_after_s=2
        )
    RequestLogger(request_id).error("model %s failed", model, exc_info=cause)
    return SpeechError(f"model {model!r} failed on this request; the server's log has the details")
