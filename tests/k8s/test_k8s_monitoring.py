"""What watches the service names metrics that exist, and is valid for the operator that reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from k8s_render import REPOSITORY, render
from ray.util import metrics

from deployments.core.histograms import StageHistograms
from serve_app.telemetry import HttpTelemetry, Telemetry

FOLDER = REPOSITORY / "k8s" / "monitoring"
METRIC = re.compile(r"\bray_[a-z0-9_]+")
# As Prometheus names what Ray exports: a counter ends in _total, a histogram is three series.
SUFFIXES: dict[type[metrics.Metric], tuple[str, ...]] = {
    metrics.Counter: ("_total",),
    metrics.Histogram: ("_bucket", "_sum", "_count"),
    metrics.Gauge: ("",),
}

STRING = {"type": "string"}
STRINGS = {"type": "object", "additionalProperties": STRING}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


# Of the Prometheus operator's v1 types, the fields that are used here.
RULE = closed(
    ["alert", "expr", "for", "labels", "annotations"],
    alert=STRING,
    expr=STRING,
    labels=STRINGS,
    annotations=closed(["summary", "description"], summary=STRING, description=STRING),
    **{"for": {"type": "string", "pattern": r"^\d+[smh]$"}},
)
SPECS = {
    "PrometheusRule": closed(
        ["groups"],
        groups={
            "type": "array",
            "items": closed(["name", "rules"], name=STRING, rules={"type": "array", "items": RULE}),
        },
    ),
    "PodMonitor": closed(
        ["selector", "podMetricsEndpoints"],
        selector=closed([], matchLabels=STRINGS, matchExpressions={"type": "array"}),
        podMetricsEndpoints={
            "type": "array",
            "items": closed(
                ["port"],
                port=STRING,
                interval=STRING,
                metricRelabelings={
                    "type": "array",
                    "items": closed(
                        ["action"],
                        sourceLabels={"type": "array", "items": STRING},
                        regex=STRING,
                        action={"enum": ["keep", "drop"]},
                    ),
                },
            ),
        },
    ),
}


def dashboard() -> dict[str, Any]:
    return json.loads((FOLDER / "voicegraph.json").read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ()))


def exported() -> list[metrics.Metric]:
    """All that Voicegraph exports."""
    router = vars(Telemetry())
    found = [*router.values(), *router["_stages"].values()]
    found += [*vars(HttpTelemetry()).values(), *vars(StageHistograms("any")).values()]
    return [each for each in found if isinstance(each, metrics.Metric)]


def of_ray() -> str:
    """The source of Ray that names its own metrics."""
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    files = [
        *(root / "serve" / "_private").glob("*.py"),
        root / "dashboard/modules/reporter/reporter_agent.py",
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_metric_that_is_named_exists() -> None:
    own = {
        f"ray_{metric.info['name']}{suffix}"
        for metric in exported()
        for kind, suffixes in SUFFIXES.items()
        if isinstance(metric, kind)
        for suffix in suffixes
    }
    ray = of_ray()
    named = {metric for query in queries() for metric in METRIC.findall(query)}
    assert len(named) > 20
    unknown = [
        metric
        for metric in sorted(named - own)
        if f'"{metric.removeprefix("ray_").removesuffix("_total")}"' not in ray
    ]
    assert unknown == []


def test_every_metric_of_ours_is_documented() -> None:
    page = (REPOSITORY / "docs" / "monitoring.md").read_text(encoding="utf-8")
    listed = set(METRIC.findall(page))
    for cell in re.findall(r"^\| (`ray_tts_stage_[^|]*)", page, re.MULTILINE):
        listed |= {f"ray_tts_stage_{name}" for name in re.findall(r"`…_([a-z_]+)`", cell)}
    names = {
        f"ray_{metric.info['name']}" + ("_total" if isinstance(metric, metrics.Counter) else "")
        for metric in exported()
    }
    assert sorted(names - listed) == []


def test_what_is_scraped_has_all_that_is_read() -> None:
    (monitor,) = yaml.safe_load_all((FOLDER / "pod-monitor.yaml").read_text(encoding="utf-8"))
    (keep,) = monitor["spec"]["podMetricsEndpoints"][0]["metricRelabelings"]
    named = {metric for query in queries() for metric in METRIC.findall(query)}
    assert [metric for metric in sorted(named) if not re.fullmatch(keep["regex"], metric)] == []


def test_alerts_are_documented_and_say_what_to_do() -> None:
    page = (REPOSITORY / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    assert [rule["alert"] for rule in rules() if f"| {rule['alert']} |" not in page] == []


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_objects_are_valid(kind: str) -> None:
    (found,) = (manifest for manifest in render("monitoring") if manifest["kind"] == kind)
    assert [error.message for error in Draft202012Validator(SPECS[kind]).iter_errors(found["spec"])] == []


def test_the_dashboard_is_found_by_grafanas_sidecar() -> None:
    (found,) = (manifest for manifest in render("monitoring") if manifest["kind"] == "ConfigMap")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["voicegraph.json"])["uid"] == dashboard()["uid"]


def test_the_monitored_port_is_that_of_the_pods() -> None:
    (monitor,) = (manifest for manifest in render("monitoring") if manifest["kind"] == "PodMonitor")
    selector = monitor["spec"]["selector"]
    (service,) = (manifest for manifest in render("overlays/cpu") if manifest["kind"] == "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        labels = group["template"]["metadata"]["labels"]
        assert selector["matchLabels"].items() <= labels.items()
        (expression,) = selector["matchExpressions"]
        assert labels[expression["key"]] in expression["values"]
        ports = [port["name"] for each in group["template"]["spec"]["containers"] for port in each["ports"]]
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
