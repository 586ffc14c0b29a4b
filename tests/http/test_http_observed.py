"""What a running graph says of itself: in headers, and where Prometheus looks."""

from __future__ import annotations

import time

import httpx
import pytest
from cluster import Cluster

pytestmark = pytest.mark.cluster

PATIENCE_S = 60.0  # Ray gathers the metrics of its processes every ten seconds


def metrics() -> str:
    import ray

    (node,) = ray.nodes()
    return httpx.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text


def series(name: str, **labels: str) -> list[str]:
    """Lines of a metric with all of these labels, once there are some."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    until_s = time.monotonic() + PATIENCE_S
    while True:
        lines = [line for line in metrics().splitlines() if line.startswith(f"{name}{{")]
        if found := [line for line in lines if all(label in line for label in wanted)]:
            return found
        assert time.monotonic() < until_s, lines
        time.sleep(1.0)


def test_answers_say_where_the_time_went(cluster: Cluster) -> None:
    body = {"input": "Hello.", "model": "tones", "response_format": "pcm"}
    streamed = httpx.post(f"{cluster.url}/v1/audio/speech", json=body)
    whole = httpx.post(f"{cluster.url}/v1/audio/speech", json={**body, "stream": False})
    assert "first_audio;dur=" in streamed.headers["server-timing"]
    assert "total;dur=" in whole.headers["server-timing"]


def test_requests_are_counted_where_prometheus_looks(cluster: Cluster) -> None:
    body = {"input": "Hello.", "model": "tones", "response_format": "pcm"}
    assert httpx.post(f"{cluster.url}/v1/audio/speech", json=body).status_code == 200
    assert httpx.post(f"{cluster.url}/v1/audio/speech", json={**body, "input": "?!"}).status_code == 400
    assert httpx.post(f"{cluster.url}/v1/audio/speech", json={**body, "speed": "fast"}).status_code == 400
    assert series("ray_tts_requests_total", model="tones", code="200")
    assert series("ray_tts_requests_total", model="tones", code="400")
    assert series("ray_tts_http_answers_total", path="/v1/audio/speech", code="200")
    assert series("ray_tts_http_answers_total", path="/v1/audio/speech", code="400")
    assert series("ray_tts_audio_underrun_seconds_bucket", model="tones", le="0.001")
