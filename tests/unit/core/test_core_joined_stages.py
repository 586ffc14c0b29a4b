from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from deployments.core.joined_stages import JoinedHandle, JoinedStages, bind_joined
from deployments.core.metrics import CAPACITY, WORK, scaling_stats
from deployments.core.ray_internals import bound_deployments
from deployments.core.stages import Stage

HERE = __name__


class Left:
    def __init__(self, size: int) -> None:
        self.size = size
        self.closed = False

    async def add(self, number: int) -> int:
        return self.size + number

    async def count(self, upto: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(upto):
                yield number
        finally:
            self.closed = True

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return scaling_stats(3, 4)

    def check_health(self) -> None: ...


class Right(Left):
    async def __init__(self, size: int) -> None:  # type: ignore[misc]  # Serve awaits it
        super().__init__(size)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return scaling_stats(5, 10)

    def check_health(self) -> None:
        if self.size < 0:
            raise RuntimeError("right is ill")


def stages(right: int = 2) -> dict[str, Stage]:
    return {
        "left": Stage(f"{HERE}.Left", {"size": 1}, 0.25),
        "right": Stage(f"{HERE}.Right", {"size": right}, 0.5),
    }


async def joined(right: int = 2) -> JoinedStages:
    made = JoinedStages.__new__(JoinedStages)
    start: Any = JoinedStages.__init__
    await start(made, stages(right))
    return made


async def test_calls_reach_the_stage_that_is_named() -> None:
    both = await joined()
    assert await both.call("left", "add", 10) == 11
    assert await both.call("right", "add", 10) == 12


async def test_a_stream_that_is_left_closes_that_of_the_stage() -> None:
    both = await joined()
    stream: Any = both.stream("right", "count", 5)
    assert [await anext(stream), await anext(stream)] == [0, 1]
    await stream.aclose()
    assert both._stages["right"].closed


async def test_the_busiest_stage_speaks_for_all() -> None:
    assert await (await joined()).record_autoscaling_stats() == {WORK: 3.0, CAPACITY: 4.0}


async def test_an_ill_stage_makes_the_replica_ill() -> None:
    (await joined()).check_health()
    with pytest.raises(RuntimeError, match="right is ill"):
        (await joined(-1)).check_health()


def test_all_are_one_deployment_with_the_cores_of_all() -> None:
    bound = bind_joined("model", stages())
    assert list(bound) == ["left", "right"]
    assert bound["left"] is bound["right"]
    (deployment,) = bound_deployments(bound["left"]).values()
    assert deployment.name == "model"
    assert deployment.ray_actor_options is not None
    assert deployment.ray_actor_options["num_cpus"] == 0.75


class Calls:
    """A handle that says what it was called with."""

    def __init__(self, stream: bool = False) -> None:
        self._stream = stream

    def options(self, *, stream: bool) -> Calls:
        return Calls(stream)

    def __getattr__(self, method: str) -> Any:
        return type("Method", (), {"remote": lambda _, *given: (self._stream, method, *given)})()


def test_a_handle_names_stage_and_method() -> None:
    handle: Any = JoinedHandle(Calls(), "gpt")  # type: ignore[arg-type]
    assert handle.ready.remote() == (False, "call", "gpt", "ready")
    assert handle.options(stream=True).stream.remote("job") == (True, "stream", "gpt", "stream", "job")
