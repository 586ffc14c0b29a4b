"""A burst on two nodes: what is under load grows and shrinks by itself, the rest stays, and nobody is cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from nodes_graph import graph_on_nodes

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "benchmarks" / "scaling" / "config.yaml"

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.slow]


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The report of `python -m benchmarks.scaling`."""
    output = tmp_path_factory.mktemp("burst") / "report.json"
    command = [sys.executable, "-m", "benchmarks.scaling", "--output", str(output)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=270)
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(output.read_text("utf-8"))
    return report


def test_the_stage_under_load_grows_and_shrinks_by_itself(
    burst: dict[str, dict[str, dict[str, float]]],
) -> None:
    talker = burst["deployments"]["busy-talker"]
    assert talker["peak"] >= 3
    assert talker["grew_after_s"] < 20
    assert talker["back_after_s"] is not None


def test_other_stages_and_other_models_stay(burst: dict[str, dict[str, dict[str, float]]]) -> None:
    peaks = {name: each["peak"] for name, each in burst["deployments"].items()}
    del peaks["busy-talker"]
    assert {name: peak for name, peak in peaks.items() if not name.startswith("rare")} == dict.fromkeys(
        ("Ingress", "Router", "busy-vocoder", "other-talker", "other-vocoder"), 1
    )


def test_nobody_was_cut_off(burst: dict[str, int]) -> None:
    assert burst["streams"] > 30
    assert (burst["failed"], burst["cut"]) == (0, 0)


async def test_a_model_that_nobody_uses_sleeps_and_is_woken_by_whoever_asks_for_it() -> None:
    with graph_on_nodes(CONFIG, {"stages": "talkers"}, {"stages": "vocoders"}) as graph:
        async with httpx.AsyncClient(base_url=graph.url, timeout=60) as http:
            stages = ("rare-talker", "rare-vocoder")
            assert [graph.replicas()[name] for name in stages] == [0, 0]
            assert (await http.get("/readyz")).status_code == 200
            assert [graph.replicas()[name] for name in stages] == [0, 0], "to ask whether it is ready woke it"
            route = await http.post("/v1/audio/route", json={"input": "Hello.", "model": "quality"})
            states = {each["model"]: each["state"] for each in route.json()["candidates"]}
            assert states["rare"] == "asleep"
            body = {"input": "word word", "response_format": "pcm"}
            # The best model sleeps: another one speaks now, and it is there for the next who wants it.
            meanwhile = await http.post("/v1/audio/speech", json=body | {"model": "quality"})
            assert meanwhile.headers["x-model"] != "rare"
            waited = await http.post("/v1/audio/speech", json=body | {"model": "rare"})
            assert (waited.status_code, waited.headers["x-model"]) == (200, "rare")
            await graph.until(lambda replicas: not any(replicas[name] for name in stages), within_s=60)
