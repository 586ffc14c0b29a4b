"""Requests to the stages of this process, through the pipeline's own segments, chunks and joins."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from benchmarks.gpu.check_s2mel import profile
from benchmarks.gpu.gpt_rows import load as load_gpt
from benchmarks.gpu.load import traced
from benchmarks.gpu.local_stages import LocalStages
from benchmarks.gpu.options import Options
from benchmarks.known import Known
from deployments.core.speech import AudioChunk, Samples
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.job import GptJob
from deployments.indextts2.s2mel.engine import S2MelEngine, load_networks
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import GptSettings, S2MelSettings, VocoderSettings
from deployments.indextts2.stream.chunk_planner import ChunkParameters, ChunkPlanner
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.segment import SegmentStream, Synthesis
from deployments.indextts2.stream.speech import SpeechStream
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.text.frontend import TextSegment
from deployments.indextts2.vocoder.engine import VocoderEngine, load_engine
from deployments.streaming.playback import Playback
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice
from deployments.weights.tensors import dtype_named
from serve_app.bench.metrics import Trace

SEGMENTS = 2
EMIT_CODES = 5
AT_ONCE = 4
S2MEL = S2MelSettings(max_rows=64, max_step_frames=65_536, max_waiting=512, voice_cache_mb=64)


@dataclass(frozen=True)
class RequestKind:
    """The presets of the server, streamed or in one piece."""

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


class LocalPipeline:
    """Speaks random codes of a fixed length: the weights never say the stop code."""

    def __init__(
        self,
        options: Options,
        gpt: GptEngine,
        s2mel: S2MelEngine,
        vocoder: VocoderEngine,
        frames_per_code: Fraction,
        texts: ThreadPoolExecutor,
    ) -> None:
        dims, generator = options.checkpoint().gpt_dims, np.random.default_rng(3)
        latents = generator.standard_normal((dims.condition_num_latent, dims.model_dim)).astype(np.float32)
        arrays = {**profile(options.work.prompt_frames).arrays, "speaker_latents": latents}
        self._voice = SharedVoice("voice", Known(VoiceProfile(arrays)))
        self._mel_bands, self._prompt_frames = arrays["mel"].shape
        self._emotion = generator.standard_normal(dims.model_dim).astype(np.float32)
        self._work = options.work
        self._stages = LocalStages(gpt, s2mel, vocoder)
        self._texts = texts
        self.geometry = Geometry(*vocoder.halo().value, frames_per_code)
        self._speeds = StageSpeeds()

    async def speak(self, kind: RequestKind, number: int, began_s: float) -> Trace:
        """One request; what goes wrong is in the trace."""
        return await traced(self._samples(kind, number), self.geometry.sample_rate_hz, number, began_s)

    async def _samples(self, kind: RequestKind, number: int) -> AsyncGenerator[Samples, None]:
        async with aclosing(self._speech(number, kind).events({}, ())) as events:
            async for event in events:
                if isinstance(event, AudioChunk):
                    yield event.samples

    def _speech(self, number: int, kind: RequestKind) -> SpeechStream:
        playback = Playback()
        params = Params(diffusion_steps=kind.steps, num_beams=kind.beams, max_codes=self._work.segment_codes)
        synthesis = Synthesis(
            key=uuid.uuid4().hex,
            mel_bands=self._mel_bands,
            chunked=kind.streaming,
            by_deadline=not kind.seeded,
        )
        evaluations = params.diffusion_steps * params.network_rows
        planner = ChunkPlanner(
            ChunkParameters(), self.geometry, self._speeds, self._prompt_frames, evaluations
        )

        def start(index: int, text: TextSegment) -> SegmentStream:
            job = GptJob(
                request_id=f"request-{number}",
                voice=self._voice,
                emotion=self._emotion,
                text_ids=text.ids,
                params=params,
                seed=number,
                stream=index,
                emit_codes=EMIT_CODES if kind.streaming else 0,
            )
            return SegmentStream(index, job, synthesis, planner, self._stages, playback)

        return SpeechStream(
            self._segments(number),
            self._texts,
            start,
            playback,
            self.geometry.sample_rate_hz,
            self._speeds,
            at_once=AT_ONCE,
            pause_s=0.2,
            heard=kind.streaming,
        )

    def _segments(self, number: int) -> Iterator[TextSegment]:
        generator = np.random.default_rng(number)
        for _ in range(SEGMENTS):
            ids = generator.integers(2, 500, self._work.text_tokens).tolist()
            yield TextSegment((), tuple(ids))


@contextmanager
def local_pipeline(
    options: Options, formats: Formats, *, graphs: bool, compile: bool
) -> Iterator[LocalPipeline]:
    """Everything loaded and running."""
    checkpoint, work, device = options.checkpoint(), options.work, options.device
    model = load_gpt(checkpoint, device, dtype_named(formats.gpt))
    prefix = model.dims.condition_num_latent + work.text_tokens + 8
    slots = GptSettings(
        slots=work.slots,
        max_waiting=4 * work.slots,
        max_length=prefix + work.segment_codes,
        cuda_graphs=graphs,
        compile=compile,
    )
    gpt = GptEngine(model, slots)
    networks, source = load_networks(checkpoint, device=device, dtype=dtype_named(formats.s2mel))
    s2mel = S2MelEngine(networks, source, S2MEL, frames_per_code=checkpoint.frames_per_code)
    dtype = dtype_named(formats.vocoder)
    vocoder = load_engine(checkpoint, VocoderSettings(), device=device, dtype=dtype)
    gpt.start()
    s2mel.start()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="texts") as texts:
            yield LocalPipeline(options, gpt, s2mel, vocoder, checkpoint.frames_per_code, texts)
    finally:
        gpt.stop()
        s2mel.stop()
        vocoder.stop()
