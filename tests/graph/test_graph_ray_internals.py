"""What is leaned on that Ray does not promise and that only a cluster shows. The rest is in tests/unit/core."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest
from cluster import Cluster
from ray import serve
from ray.serve.handle import DeploymentHandle
from toys.caller import Caller

from deployments.core.ray_internals import bind_by_path, by_value, called_on_all, replicas_of
from deployments.core.stage_watch import WatchedHandle
from deployments.core.stages import Stage, items


async def test_messages_go_by_value_and_arrive(cluster: Cluster) -> None:
    plain = serve.get_deployment_handle("toy", "voicegraph")
    answers = {True: plain.counts.remote(), False: by_value(plain).counts.remote()}
    for by_reference, answer in answers.items():
        assert (
            answer.by_reference is by_reference
        )  # the way of messages that are large, where nothing else is said
        assert (await answer)["pid"] > 0
    tones = by_value(plain, stream=True).tones.remote("one two three", 0.0)
    assert not tones.by_reference
    assert [len(samples) async for samples in items(tones)] == [1600] * 3


async def test_a_class_that_is_bound_by_its_path_is_served(cluster: Cluster) -> None:
    deployment = serve.deployment(name="by-path", ray_actor_options={"num_cpus": 0})
    handle = serve.run(bind_by_path(deployment, "toys.tones.Tones", {}), name="by-path", route_prefix=None)
    try:
        assert (await handle.counts.remote())["running"] == 0
    finally:
        serve.delete("by-path")


@pytest.mark.parametrize(("apart", "made"), [(False, False), (True, True)])
async def test_calls_of_a_context_of_their_own_outlive_the_request(
    cluster: Cluster, apart: bool, made: bool
) -> None:
    """Serve cancels those of the request when its client leaves."""
    graph = serve.deployment(name="caller", ray_actor_options={"num_cpus": 0})(Caller).bind(
        Stage("toys.tones.Tones", num_cpus=0).bind("stage")
    )
    caller = serve.run(graph, name="context", route_prefix=None)
    stage = serve.get_deployment_handle("stage", "context")
    try:
        response = caller.options(stream=True).begin.remote(apart=apart)
        assert await anext(aiter(response)) == 1
        await counted(stage, "made")
        response.cancel()
        await counted(stage, "ended")
        assert ((await stage.counts.remote())["made"] == 20) is made
    finally:
        serve.delete("context")


async def counted(stage: DeploymentHandle[Any], what: str) -> None:
    for _ in range(400):
        if (await stage.counts.remote())[what]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing was {what}")


async def test_looking_for_replicas_leaves_calls_on_the_event_loop_of_the_handle(cluster: Cluster) -> None:
    """On another one they would begin when something else happens there: in seconds, where a server is at rest."""
    watched = WatchedHandle(serve.get_deployment_handle("toy", "voicegraph"))
    deadline = asyncio.get_running_loop().time() + 10
    while not watched.watch.running and asyncio.get_running_loop().time() < deadline:
        watched.watch.look()
    router: Any = watched._handle._router
    assert router._asyncio_router._request_router._event_loop is router._asyncio_loop


async def test_running_replicas_are_known_without_a_call(cluster: Cluster) -> None:
    watch = WatchedHandle(serve.get_deployment_handle("toy", "voicegraph")).watch
    deadline = asyncio.get_running_loop().time() + 10
    while not watch.running and asyncio.get_running_loop().time() < deadline:
        watch.look()
        await asyncio.sleep(0.05)
    assert (watch.running, watch.lost) == (1, False)


async def test_a_death_is_known_within_a_second(cluster: Cluster) -> None:
    handle = serve.get_deployment_handle("toy2", "voicegraph").options()
    pid = (await handle.counts.remote())["pid"]
    known = replicas_of(handle)
    assert known is not None
    assert [lives() for lives in known.values()] == [True]
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    while any(lives() for lives in known.values()):
        assert time.monotonic() - killed_s < 1
        await asyncio.sleep(0.02)
    while not (now := replicas_of(handle)) or now.keys() == known.keys():
        assert time.monotonic() - killed_s < 40
        await asyncio.sleep(0.1)
    assert all(lives() for lives in now.values())


async def test_every_replica_is_called(cluster: Cluster) -> None:
    called = await asyncio.to_thread(called_on_all, "toy", "voicegraph", "counts", timeout_s=10)
    assert [found["pid"] for found in called] == [(await cluster.counts("toy"))["pid"]]
    with pytest.raises(Exception, match="nobody"):
        await asyncio.to_thread(called_on_all, "nobody", "voicegraph", "counts", timeout_s=1)
