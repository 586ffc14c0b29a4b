"""Requests to the stages of this process, through the pipeline's own segments, chunks and joins."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.gpu.check_s2mel import profile
from benchmarks.gpu.gpt_rows import load as load_gpt
from benchmarks.gpu.local_stages import LocalStages
from benchmarks.gpu.options import Options
from benchmarks.known import Known
from deployments.core.speech import AudioChunk
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.job import GptJob, Sampling
from deployments.indextts2.s2mel.engine import S2MelEngine, load_networks
from deployments.indextts2.stream.chunk_planner import ChunkParameters, ChunkPlanner
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.segment_stream import SegmentStream, Synthesis
from deployments.indextts2.stream.speech import Speech
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.text.frontend import TextSegment
from deployments.indextts2.vocoder.service import VocoderService, load_service
from deployments.streaming.playback import Playback
from deployments.voices.profile import VoiceProfile
from deployments.voices.ticket import VoiceTicket
from deployments.weights.dtypes import dtype_named
from serve_app.bench.arrivals import ClosedLoop
from serve_app.bench.metrics import Arrival, Trace

SEGMENTS = 2
EMIT_CODES = 5
AT_ONCE = 4
MEL_BANDS = 80


@dataclass(frozen=True)
class Load:
    """A kind of request: the presets of the server, streamed or in one piece."""

    steps: int = 12
    beams: int = 1
    streaming: bool = True
    seeded: bool = False  # chunk sizes do not follow the clock

    def __str__(self) -> str:
        way = ("streamed, seeded" if self.seeded else "streamed") if self.streaming else "one pass"
        return f"{way}, {self.steps} steps, {self.beams} beams"


@dataclass(frozen=True)
class Formats:
    """Number formats of the stages."""

    gpt: str = "bfloat16"
    s2mel: str = "float32"
    vocoder: str = "float32"


class Speaker:
    """Speaks random codes of a fixed length: the weights never say the stop code."""

    def __init__(self, options: Options, gpt: GptEngine, s2mel: S2MelEngine, vocoder: VocoderService) -> None:
        checkpoint = options.checkpoint()
        dims, generator = checkpoint.gpt_dims, np.random.default_rng(3)
        latents = generator.standard_normal((dims.condition_num_latent, dims.model_dim)).astype(np.float32)
        arrays = {**profile(options.work.prompt_frames).arrays, "speaker_latents": latents}
        self._ticket = VoiceTicket("voice", Known(VoiceProfile(arrays)))
        self._prompt_frames = arrays["mel"].shape[1]
        self._emotion = generator.standard_normal(dims.model_dim).astype(np.float32)
        self._work = options.work
        self._stages = LocalStages(gpt, s2mel, vocoder)
        network = vocoder.vocoder
        self.geometry = Geometry(network.halo_frames, network.hop, network.sample_rate_hz)
        self._speeds = StageSpeeds()

    async def speak(self, number: int, load: Load, began_s: float) -> Trace:
        """One request; what goes wrong is in the trace."""
        sent_s = time.monotonic()
        arrivals: list[Arrival] = []
        error: str | None = None
        try:
            async with aclosing(self._speech(number, load).events()) as events:
                async for event in events:
                    if isinstance(event, AudioChunk):
                        now_s = time.monotonic() - sent_s
                        audio_s = len(event.samples) / self.geometry.sample_rate_hz
                        arrivals.append(Arrival(now_s, event.samples.nbytes, audio_s))
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
        total_s = time.monotonic() - sent_s
        return Trace(
            index=number,
            text_chars=0,
            sent_s=sent_s - began_s,
            late_s=0.0,
            total_s=total_s,
            status=200 if error is None else 500,
            error=error,
            detail=error,
            retry_after=None,
            arrivals=tuple(arrivals),
        )

    def _speech(self, number: int, load: Load) -> Speech:
        playback = Playback()
        synthesis = Synthesis(
            steps=load.steps,
            guidance=0.7,
            chunked=load.streaming,
            mel_bands=MEL_BANDS,
            by_deadline=not load.seeded,
        )
        planner = ChunkPlanner(
            ChunkParameters(), self.geometry, self._speeds, self._prompt_frames, load.steps * synthesis.rows
        )
        sampling = Sampling(beams=load.beams, max_codes=self._work.segment_codes)

        def start(index: int, text: TextSegment) -> SegmentStream:
            job = GptJob(
                self._ticket,
                self._emotion,
                text.ids,
                sampling,
                seed=number,
                stream=index,
                emit_codes=EMIT_CODES if load.streaming else 0,
            )
            return SegmentStream(index, job, synthesis, planner, self._stages, playback)

        return Speech(
            self._texts(number),
            start,
            playback,
            self.geometry,
            self._speeds,
            at_once=AT_ONCE,
            pause_s=0.2,
        )

    async def _texts(self, number: int) -> AsyncGenerator[TextSegment, None]:
        generator = np.random.default_rng(number)
        for _ in range(SEGMENTS):
            ids = generator.integers(2, 500, self._work.text_tokens).tolist()
            yield TextSegment((), tuple(ids))

    async def load(self, load: Load, concurrency: int, requests: int) -> list[Trace]:
        """`requests` in all, `concurrency` of them at any time."""
        began_s = time.monotonic()
        return await ClosedLoop(concurrency, requests).run(
            lambda number, _: self.speak(number, load, began_s)
        )


@contextmanager
def speaker(options: Options, formats: Formats, *, graphs: bool, compile: bool) -> Iterator[Speaker]:
    """Everything loaded and running."""
    checkpoint, work, device = options.checkpoint(), options.work, options.device
    model = load_gpt(checkpoint, device, dtype_named(formats.gpt))
    prefix = model.dims.condition_num_latent + work.text_tokens + 8
    gpt = GptEngine(
        model,
        slots=work.slots,
        max_waiting=4 * work.slots,
        max_length=prefix + work.segment_codes,
        cuda_graphs=graphs,
        compile=compile,
    )
    networks, embedding = load_networks(checkpoint, device=device, dtype=dtype_named(formats.s2mel))
    s2mel = S2MelEngine(
        networks,
        embedding,
        max_rows=64,
        max_step_frames=65_536,
        max_waiting=512,
        voice_cache_bytes=64 << 20,
    )
    vocoder = load_service(
        checkpoint, device=device, dtype=dtype_named(formats.vocoder), max_batch_frames=4096
    )
    gpt.start()
    s2mel.start()
    try:
        yield Speaker(options, gpt, s2mel, vocoder)
    finally:
        gpt.stop()
        s2mel.stop()
