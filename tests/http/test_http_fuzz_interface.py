"""Requests made up from the OpenAPI document: none crashes the server, and what it answers is what the document says.

python -m pytest tests/http/test_http_fuzz_interface.py --cases 2000
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import schemathesis
from cluster import Cluster
from fuzzing import LONGEST_S
from hypothesis import HealthCheck, given, settings
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
    each = math.ceil(cases / (len(MODES) * len(operations)))
    statuses: Counter[int] = Counter()
    for operation in operations:
        for mode in MODES:
            _try(cluster.small_url, operation.as_strategy(generation_mode=mode), each, statuses)
    assert len(operations) > 10
    assert statuses[200] > 0
    assert statuses[400] > 0
    print(f"{sum(statuses.values())} requests: {dict(sorted(statuses.items()))}")


def _try(url: str, requests: Any, count: int, statuses: Counter[int]) -> None:
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=requests)
    def one(case: Any) -> None:
        response = case.call(base_url=url, timeout=LONGEST_S)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    one()
