from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from bench_toy_server import Script, ToyServer, silence

from serve_app.bench.client import Target
from serve_app.bench.errors import BenchError

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "overhead.py"


@pytest.fixture(scope="module")
def overhead() -> ModuleType:
    """The script as a module; `benchmarks` is no package."""
    spec = importlib.util.spec_from_file_location("benchmarks_overhead", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class FakeModel:
    """Takes 10 ms and writes down that it was called."""

    def __init__(self, log: list[str], samples: int = 240) -> None:
        self.log = log
        self.samples = samples
        self.texts: list[str] = []

    def speak(self, text: str, voice: str) -> tuple[np.ndarray, int]:
        self.log.append("local")
        self.texts.append(text)
        time.sleep(0.01)
        return np.zeros(self.samples, np.float32), 24_000


@pytest.mark.slow
async def test_sides_alternate_and_the_difference_is_the_servers_pause(
    toy: ToyServer, overhead: ModuleType
) -> None:
    toy.scripts = {text: Script([(0.04, silence(0.1))]) for text in ("one, two", "three, four")}
    model = FakeModel(toy.log)
    pairs = await overhead.measure(
        Target(toy.url),
        model,
        ["one, two", "three, four"],
        rounds=2,
        warmup=1,
    )
    one_round = ["http", "local", "local", "http"]
    turned = ["local", "http", "http", "local"]
    assert toy.log == one_round + turned + one_round
    assert set(model.texts) == {"one, two", "three, four"}
    assert len(pairs) == 4
    assert all(pair.http_s >= 0.037 and pair.local_s >= 0.01 for pair in pairs)


def test_figures_of_known_pairs(overhead: ModuleType) -> None:
    pairs = [overhead.Pair("x", 0.1 + index / 100, 0.1) for index in range(101)]
    figures = overhead.Overhead.of(pairs)
    assert figures.pairs == 101
    assert figures.overhead_median_s == pytest.approx(0.5)
    assert figures.overhead_p95_s == pytest.approx(0.95)
    assert figures.http_median_s == pytest.approx(0.6)
    assert figures.local_p95_s == pytest.approx(0.1)
    assert figures.ratio == pytest.approx(6)
    assert overhead.table(figures).row_count == 4
    written = overhead.as_json(Target("http://x", api_key="secret"), figures, pairs)
    assert "secret" not in json.dumps(written)


async def test_half_a_pair_is_an_error(toy: ToyServer, overhead: ModuleType) -> None:
    toy.scripts["text"] = Script(status=500, headers={})
    with pytest.raises(BenchError, match="http_500"):
        await overhead.measure(Target(toy.url), FakeModel([]), ["text"], rounds=1)
    with pytest.raises(BenchError, match="no samples"):
        await overhead.measure(Target(toy.url), FakeModel([], samples=0), ["other"], rounds=1)


@pytest.mark.parametrize("name", ["json", "json:nothing", "no_such_module:x"])
def test_a_model_that_cannot_be_made_is_named(overhead: ModuleType, name: str) -> None:
    with pytest.raises(BenchError, match=name):
        overhead.load_model(name)
