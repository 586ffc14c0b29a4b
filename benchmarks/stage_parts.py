"""The parts of IndexTTS2 that `stages.py` times: each stage from its own files, one function per stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deployments.engine.noise import normals
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.decoding import Decoder, new_decoder
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.generation import latents_of
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import generation_position
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.s2mel.engine import load_networks
from deployments.indextts2.s2mel.flow import FlowRow, FlowSolver
from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.sampling import Params
from deployments.indextts2.speaker.encoder import VoiceEncoder
from deployments.indextts2.vocoder.vocoder import load_vocoder
from deployments.voices.reference import ReferenceAudio
from deployments.weights.tensors import dtype_named

RATE_HZ = 22_050
MAX_REPEATS = 7
ENOUGH_S = 1.0  # of repeats of one measurement
CODE = 3  # any


@dataclass(frozen=True)
class Workload:
    """One request, and what it runs on."""

    directory: Path
    device: str = "cpu"
    dtype: str = "float32"
    reference_s: float = 5.0
    text_tokens: int = 30
    codes: int = 60
    euler_steps: int = 25
    guidance: float = 0.7
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    threads: int | None = None  # of torch on a CPU; None: its own choice

    @property
    def checkpoint(self) -> IndexTTSCheckpoint:
        return IndexTTSCheckpoint(self.directory)

    @property
    def frames(self) -> int:
        return mel_frames(self.codes, self.checkpoint.frames_per_code)

    @property
    def reference_frames(self) -> int:
        return int(self.reference_s * RATE_HZ / 256)


@dataclass(frozen=True)
class Measurement:
    """`seconds` of one execution for the whole batch; `times_per_request`: executions that one request takes."""

    stage: str
    part: str
    batch: int
    seconds: float
    times_per_request: int
    peak_bytes: int | None


class Peak:
    """Most memory held since the last look: of the process on a CPU, of torch's allocator on a GPU."""

    def __init__(self, device: str) -> None:
        self._cuda = torch.device(device).type == "cuda"

    def reset(self) -> None:
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return  # then the peak is that of the stage so far

    def bytes(self) -> int | None:
        if self._cuda:
            return torch.cuda.max_memory_allocated()
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return None
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


class Clock:
    """Fewest seconds of an action and the memory it takes; the first execution is not counted.

    The fewest, because whatever else the machine does can only add to them.
    """

    def __init__(self, stage: str, device: str) -> None:
        self._stage = stage
        self._cuda = torch.device(device).type == "cuda"
        self._peak = Peak(device)

    def measure(self, part: str, batch: int, times: int, action: Callable[[], object]) -> Measurement:
        self._peak.reset()
        self._seconds(action)
        taken: list[float] = []
        while len(taken) < MAX_REPEATS and sum(taken) < ENOUGH_S:
            taken.append(self._seconds(action))
        return Measurement(self._stage, part, batch, min(taken), times, self._peak.bytes())

    def _seconds(self, action: Callable[[], object]) -> float:
        began_s = time.perf_counter()
        action()
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - began_s


def speaker_encoder(work: Workload) -> Iterator[Measurement]:
    clock = Clock("speaker_encoder", work.device)
    encoder = VoiceEncoder.load(work.checkpoint, device=work.device, dtype=dtype_named(work.dtype))
    noise = np.random.default_rng(0).normal(size=int(work.reference_s * RATE_HZ)) * 0.1
    reference = ReferenceAudio.from_samples(noise, RATE_HZ)
    for batch in work.batches:
        yield clock.measure("encode", batch, 1, partial(encoder.encode, [reference] * batch))


def gpt(work: Workload) -> Iterator[Measurement]:
    clock = Clock("gpt", work.device)
    model = load_model(work.checkpoint, device=work.device, dtype=dtype_named(work.dtype))
    model.pack()
    width = model.dims.model_dim
    latents = torch.zeros(model.dims.condition_num_latent, width)
    prefix = model.prefix(latents, torch.zeros(width), [5] * work.text_tokens)
    for batch in work.batches:
        run = GptRows(model, prefix, batch, work.codes)
        yield clock.measure("prefill", batch, 1, run.prefill)
        run.prefill()
        yield clock.measure("step", batch, work.codes, run.step)
        yield clock.measure("latents", batch, 1, run.latents)


class GptRows:
    """Rows that sample together as the engine lets them; every step starts from the middle of the codes."""

    def __init__(self, model: SpeechGpt, prefix: Tensor, batch: int, codes: int) -> None:
        self._model = model
        self._prefix = prefix
        self._slots = list(range(batch))
        self._codes = codes
        self._cache = model.new_cache(batch, len(prefix) + codes + 1)
        self._selection = Selection(model.dims, batch, model.device)

    def prefill(self) -> None:
        self._cache.clear(self._slots)
        inputs = torch.cat([self._prefix, self._model.start()])
        self._model.extend(self._cache, [(slot, inputs) for slot in self._slots])
        middle = self._model.embed([CODE] * (self._codes // 2), [1] * (self._codes // 2))
        self._hidden = self._model.extend(self._cache, [(slot, middle) for slot in self._slots])
        self._decoders = sampling_rows(self._selection, self._model.dims, self._slots, self._codes // 2)

    def step(self) -> None:
        length = len(self._prefix) + 1 + self._codes // 2
        for slot in self._slots:
            self._cache.lengths[slot] = length
        positions = [generation_position(self._codes // 2)] * len(self._slots)
        hidden = self._model.step(self._cache, self._slots, [CODE] * len(self._slots), positions)
        self._selection.choose(self._model.logits(hidden), self._decoders)

    def latents(self) -> None:
        for _ in self._slots:
            latents_of(self._model, self._prefix, [CODE] * self._codes)


def sampling_rows(selection: Selection, dims: GptDims, slots: Sequence[int], codes: int) -> list[Decoder]:
    """New rows that sample, behind so many codes."""
    selection.open(slots)
    params = Params(num_beams=1)
    decoders = [new_decoder(params, (slot,), dims, seed=slot, stream=0) for slot in slots]
    for _ in range(codes):
        selection.append(decoders, [decoder.advance([(0.0, CODE)]) for decoder in decoders])
    return decoders


def s2mel(work: Workload) -> Iterator[Measurement]:
    clock = Clock("s2mel", work.device)
    networks, source = load_networks(work.checkpoint, device=work.device, dtype=dtype_named(work.dtype))
    solver = FlowSolver(networks.estimator)
    channels, prompt = networks.dims.estimator.mel_channels, work.reference_frames
    mel = torch.full((channels, prompt), -5.0)
    condition = torch.zeros(prompt, networks.dims.regulator.channels, device=work.device)
    style = torch.zeros(networks.dims.estimator.style)
    latents = torch.zeros(work.codes, source.latent_width, device=work.device)
    codes = torch.zeros(work.codes, dtype=torch.int64)

    @torch.inference_mode()
    def prepare() -> FlowRow:
        (target,) = networks.length_regulator([source.of_codes(codes, latents)], [work.frames])
        noise = torch.from_numpy(normals(0, 0, 0, prompt + work.frames, channels))
        mu = torch.cat([condition, target])
        return solver.admit(noise, mel, mu, style, guidance=work.guidance, steps=work.euler_steps)

    yield clock.measure("prepare", 1, 1, prepare)
    for batch in work.batches:
        rows = [prepare() for _ in range(batch)]

        def step(rows: list[FlowRow] = rows) -> None:
            for i, row in enumerate(rows):
                row.step = i % work.euler_steps  # requests at different times
            solver.advance(rows)

        yield clock.measure("euler step", batch, work.euler_steps, step)


def vocoder(work: Workload) -> Iterator[Measurement]:
    clock = Clock("vocoder", work.device)
    folder = work.checkpoint.path("vocoder_config").parent
    network = load_vocoder(folder, device=work.device)  # float32, as the reference runs it
    for batch in work.batches:
        mel = torch.full((batch, network.mel_channels, work.frames), -5.0, device=work.device)

        @torch.inference_mode()
        def vocode(mel: Tensor = mel) -> Tensor:
            return network(mel)

        yield clock.measure("vocode", batch, 1, vocode)


def measure(stage: str, work: Workload) -> list[Measurement]:
    """All parts of a stage, in this process."""
    if work.threads:
        torch.set_num_threads(work.threads)
    return list(STAGES[stage](work))


STAGES: dict[str, Callable[[Workload], Iterator[Measurement]]] = {
    "speaker_encoder": speaker_encoder,
    "gpt": gpt,
    "s2mel": s2mel,
    "vocoder": vocoder,
}
