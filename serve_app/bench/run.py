"""One benchmark run: warm up, send the load, and hand back a trace per request."""

from __future__ import annotations

import time
from collections.abc import Sequence

from serve_app.bench.arrivals import Load
from serve_app.bench.client import ReceivedSpeech, SpeechClient, Target
from serve_app.bench.errors import BenchError
from serve_app.bench.metrics import Trace
from serve_app.bench.texts import endless


async def run(target: Target, load: Load, texts: Sequence[str], *, seed: int, warmup: int) -> list[Trace]:
    """Traces in the order of sending; the `warmup` requests go first, one by one, and leave no trace.

    BenchError if no request of the warm-up is answered with audio, or if the load has no request.
    """
    speeches = endless(texts, seed)
    async with SpeechClient(target) as client:
        await _warm_up(client, [next(speeches) for _ in range(warmup)])
        planned: list[str] = []
        run_start_s = time.perf_counter()

        async def send(number: int, late_s: float) -> tuple[ReceivedSpeech, float]:
            # By number and not by turn: two runs with one seed say the same in each request.
            while len(planned) <= number:
                planned.append(next(speeches))
            return await client.speak(planned[number]), late_s

        sent = await load.run(send)
    if not sent:
        raise BenchError("no arrival falls into the duration; raise the rate or the duration")
    return [
        received.trace(index, run_start_s=run_start_s, late_s=late_s)
        for index, (received, late_s) in enumerate(sent)
    ]


async def _warm_up(client: SpeechClient, texts: Sequence[str]) -> None:
    traces = [(await client.speak(text)).trace(index) for index, text in enumerate(texts)]
    if traces and all(trace.error for trace in traces):
        last = traces[-1]
        raise BenchError(
            f"no warm-up request to {client.target.url} succeeded ({last.error}: {last.detail}); "
            "is the server up, and does it know this model, voice and format?"
        )
