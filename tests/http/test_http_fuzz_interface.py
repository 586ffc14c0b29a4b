"""Requests made up from the OpenAPI document: none crashes the server, and what it answers is what the document says.

python -m pytest tests/http/test_http_fuzz_interface.py --cases 2000
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from typing import Any

import schemathesis
from cluster import Cluster
from fuzzing import LONGEST_S
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = tuple(schemathesis.GenerationMode)  # as the document says, and otherwise


def test_whatever_the_document_allows_or_forbids(cluster: Cluster, cases: int) -> None:
    schema = schemathesis.openapi.from_url(f"{cluster.small_url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 10
    wanted = [(operation, mode) for operation in operations for mode in MODES]
    statuses: Counter[int] = Counter()
    round_number = 0
    while wanted and statuses.total() < cases:
        each = math.ceil((cases - statuses.total()) / len(wanted))
        made = [
            _try(cluster.small_url, operation.as_strategy(generation_mode=mode), each, round_number, statuses)
            for operation, mode in wanted
        ]
        # Of an operation without fields there is one request, and none that is wrong.
        wanted = [pair for pair, count in zip(wanted, made, strict=True) if count >= each]
        round_number += 1
    assert {200, 400, 404} <= statuses.keys()
    print(f"{statuses.total()} requests: {dict(sorted(statuses.items()))}")


def _try(url: str, requests: Any, count: int, number: int, statuses: Counter[int]) -> int:
    """How many were made up, of `count`."""
    before = statuses.total()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=requests)
    def one(case: Any) -> None:
        response = case.call(base_url=url, timeout=LONGEST_S)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):
        one()
    return statuses.total() - before
