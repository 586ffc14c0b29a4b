"""What `voicegraph serve` says of itself: metrics at the address it told, JSON logs, a trace through the stages."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
import yaml
from otlp_receiver import Receiver
from prometheus import prometheus
from toy_server import ToyServer, toy_server

pytestmark = [pytest.mark.cluster, pytest.mark.alone]

PATIENCE_S = (
    120.0  # Ray gathers metrics every ten seconds, spans are sent every five; the machine may be busy
)
REQUEST = "observed-request"
MONITORING = Path(__file__).parents[2] / "k8s" / "monitoring"
# Of the dashboard, where nothing is slow or fails, and without a GPU.
QUIET_PANELS = {"To blame for a slow first audio", "Fallbacks and cut streams", "GPU", "GPU memory"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyServer]:
    """That has spoken once."""
    folder: Path = tmp_path_factory.mktemp("observed")
    voices = folder / "recordings"
    voices.mkdir()
    wave = io.BytesIO()
    soundfile.write(wave, 0.5 * np.sin(np.arange(32_000) / 10), 16_000, format="WAV")
    (voices / "loud.wav").write_bytes(wave.getvalue())
    application = {
        "logging_config": {"encoding": "JSON", "log_level": "INFO", "logs_dir": str(folder / "logs")},
        "runtime_env": {"env_vars": {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}},
    }
    models = {"chimes": {"kind": "toys.chimes.pipeline", "voices": str(voices)}}
    with toy_server(folder, models, application=application) as running:
        body = {"input": "three short words", "response_format": "pcm"}
        answer = httpx.post(
            f"{running.url}/v1/audio/speech", json=body, headers={"x-request-id": REQUEST}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        yield running


def test_answers_say_where_the_time_went(server: ToyServer) -> None:
    assert "first_audio;dur=" in server.speak("three short words").headers["server-timing"]
    assert "total;dur=" in server.speak("three short words", stream=False).headers["server-timing"]


def test_metrics_are_where_it_says(server: ToyServer) -> None:
    assert server.speak("?!").status_code == 400  # which the Router finds
    assert server.speak("Hello.", speed="fast").status_code == 400  # which never comes as far
    (address,) = re.findall(r"http://localhost:\d+/metrics", server.told)
    wanted = {
        ("ray_tts_requests_total", 'model="chimes"', 'code="200"'),
        ("ray_tts_requests_total", 'model="auto"', 'code="400"'),
        ("ray_tts_http_answers_total", 'path="/v1/audio/speech"', 'code="200"'),
        ("ray_tts_http_answers_total", 'path="/v1/audio/speech"', 'code="400"'),
        ("ray_tts_stage_queue_seconds_bucket", 'stage="bell"', 'deployment="chimes-bell"'),
        ("ray_tts_audio_underrun_seconds_bucket", 'model="chimes"', 'le="0.001"'),
        ("ray_tts_voice_profiles_total", 'tier="miss"'),
        ("ray_serve_deployment_replica_healthy", 'deployment="chimes-bell"'),
    }
    until_s = time.monotonic() + PATIENCE_S
    while missing := wanted - _found(wanted, httpx.get(address, timeout=30).text):
        assert time.monotonic() < until_s, missing
        time.sleep(1.0)


def test_a_prometheus_has_what_dashboard_and_alerts_ask_for(server: ToyServer, tmp_path: Path) -> None:
    (address,) = re.findall(r"http://(localhost:\d+)/metrics", server.told)
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))["spec"]["groups"]
    panels = json.loads((MONITORING / "voicegraph.json").read_text("utf-8"))["panels"]
    queries = {
        target["expr"].replace("$model", ".*").replace("$__rate_interval", "1m"): panel["title"]
        for panel in panels
        for target in panel.get("targets", ())
    }
    with prometheus(tmp_path, address, groups) as watching:
        until_s = time.monotonic() + PATIENCE_S
        while missing := {
            title
            for query, title in queries.items()
            if title not in QUIET_PANELS and not watching.series(query)
        }:
            assert time.monotonic() < until_s, missing
            assert server.speak("three short words").status_code == 200
            time.sleep(1.0)
        found = [rule for group in watching.asked("rules")["groups"] for rule in group["rules"]]
    assert len(found) == sum(len(group["rules"]) for group in groups)
    # `health` says whether a rule could be computed. None of them has a reason to fire here.
    assert {(rule["health"], rule["state"]) for rule in found} == {("ok", "inactive")}


def _found(wanted: Collection[tuple[str, ...]], text: str) -> set[tuple[str, ...]]:
    """Of series, given as a name and labels, those that are there."""
    lines = text.splitlines()
    return {
        series
        for series in wanted
        if any(
            line.startswith(series[0] + "{") and all(label in line for label in series[1:]) for line in lines
        )
    }


def test_logs_are_json_with_the_request(server: ToyServer) -> None:
    folder = server.config.parent / "logs"
    lines = [
        json.loads(line)
        for path in folder.rglob("*Router*.log")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    (spoken,) = (line for line in lines if line.get("speech_request_id") == REQUEST and "took_s" in line)
    assert spoken["model"] == "chimes"
    assert spoken["audio_s"] > 0
    assert spoken["levelname"] == "INFO"


def test_one_trace_goes_through_all_stages(server: ToyServer, receiver: Receiver) -> None:
    digest = int.from_bytes(hashlib.sha256(REQUEST.encode()).digest()[:16], "big") | 1
    trace_id = digest.to_bytes(16, "big")
    until_s = time.monotonic() + PATIENCE_S
    while True:
        spans = {span.name: span for span in receiver.spans if span.trace_id == trace_id}
        if {"speech", "first audio", "bell queue", "bell"} <= spans.keys():
            break
        assert time.monotonic() < until_s, sorted(spans)
        time.sleep(0.5)
    whole = spans.pop("speech")
    assert all(span.parent_span_id == whole.span_id for span in spans.values())
    bell = spans["bell"]
    assert whole.start_time_unix_nano <= bell.start_time_unix_nano <= bell.end_time_unix_nano
