"""Streams that fail after their first byte: one line in the log, and a connection that breaks visibly."""

from __future__ import annotations

import logging

from deployments.core.errors import SpeechError
from deployments.core.logs import RequestLogger

LOGGERS = ("ray.serve", "uvicorn.error")  # which write a trace of what leaves the application


class StreamCut(Exception):
    """Leaves the application, so that the answer is not ended as if it were whole. It has been logged already."""

    def __init__(self, failure: SpeechError) -> None:
        super().__init__(failure.message)
        self.failure = failure


def log_cut(request_id: str, model: str, bytes_sent: int, failure: SpeechError) -> None:
    RequestLogger(request_id).warning(
        "the stream of model %s is cut after %d bytes: %s", model, bytes_sent, failure
    )


def quiet_about_cuts() -> None:
    """Keep the server's own loggers from writing a trace of a hundred lines for each StreamCut."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_not_of_a_cut)


def _not_of_a_cut(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], StreamCut))
