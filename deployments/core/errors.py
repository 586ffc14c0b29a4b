"""Errors that reach a client: each knows its HTTP status and the fields of OpenAI's error object (http-api.md 5)."""

from __future__ import annotations

from typing import Any

CLIENT_CLOSED_REQUEST = 499  # nginx's; HTTP itself has no status for it


class SpeechError(Exception):
    """Base of every error with a message meant for the person who sent the request."""

    status = 500
    type = "server_error"
    default_code: str | None = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled by their positional args alone; keyword fields must cross processes as well.
        return _rebuild, (type(self), self.message, self.param, self.code, self.retry_after_s)


def _rebuild(
    kind: type[SpeechError], message: str, param: str | None, code: str | None, retry_after_s: float | None
) -> SpeechError:
    return kind(message, param=param, code=code, retry_after_s=retry_after_s)


class InvalidRequest(SpeechError):
    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"


class Unauthenticated(SpeechError):
    """No key, or none that opens this server."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(SpeechError):
    """Whoever asks is known, or need not be, and still may not."""

    status = 403
    type = "permission_error"
    default_code = "permission_denied"


class NotFound(SpeechError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class TooSlow(SpeechError):
    """The request itself did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"


class Conflict(SpeechError):
    status = 409
    type = "invalid_request_error"
    default_code = "conflict"


class TooLarge(SpeechError):
    status = 413
    type = "invalid_request_error"
    default_code = "input_too_long"


class UnsupportedMedia(SpeechError):
    status = 415
    type = "invalid_request_error"
    default_code = "unsupported_media_type"


class OutOfRange(SpeechError):
    """A part of a file was asked for that it does not have."""

    status = 416
    type = "invalid_request_error"
    default_code = "range_not_satisfiable"


class Overloaded(SpeechError):
    """The queue is full. Always says when to come back."""

    status = 429
    type = "rate_limit_error"
    default_code = "queue_full"


class RateLimited(Overloaded):
    """Whoever asks has used what it may for now; others are served."""

    default_code = "rate_limit_exceeded"


class Unavailable(SpeechError):
    """A model or one of its stages cannot answer now (not ready, crashed, restarting)."""

    status = 503
    type = "server_error"
    default_code = "model_not_ready"


class StageLost(Unavailable):
    """A stage has no running replica: they died, and Serve starts others. Nothing was done for the request."""


class ReplicaDied(Unavailable):
    """The replica that worked on the request died; another one may do it again."""


class DeadlineExceeded(Unavailable):
    """What was asked for was not there in time."""

    status = 504
    default_code = "deadline_exceeded"


class CheckpointError(Exception):
    """Files of a model are missing, damaged or of other dimensions; the message names the file or tensor."""
