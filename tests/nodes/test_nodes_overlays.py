"""What the overlays hand to Serve starts on nodes like those of their worker groups, and answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from nodes_graph import graph_on_nodes

from serve_app.app import build
from serve_app.config import Config
from serve_app.scaling.settings import owner

K8S = Path(__file__).parents[2] / "k8s"

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.slow]


def serve_config(overlay: str) -> dict[str, Any]:
    patch = yaml.safe_load((K8S / "overlays" / overlay / "serve-config.yaml").read_text("utf-8"))
    config: dict[str, Any] = yaml.safe_load(patch["spec"]["serveConfigV2"])
    return config


def without_weights(config: dict[str, Any], voices: Path) -> dict[str, Any]:
    """The same config with models that have the same stages and compute nothing; all else is as it was."""
    from deployments.core.ray_internals import bound_deployments

    (application,) = config["applications"]
    args = application["args"]
    names = [*bound_deployments(build(Config(**args)))]
    args["models"] = {
        model: {
            "kind": "toys.standin",
            "stages": [name for name in names if owner(name, args["models"]) == model],
        }
        for model in args["models"]
    }
    args["voices"] = {"url": str(voices)}
    return config


@pytest.mark.parametrize(
    ("overlay", "groups"),
    [("cpu", [None]), ("single-gpu", [None]), ("cluster", ["relays", "gpt", "mel", "voxcpm"])],
)
async def test_an_overlay_serves(tmp_path: Path, overlay: str, groups: list[str | None]) -> None:
    content = without_weights(serve_config(overlay), tmp_path / "voices")
    (application,) = content["applications"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    labels = [{"group": group} if group else {} for group in groups]
    with graph_on_nodes(path, *labels) as graph:
        async with httpx.AsyncClient(base_url=graph.url, timeout=60) as http:
            ready = await http.get("/readyz")
            assert ready.status_code == 200, ready.text
            for model in application["args"]["models"]:
                body = {"model": model, "input": "Hello.", "response_format": "pcm", "fallback": False}
                answer = await http.post("/v1/audio/speech", json=body)
                if answer.status_code == 503:  # asleep, and longer than anybody waits: woken all the same
                    assert answer.json()["error"]["code"] == "model_asleep"
                    stages = application["args"]["models"][model]["stages"]
                    await graph.until(lambda found, stages=stages: all(found[name] for name in stages), 60)
                    await asyncio.sleep(1)
                    answer = await http.post("/v1/audio/speech", json=body)
                assert answer.status_code == 200, answer.text
                assert len(answer.content) == 4800
        running = graph.replicas()
        least = {
            entry["name"]: entry.get("autoscaling_config", {}).get(
                "min_replicas", entry.get("num_replicas", 1)
            )
            for entry in application["deployments"]
        }
        assert all(running[name] >= count for name, count in least.items()), running
