"""The whole graph in Serve's local testing mode: no cluster, no HTTP."""

from __future__ import annotations

import numpy as np
from ray import serve
from toys.tones import tone

from deployments.core.ray_internals import bound_deployments
from serve_app.app import build
from serve_app.client import RouterClient, Voicegraph
from serve_app.config import Config


async def test_graph_is_built_and_speaks() -> None:
    config = Config(models={"toy": {"kind": "toys.tones"}})
    ingress = serve.run(build(config), name="local", _local_testing_mode=True)
    assert ingress is not None


def test_stage_names_follow_the_model() -> None:
    assert set(bound_deployments(build(Config(models={"a": {"kind": "toys.tones"}})))) == {
        "Ingress",
        "Router",
        "a",
    }


async def test_router_alone_in_local_mode() -> None:
    from toys.tones import Pipeline, ToneSettings

    from serve_app.router import Router

    config = Config(models={"toy": {"kind": "toys.tones"}})
    stages = {"toy": Pipeline.deployments("toy", ToneSettings())}
    router = serve.run(
        serve.deployment(name="Router")(Router).bind(config, stages), name="router", _local_testing_mode=True
    )
    speech = await Voicegraph(RouterClient(router)).speak("one two three")
    assert speech.model == "toy"
    assert np.array_equal(speech.samples, np.concatenate([tone(i) for i in range(3)]))
