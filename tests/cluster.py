"""One Ray cluster for the whole test session, with the graph of `configs/cpu.yaml` and toy models beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

TESTS = Path(__file__).parent
PAIR = "pair"  # an application of models that stand in for each other, and one that never answers
SMALL = "small"  # an application that is easily filled
PATIENT_S = 3600.0  # a model's `longest_wait_s` where a test is not about refusals: on a busy machine any wait is long


@dataclass(frozen=True, slots=True)
class Cluster:
    """`url` serves kokoro (where its weights are) and two toys; `small_url` one toy with room for 4 requests;
    `pair_url` the toys `first`, which is better, `second` and `sloth`."""

    url: str
    small_url: str
    pair_url: str
    logs: Path

    async def counts(self, model: str, application: str = "voicegraph") -> dict[str, int]:
        """Counters of a toy's stage."""
        from ray import serve

        counts: dict[str, int] = await serve.get_deployment_handle(model, application).counts.remote()
        return counts

    async def settled(self, model: str, application: str = "voicegraph", within_s: float = 3.0) -> bool:
        """Whether nothing runs any more in a toy's stage, waiting up to `within_s`."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if (await self.counts(model, application))["running"] == 0:
                return True
            await asyncio.sleep(0.05)
        return False


def kill_replicas(deployment: str, application: str = "voicegraph") -> int:
    """Kill all replicas of a deployment at once; how many there were."""
    import ray

    found = [
        ray.get_actor(actor["name"], namespace=actor["namespace"])
        for actor in ray.util.list_named_actors(all_namespaces=True)
        if actor["name"].startswith(f"SERVE_REPLICA::{application}#{deployment}#")
    ]
    for replica in found:
        ray.kill(replica)
    return len(found)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_cluster(models: dict[str, Any], voices: Path) -> Iterator[Cluster]:
    """Start Ray and Serve with own directories and a free port; everything started is ended again."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    # Replicas are not started by this process: they find the toys only through the environment.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    import ray
    from ray import serve

    from deployments.core.ray_internals import interrupts_held
    from serve_app.app import build
    from serve_app.config import Config

    port = free_port()
    # Short: Ray puts sockets below it, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="vg", ignore_cleanup_errors=True) as directory:
        try:
            with interrupts_held():
                ray.init(
                    address="local",
                    num_cpus=64,  # of nothing but the count by which Ray places replicas: all graphs of the tests fit
                    include_dashboard=False,
                    object_store_memory=200 * 2**20,
                    log_to_driver=False,
                    _temp_dir=directory,
                )
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            graph = Config(models=models, default_model=next(iter(models)), voices={"url": str(voices)})
            serve.run(build(graph), name="voicegraph")
            small = Config(
                models={"tiny": {"kind": "toys.tones"}},
                voices={"url": str(voices)},
                limits={"max_requests": 4, "retry_after_s": 1.5, "piece_timeout_s": 3},
            )
            serve.run(build(small), name=SMALL, route_prefix=f"/{SMALL}")
            toys = {"first": {"kind": "toys.tones", "quality_rank": 2}, "second": {"kind": "toys.tones"}}
            toys["sloth"] = {"kind": "toys.sloth", "quality_rank": 1}
            # Toys begin at once; with this budget that is not soon enough.
            fillers = {"words": {"en": ["well"]}, "budget_ms": 0.001}
            pair = Config(models=toys, voices={"url": str(voices)}, routing={"fillers": fillers})
            serve.run(build(pair), name=PAIR, route_prefix=f"/{PAIR}")
            url = f"http://127.0.0.1:{port}"
            logs = Path(directory) / "session_latest" / "logs" / "serve"
            cluster = Cluster(url, f"{url}/{SMALL}", f"{url}/{PAIR}", logs)
            for url in (cluster.url, cluster.small_url, cluster.pair_url):
                _wait_until_routed(url)
            yield cluster
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave replicas behind
            serve.shutdown()
            ray.shutdown()


def _wait_until_routed(url: str) -> None:
    """The proxy learns of an application shortly after `serve.run` returns."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if httpx.get(f"{url}/livez").status_code == httpx.codes.OK:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url} was not routed")
