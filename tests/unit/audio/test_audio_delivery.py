from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.errors import InvalidRequest, Unavailable
from deployments.core.speech import AudioChunk, StreamEnd, StreamEvent, StreamStart
from serve_app.audio.delivery import PIECE_S, Delivery
from serve_app.audio.encoders import FORMATS, ContainerEncoder, make_encoder
from serve_app.audio.resample import Resampler, TimeStretch

RATE_HZ = 16_000
SOUND = np.random.default_rng(2).uniform(-0.5, 0.5, RATE_HZ).astype(np.float32)


class Events:
    """Plays events and counts how often it was closed."""

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.closed = 0

    async def play(self) -> AsyncGenerator[StreamEvent, None]:
        try:
            for item in self.items:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1


def start(**fields: Any) -> StreamStart:
    return StreamStart(**{"model": "toy", "voice": "v", "sample_rate_hz": RATE_HZ, "reason": "r"} | fields)


def chunks(cuts: list[int]) -> list[AudioChunk]:
    return [AudioChunk(piece, 0) for piece in np.split(SOUND, sorted(cuts))]


async def opened(events: Events, name: str = "pcm", rate_hz: int = 24_000) -> Delivery:
    return await Delivery.open(events.play(), FORMATS[name], rate_hz)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, RATE_HZ), max_size=8),
    tempo=st.sampled_from([0.5, 1.0, 1.7]),
    rate_hz=st.sampled_from([8000, 16_000, 24_000, 48_000]),
)
async def test_bytes_do_not_depend_on_chunks_or_streaming(
    cuts: list[int], tempo: float, rate_hz: int
) -> None:
    async def audio(pieces: list[AudioChunk], *, whole: bool) -> bytes:
        delivery = await opened(Events(start(tempo=tempo), *pieces, StreamEnd(1.0)), rate_hz=rate_hz)
        data = await delivery.whole() if whole else b"".join([part async for part in delivery.encoded()])
        assert len(data) == 2 * delivery.samples_sent
        assert delivery.end is not None
        return data

    reference = await audio(chunks([]), whole=True)
    assert await audio(chunks(cuts), whole=False) == reference
    assert await audio(chunks(cuts), whole=True) == reference


async def test_a_long_chunk_leaves_in_short_pieces() -> None:
    delivery = await opened(Events(start(), *chunks([]), StreamEnd(1.0)))
    lengths = [len(part) / 2 / 24_000 async for part in delivery.encoded()]
    assert max(lengths) <= PIECE_S
    assert sum(lengths) == pytest.approx(1.0)
    assert delivery.duration_s == pytest.approx(1.0)


async def test_empty_chunks_do_no_harm() -> None:
    empty = AudioChunk(SOUND[:0], 0)
    delivery = await opened(Events(start(), empty, *chunks([4000]), empty, StreamEnd(1.0)))
    assert len(await delivery.whole()) == 48_000


@pytest.mark.parametrize("items", [[], [start()], [start(), StreamEnd(0)], [start(), start()], chunks([])])
async def test_no_audio_is_an_error_that_can_have_a_status(items: list[Any]) -> None:
    events = Events(*items)
    with pytest.raises(Unavailable):
        await opened(events)
    assert events.closed == 1


async def test_an_error_before_the_first_audio_stays_what_it_is() -> None:
    events = Events(start(), InvalidRequest("no", param="input"))
    with pytest.raises(InvalidRequest, match="no"):
        await opened(events)
    assert events.closed == 1


@pytest.mark.parametrize("whole", [True, False])
async def test_a_cut_stream_is_never_a_whole_file(whole: bool) -> None:
    events = Events(start(), *chunks([4000]))
    delivery = await opened(events)
    with pytest.raises(Unavailable, match="stopped"):
        await delivery.whole() if whole else [part async for part in delivery.encoded()]
    assert events.closed == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_closing_the_answer_closes_the_events(name: str, taken: int) -> None:
    events = Events(start(), *chunks([4000, 8000, 12_000]), StreamEnd(1.0))
    delivery = await opened(events, name)
    answer = delivery.encoded()
    for _ in range(taken):
        await anext(answer)
    await answer.aclose()
    await delivery.close()
    assert events.closed == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("whole", [True, False])
async def test_nothing_is_converted_or_encoded_on_the_event_loop(
    name: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening an encoder takes milliseconds as well. Headers and the rounding of PCM take none."""
    threads: dict[str, set[str]] = {}

    def noting(function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            threads.setdefault(label, set()).add(threading.current_thread().name)
            return function(*arguments, **named)

        return noted

    for kind in (TimeStretch, Resampler, ContainerEncoder):
        for method in ("__init__", "write", "close"):
            if hasattr(kind, method):
                label = f"{kind.__name__}.{method}"
                monkeypatch.setattr(kind, method, noting(getattr(kind, method), label))
    monkeypatch.setattr("serve_app.audio.delivery.make_encoder", noting(make_encoder, "make_encoder"))
    one = await opened(Events(start(tempo=1.5), *chunks([4000, 9000]), StreamEnd(1.0)), name)
    data = await one.whole() if whole else b"".join([part async for part in one.encoded()])
    assert data
    expected = {"TimeStretch.__init__", "TimeStretch.write", "Resampler.__init__", "Resampler.write"}
    assert threads.keys() >= expected | {"make_encoder"}
    assert ("ContainerEncoder.write" in threads) == (name not in ("pcm", "wav"))
    names = set().union(*threads.values())
    assert all(thread.startswith("audio") for thread in names), threads
