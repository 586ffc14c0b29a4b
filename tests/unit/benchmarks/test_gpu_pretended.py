"""Every stage as a GPU runs it: the code of that path, nothing left on the CPU, the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretend_cuda_graphs import PretendCuda
from pretend_gpu import GPU, PretendGpu

from benchmarks.random_checkpoint import write_checkpoint
from deployments.engine.step_model import StepModel
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.bucketed_step import BucketedStep
from deployments.indextts2.gpt.code_model import CodeModel
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.job import CodeChunk, GptJob, Sampling
from deployments.indextts2.gpt.task import GptTask, Limits, checked_settings
from deployments.indextts2.s2mel.engine import load_networks
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.mel_model import Mel, MelModel, MelTask
from deployments.indextts2.speaker.encoder import SpeakerEncoder
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.service import VocoderService, load_service
from deployments.networks.istft import IstftDims, IstftVocoder
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.voices.ticket import VoiceTicket

SLOTS = 9
CODES = 20
SAMPLINGS = (
    Sampling(sample=False, beams=1, max_codes=CODES),
    Sampling(beams=1, max_codes=CODES),
    Sampling(beams=3, max_codes=CODES // 2),
)


@dataclass(frozen=True)
class Tiny:
    directory: Path
    profile: VoiceProfile

    @property
    def checkpoint(self) -> IndexTTSCheckpoint:
        return IndexTTSCheckpoint(self.directory)

    @property
    def ticket(self) -> VoiceTicket:
        unasked: Any = None
        return VoiceTicket("voice", unasked)


def reference() -> ReferenceAudio:
    return ReferenceAudio.from_samples(np.sin(np.arange(22_050) / 20) * 0.1, 22_050)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    directory = write_checkpoint(tmp_path_factory.mktemp("random"), "tiny")
    (voice,) = SpeakerEncoder.load(IndexTTSCheckpoint(directory)).encode([reference()])
    return Tiny(directory, VoiceProfile(voice.arrays(), "voice"))


@pytest.fixture
def gpu() -> Iterator[PretendGpu]:
    with PretendGpu() as gpu:
        yield gpu


@pytest.fixture
def cuda(gpu: PretendGpu, monkeypatch: pytest.MonkeyPatch) -> PretendCuda:
    cuda = PretendCuda(gpu)
    cuda.install(monkeypatch)
    return cuda


def outputs(model: StepModel[Any, Any, Any], tasks: Sequence[Any]) -> list[list[Any]]:
    """What each task gives when all run together."""
    rows = {model.admit(task): number for number, task in enumerate(tasks)}
    found: list[list[Any]] = [[] for _ in tasks]
    while rows:
        for row, outcome in zip(list(rows), model.step(list(rows)), strict=True):
            assert outcome.error is None
            found[rows[row]] += outcome.outputs
            if outcome.done:
                model.release(row)
                del rows[row]
    return found


def code_model(tiny: Tiny, device: str, *, graphs: bool = False) -> CodeModel:
    gpt = load_model(tiny.checkpoint, device=device, dtype=torch.float32)
    return CodeModel(gpt, Limits(SLOTS, 100), prefill_rows=60, cuda_graphs=graphs)


def spoken(tiny: Tiny, model: CodeModel) -> list[tuple[list[int], np.ndarray]]:
    """Codes and latents of jobs of all kinds."""
    gpt = model._model
    tasks = []
    for number, sampling in enumerate(SAMPLINGS):
        emotion = tiny.profile["speaker_emotion"]
        ids = tuple(range(2, 8 + 3 * number))
        job = GptJob(tiny.ticket, emotion, ids, sampling, seed=number, emit_codes=(4, 0, 5)[number])
        settings = checked_settings(job, gpt.dims, model_limits(model))
        latents = torch.tensor(tiny.profile["speaker_latents"]).to(gpt.device, gpt.dtype)
        tasks.append(GptTask(job, settings, latents))
    return [joined(chunks) for chunks in outputs(model, tasks)]


def model_limits(model: CodeModel) -> Limits:
    return Limits(SLOTS, model._cache.max_length)


def joined(chunks: Sequence[CodeChunk]) -> tuple[list[int], np.ndarray]:
    codes = np.concatenate([chunk.codes for chunk in chunks]).tolist()
    return codes, np.concatenate([chunk.latents for chunk in chunks])


def same(found: list[tuple[list[int], np.ndarray]], expected: list[tuple[list[int], np.ndarray]]) -> None:
    for (codes, latents), (known_codes, known_latents) in zip(found, expected, strict=True):
        assert codes == known_codes
        np.testing.assert_allclose(latents, known_latents, atol=5e-5, rtol=0)


@pytest.fixture(scope="module")
def expected(tiny: Tiny) -> list[tuple[list[int], np.ndarray]]:
    return spoken(tiny, code_model(tiny, "cpu"))


def test_gpt(tiny: Tiny, expected: list[tuple[list[int], np.ndarray]], gpu: PretendGpu) -> None:
    model = code_model(tiny, "cuda")
    assert model._cache.device == GPU
    same(spoken(tiny, model), expected)


def test_gpt_waits_for_the_device_only_to_choose(tiny: Tiny, gpu: PretendGpu) -> None:
    model = code_model(tiny, "cuda")
    gpt = model._model
    job = GptJob(tiny.ticket, tiny.profile["speaker_emotion"], (5, 6, 7), SAMPLINGS[1], seed=1)
    settings = checked_settings(job, gpt.dims, model_limits(model))
    latents = torch.tensor(tiny.profile["speaker_latents"]).to(gpt.device, gpt.dtype)
    rows = [model.admit(GptTask(job, settings, latents)) for _ in range(3)]
    for _ in range(5):
        model.step(rows)
    gpu.waits.clear()
    gpu.uploads = 0
    model.step(rows)
    assert gpu.waits == {"cpu": 2}, "scores and codes of the shortlist"
    assert gpu.uploads <= 3, "inputs of the step, slots to choose for, what was chosen"


def test_gpt_by_cuda_graphs(
    tiny: Tiny, expected: list[tuple[list[int], np.ndarray]], cuda: PretendCuda
) -> None:
    """Nothing of a step is worked out on the host, or a replay would repeat what the capture saw."""
    model = code_model(tiny, "cuda", graphs=True)
    assert cuda.graphs
    same(spoken(tiny, model), expected)
    assert sum(graph.replays for graph in cuda.graphs) >= CODES


def test_graphs_are_captured_on_the_device_of_the_model(tiny: Tiny, cuda: PretendCuda) -> None:
    """Else the capture is of another device's stream: the graph is empty, and a replay does nothing."""
    cuda.devices[0] = torch.device("cuda", 1)
    code_model(tiny, "cuda", graphs=True)
    assert cuda.captured_on == {GPU}


def test_a_capture_that_fails_leaves_no_trace(
    tiny: Tiny, expected: list[tuple[list[int], np.ndarray]], cuda: PretendCuda
) -> None:
    cuda.fail_at = 2
    model = code_model(tiny, "cuda", graphs=True)
    step = BucketedStep(model._model, model._cache, graphs=True)
    assert step.captured == 0
    assert len(cuda.streams) == 1, "the thread goes on with the stream it had"
    same(spoken(tiny, model), expected)


def mel_jobs(tiny: Tiny, count: int) -> list[S2MelJob]:
    generator = np.random.default_rng(1)
    width = tiny.checkpoint.gpt_dims.model_dim
    jobs = []
    for i in range(count):
        n = 10 + 5 * i
        latents = generator.normal(size=(n, width)).astype(np.float32)
        committed = generator.normal(size=(80, 3 * i)).astype(np.float32) - 5
        codes = generator.integers(0, 100, n)
        guidance = 0.0 if i == 1 else 0.7
        jobs.append(S2MelJob(tiny.ticket, codes, latents, committed, i, i, 2 + i, guidance))
    return jobs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_s2mel(tiny: Tiny, dtype: torch.dtype) -> None:
    def mels(device: str) -> list[Mel]:
        model = MelModel(
            *load_networks(tiny.checkpoint, device=device, dtype=dtype), voice_cache_bytes=1 << 26
        )
        made = outputs(model, [MelTask(job, tiny.profile) for job in mel_jobs(tiny, 4)])
        return [mel for (mel,) in made]

    known = mels("cpu")
    with PretendGpu() as gpu:
        found = mels("cuda")
    for mel, reference_mel in zip(found, known, strict=True):
        np.testing.assert_allclose(mel, reference_mel, atol=1e-5, rtol=0)
    assert gpu.waits == {"cpu": len(found)}, "for finished mels; a new row must not stop those under way"


def vocode_jobs(channels: int) -> list[VocodeJob]:
    mel = np.random.default_rng(2).normal(size=(channels, 120)).astype(np.float32) - 5
    return [
        VocodeJob(mel, 0, 60),
        VocodeJob(mel, 60, 120),
        VocodeJob(mel, 50, 60),
        VocodeJob(mel[:, :76], 30, 40),
    ]


def test_vocoder(tiny: Tiny) -> None:
    def waves(device: str) -> list[Any]:
        service = load_service(tiny.checkpoint, device=device, dtype=torch.float32, max_batch_frames=4096)
        return service.vocode(vocode_jobs(service.vocoder.mel_channels))

    known = waves("cpu")
    with PretendGpu():
        found = waves("cuda")
    for wave, reference_wave in zip(found, known, strict=True):
        np.testing.assert_allclose(wave, reference_wave, atol=1e-5, rtol=0)


def test_istft_vocoder() -> None:
    network = IstftVocoder(IstftDims(hidden=16, inner=32, layers=2)).requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    jobs = vocode_jobs(80)
    known = VocoderService(network, device="cpu", max_batch_frames=4096).vocode(jobs)
    with PretendGpu():
        found = VocoderService(network.to("cuda"), device="cuda", max_batch_frames=4096).vocode(jobs)
    for wave, reference_wave in zip(found, known, strict=True):
        np.testing.assert_allclose(wave, reference_wave, atol=1e-5, rtol=0)


def test_speaker_encoder(tiny: Tiny) -> None:
    with PretendGpu():
        (voice,) = SpeakerEncoder.load(tiny.checkpoint, device="cuda").encode([reference()])
    for name, array in voice.arrays().items():
        np.testing.assert_allclose(array, tiny.profile[name], atol=1e-5, rtol=0)


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(gpu: PretendGpu) -> None:
    on_gpu = torch.ones(2, 3, device="cuda")
    assert on_gpu.device == GPU
    assert (on_gpu * 2).to("cpu").device.type == "cpu"
    with pytest.raises(RuntimeError, match="same device"):
        on_gpu + torch.ones(2, 3)
    with pytest.raises(TypeError, match="numpy"):
        on_gpu.numpy()
    assert gpu.waits["cpu"] == 0
