"""Many listeners in virtual time: the real pipeline code over stages that only take time.

    python -m benchmarks.load_simulator --preset cpu-nano --cores 2
    python -m benchmarks.load_simulator --preset h200 --growth 3 --rates 0.5 0.8

First a closed loop finds what the stages can make; then Poisson arrivals at shares of that. Chunk planning, read-ahead,
playback clock and the order of segments are the product's own; GPT, S2Mel and vocoder are queues with the costs of
`chunk_simulator`. An hour of listening takes seconds, and nothing depends on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from benchmarks.chunk_simulator import PRESETS, Costs
from benchmarks.virtual_time import in_virtual_time
from deployments.core.errors import Overloaded
from deployments.core.metrics import Reply, StageMetrics
from deployments.core.speech import AudioChunk, Samples
from deployments.core.stages import Response
from deployments.engine.batch import without_idlers
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.job import Mel, S2MelJob, mel_frames
from deployments.indextts2.sampling import Params
from deployments.indextts2.stream.chunk_planner import ChunkParameters, ChunkPlanner
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.segment import SegmentStream, Synthesis
from deployments.indextts2.stream.speech import SpeechStream
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.text.frontend import TextSegment
from deployments.indextts2.traits import TWO
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.streaming.admission import SharedStream, StreamAdmission
from deployments.streaming.cost import PieceCost
from deployments.streaming.crowd_cost import CrowdCost
from deployments.streaming.playback import Playback
from deployments.voices.sharing import SharedVoice
from serve_app.bench.arrivals import ClosedLoop, Load, OpenLoop
from serve_app.bench.metrics import Arrival, Summary, Trace, summarise

T = TypeVar("T")

BANDS = 1
CODES_PER_TOKEN = 8
LENGTHS = (50, 60, 80, 170, 200, 350)  # codes of a request, equally likely
SEGMENT = 200  # codes at most
BUSY_USERS = 6
LONGEST_WAIT_S = 20.0
VOICE = SharedVoice("", cast(Any, None))  # nobody opens it
METRICS = StageMetrics("simulated", rows=1)  # nobody reads them
HOP, RATE_HZ = 256, 22_050
NO_THREADS = cast(Executor, None)  # the virtual loop has none


@dataclass(order=True)
class _MelRow:
    due_s: float
    number: int
    left: int = field(compare=False)
    step_s: float = field(compare=False)
    new_frames: int = field(compare=False)
    result: asyncio.Future[Reply[Mel | None]] = field(compare=False)


@dataclass
class _CodeRow:
    codes: int
    emit: int
    code_s: float
    due_s: float
    items: asyncio.Queue[Reply[CodeChunk]]
    made: int = 0
    cancelled: bool = False

    @property
    def made_s(self) -> float:
        return self.code_s if self.made else 0.0


class CodeStream:
    def __init__(self, row: _CodeRow) -> None:
        self._row = row

    def __aiter__(self) -> CodeStream:
        return self

    async def __anext__(self) -> Reply[CodeChunk]:
        return await self._row.items.get()

    def cancel(self) -> None:
        self._row.cancelled = True


class SimulatedStages:
    """One replica of each stage on `cores` cores. Steps of GPT rows are batched, Euler steps run most urgent first."""

    def __init__(self, costs: Costs, cores: int) -> None:
        self.costs = costs
        self.mel_work_s = 0.0
        self._cores = asyncio.Semaphore(cores)
        self._mel_rows: list[_MelRow] = []
        self._code_rows: list[_CodeRow] = []
        self._numbers = iter(range(10**9))
        self._vocoder = asyncio.Lock()
        self._wake_gpt, self._wake_mel = asyncio.Event(), asyncio.Event()
        self._workers = [asyncio.ensure_future(self._gpt()), asyncio.ensure_future(self._s2mel())]

    def close(self) -> None:
        for worker in self._workers:
            worker.cancel()

    def codes(self, job: GptJob) -> CodeStream:
        codes, due_s = len(job.text_ids) * CODES_PER_TOKEN, time.monotonic() + job.slack_s
        row = _CodeRow(codes, job.emit_codes, job.code_s, due_s, asyncio.Queue())
        self._code_rows.append(row)
        self._wake_gpt.set()
        return CodeStream(row)

    def mel(self, job: S2MelJob) -> Response[Reply[Mel | None]]:
        """Of any job: a lone replica knows every segment."""
        frames = mel_frames(job.code_count, TWO.frames_per_code)
        computed = (self.costs.prompt_frames + frames) * job.params.network_rows
        step_s = self.costs.s2mel_us * 1e-6 * computed
        due_s = time.monotonic() + job.slack_s
        result: asyncio.Future[Reply[Mel | None]] = asyncio.get_running_loop().create_future()
        new = frames - job.committed_frames
        row = _MelRow(due_s, next(self._numbers), job.euler_steps, step_s, new, result)
        heapq.heappush(self._mel_rows, row)
        self._wake_mel.set()
        return cast(Response[Reply[Mel | None]], result)

    def vocode(self, job: VocodeJob) -> Response[Reply[Samples]]:
        async def run() -> Reply[Samples]:
            async with self._vocoder:
                await self._compute(self.costs.vocoder_us * 1e-6 * job.mel.shape[1])
            return Reply(np.zeros((job.end - job.start) * HOP, np.float32), METRICS)

        return cast(Response[Reply[Samples]], asyncio.ensure_future(run()))

    def heard(self, stage: str, reply: Reply[T]) -> T:
        return reply.value

    async def _compute(self, seconds: float) -> None:
        async with self._cores:
            await asyncio.sleep(seconds)

    async def _gpt(self) -> None:
        costs = self.costs
        step = PieceCost((1 - costs.row_share) / costs.codes_per_s, costs.row_share / costs.codes_per_s)
        while True:
            self._code_rows = [row for row in self._code_rows if not row.cancelled]
            if not self._code_rows:
                self._wake_gpt.clear()
                await self._wake_gpt.wait()
                continue
            by_urgency = sorted(self._code_rows, key=lambda row: row.due_s)
            rows = without_idlers(by_urgency, len, step, time.monotonic())
            new = sum(row.made == 0 for row in rows)
            await self._compute(step.seconds(len(rows)) + new * self.costs.prefix_ms / 1e3)
            for row in rows:
                row.made += 1
                row.due_s += row.code_s
                finished = row.made >= row.codes
                if finished or row.made % row.emit == 0:
                    count = row.made % row.emit or row.emit
                    chunk = CodeChunk(np.zeros(count, np.int64), np.zeros((count, 1), np.float32), finished)
                    row.items.put_nowait(Reply(chunk, METRICS))
                row.cancelled = row.cancelled or finished

    async def _s2mel(self) -> None:
        while True:
            while self._mel_rows and self._mel_rows[0].result.cancelled():
                heapq.heappop(self._mel_rows)
            if not self._mel_rows:
                self._wake_mel.clear()
                await self._wake_mel.wait()
                continue
            row = self._mel_rows[0]
            self.mel_work_s += row.step_s
            await self._compute(row.step_s)
            row.left -= 1
            if row.left == 0:
                self._mel_rows.remove(row)
                heapq.heapify(self._mel_rows)
                if not row.result.cancelled():
                    made = np.zeros((BANDS, row.new_frames), np.float32)
                    row.result.set_result(Reply(made, METRICS))


@dataclass
class Listeners:
    """Requests of one pipeline."""

    stages: SimulatedStages
    parameters: ChunkParameters
    speeds: StageSpeeds
    seed: int = 0
    admission: StreamAdmission = field(
        default_factory=lambda: StreamAdmission("simulated", CrowdCost(0.3), longest_wait_s=LONGEST_WAIT_S)
    )

    async def listen(self, number: int, late_s: float) -> Trace:
        codes = random.Random(f"{self.seed} {number}").choice(LENGTHS)
        costs = self.stages.costs
        params = Params(diffusion_steps=costs.steps, guidance=0.0 if costs.rows == 1 else 0.7, num_beams=1)
        geometry = Geometry(costs.halo_frames, HOP, RATE_HZ, TWO.frames_per_code)
        playback = Playback()
        evaluations = params.diffusion_steps * params.network_rows
        planner = ChunkPlanner(self.parameters, geometry, self.speeds, costs.prompt_frames, evaluations)
        synthesis = Synthesis(str(number), BANDS, chunked=True, by_deadline=True)

        def start(index: int, text: TextSegment) -> SegmentStream:
            job = GptJob(
                request_id=str(number),
                voice=VOICE,
                emotion=np.zeros(1, np.float32),
                text_ids=text.ids,
                params=params,
                seed=number,
                stream=index,
                emit_codes=costs.emit_codes,
                code_s=geometry.code_s,
            )
            return SegmentStream(index, job, synthesis, planner, self.stages, playback)

        began = time.monotonic()
        arrivals: list[Arrival] = []
        stream = SharedStream(playback, codes * geometry.code_s)
        try:
            async with self.admission.turn(stream):
                speech = SpeechStream(
                    _segments(codes),
                    NO_THREADS,
                    start,
                    playback,
                    RATE_HZ,
                    self.speeds,
                    at_once=4,
                    pause_s=0.2,
                    heard=True,
                )
                async for event in speech.events({}, ()):
                    if isinstance(event, AudioChunk):
                        seconds = len(event.samples) / RATE_HZ
                        if not arrivals:
                            self.admission.first_audio(stream, seconds)
                        arrivals.append(Arrival(time.monotonic() - began, 2 * len(event.samples), seconds))
        except Overloaded as error:
            return Trace(
                number, 0, began, late_s, time.monotonic() - began, error.status, None, None, None, ()
            )
        total_s = time.monotonic() - began
        return Trace(number, 0, began, late_s, total_s, 200, None, None, None, tuple(arrivals))


def _segments(codes: int) -> Iterator[TextSegment]:
    parts = -(-codes // SEGMENT)
    for _ in range(parts):
        yield TextSegment(pieces=(), ids=(0,) * (codes // parts // CODES_PER_TOKEN + 1))


@dataclass(frozen=True)
class SimulatedRun:
    summary: Summary
    mel_work_s: float  # seconds that S2Mel computed


def simulate(costs: Costs, parameters: ChunkParameters, load: Load, *, cores: int) -> SimulatedRun:
    """A whole run; the speeds are learnt on the way, from ten requests one by one."""

    async def run() -> SimulatedRun:
        stages = SimulatedStages(costs, cores)
        try:
            listeners = Listeners(stages, parameters, StageSpeeds())
            for users in (1, 2):  # as a server warms up
                await ClosedLoop(users, 6).run(listeners.listen)
            before_s = stages.mel_work_s
            traces = await load.run(listeners.listen)
            return SimulatedRun(summarise(traces), stages.mel_work_s - before_s)
        finally:
            stages.close()

    return in_virtual_time(run)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="h200")
    parser.add_argument("--cores", type=int, default=3, help="stages that can work at the same time")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rates", type=float, nargs="*", default=[0.3, 0.5, 0.8, 1.5])
    for name in ChunkParameters.model_fields:
        kind = int if name.endswith(("codes", "steps")) else float
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=None)
    options = parser.parse_args(arguments)
    given = {name: getattr(options, name) for name in ChunkParameters.model_fields}
    parameters = ChunkParameters(**{name: value for name, value in given.items() if value is not None})
    costs = PRESETS[options.preset]
    busy = simulate(costs, parameters, ClosedLoop(BUSY_USERS, options.requests), cores=options.cores)
    capacity = busy.summary.requests_per_s
    print(f"busy: {capacity:.2f} requests/s, {busy.summary.audio_s_per_s:.1f} s of audio per s")
    print("share  first audio p50    p95    C100  refused  audio/s  s of S2Mel per s of audio")
    for share in options.rates:
        rate = share * capacity
        load = OpenLoop(rate, options.requests / rate, seed=1)
        found = simulate(costs, parameters, load, cores=options.cores)
        first = found.summary.first_sample_s
        work = found.mel_work_s / found.summary.audio_s_total
        print(
            f"{share:5.2f}  {first.p50:15.3f} {first.p95:6.3f}  {found.summary.c100:6.1%}  "
            f"{found.summary.rejected:7d}  {found.summary.audio_s_per_s:7.2f}  {work:.3f}"
            if first
            else f"{share:5.2f}  no arrival"
        )


if __name__ == "__main__":
    main()
