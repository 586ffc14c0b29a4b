from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from deployments.core.logs import RequestLogger, ids_of, logger, request_id_of


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler = _Records()
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


def test_lines_go_where_serve_writes_them() -> None:
    assert logger is logging.getLogger("ray.serve")


def test_a_line_about_a_request_names_it(records: list[logging.LogRecord]) -> None:
    RequestLogger("the-id").warning("row %d of %s is late", 3, "100%")
    (record,) = records
    assert record.getMessage() == "row 3 of 100% is late [request the-id]"
    assert record.levelno == logging.WARNING


def test_a_trace_comes_along(records: list[logging.LogRecord]) -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        RequestLogger("the-id").exception("it failed")
    (record,) = records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_json_lines_have_the_request_as_a_field(records: list[logging.LogRecord]) -> None:
    from ray._common.formatters import JSONFormatter

    RequestLogger("the-id").warning("late", extra={"model": "m"})
    (record,) = records
    line = json.loads(JSONFormatter().format(record))
    assert (line["speech_request_id"], line["model"], line["levelname"]) == ("the-id", "m", "WARNING")


def test_the_request_of_a_job_is_that_of_what_an_engine_made_of_it() -> None:
    job = SimpleNamespace(request_id="the-id")
    assert request_id_of(job) == request_id_of(SimpleNamespace(job=job)) == "the-id"
    assert request_id_of(object()) == ""
    assert ids_of([job, object()]) == "[requests the-id ?]"


def test_an_id_of_a_client_may_be_anything(records: list[logging.LogRecord]) -> None:
    RequestLogger("%s {x}").warning("late by %d s", 2)
    RequestLogger("%s {x}").warning("late")
    assert [record.getMessage() for record in records] == [
        "late by 2 s [request %s {x}]",
        "late [request %%s {x}]",  # doubled where there are no arguments
    ]
