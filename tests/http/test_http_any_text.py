"""Whatever is sent as text, the answer has sound, or says why not."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from cluster import Cluster
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

SIGNS = "ab Zé1290.,!?'\"-–—:;()[]<>&/\\%$€£°#*_~^|+=@\n\t\u00a0\u200b\u202e你好。，？éñüß日かАя٣¾²Ⅳ\U0001f600\ufe0f"
TEXTS = st.one_of(
    st.text(SIGNS, min_size=1, max_size=60),
    st.text(min_size=1, max_size=400),
    st.text(st.characters(codec="ascii"), min_size=1, max_size=60),
)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def check(url: str, model: str, text: str) -> None:
    body = {"model": model, "input": text, "response_format": "pcm", "stream": False, "seed": 1}
    answer = httpx.post(f"{url}/v1/audio/speech", json=body, timeout=120)
    if answer.is_success:
        assert np.frombuffer(answer.content, dtype="<i2").any(), text
    else:
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR or answer.status_code in (
            httpx.codes.SERVICE_UNAVAILABLE,
            httpx.codes.GATEWAY_TIMEOUT,
        ), answer.text
        assert len(answer.json()["error"]["message"]) > 20, text


@FEW
@given(TEXTS)
@example("\ud7ff\ufffe\x7f")
@example("½ ⅔ ① Ⅻ ² ℃ № ™")
def test_indextts_speaks_or_says_why_not(cluster: Cluster, text: str) -> None:
    check(cluster.url, "index", text)


@pytest.mark.weights
@FEW
@given(st.text(SIGNS, min_size=1, max_size=30))
@example("½ ⅔ ① Ⅻ ² ℃ № ™")
def test_kokoro_speaks_or_says_why_not(kokoro: Cluster, text: str) -> None:
    check(kokoro.url, "kokoro", text)
