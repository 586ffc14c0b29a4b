"""The reduced-size checkpoint: every stage loads it strictly, and together they make a wave of a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_indextts import make_tiny_checkpoint

from deployments.core.errors import CheckpointError
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.generation import generate, latents_of
from deployments.indextts2.s2mel.engine import load_networks
from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.sampling import Params
from deployments.indextts2.speaker.encoder import VoiceEncoder, load_emotion_matrix
from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import WindowVocoder, load_vocoder
from deployments.voices.reference import ReferenceAudio
from deployments.weights.manifest import file_sha256
from deployments.weights.registry import locate


@pytest.fixture(scope="module")
def tiny(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> IndexTTSCheckpoint:
    return IndexTTSCheckpoint(make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), golden))


def test_no_file_is_missing(tiny: IndexTTSCheckpoint) -> None:
    assert not tiny.missing("text", "speaker_encoder", "emotion_matrix", "gpt", "s2mel", "vocoder")


def test_same_bytes_each_time(tiny: IndexTTSCheckpoint, golden: Path, tmp_path: Path) -> None:
    for _ in range(2):
        make_tiny_checkpoint(tmp_path, golden)
        for path in tiny.directory.rglob("*.*"):
            assert path.is_dir() or file_sha256(path) == file_sha256(
                tmp_path / path.relative_to(tiny.directory)
            )


@pytest.mark.slow
def test_reference_in_wave_out(tiny: IndexTTSCheckpoint, golden_front: Path) -> None:
    samples, rate = soundfile.read(golden_front / "ref_spk_24k_mono.wav", dtype="float32")
    (voice,) = VoiceEncoder.load(tiny).encode([ReferenceAudio.from_samples(samples, rate)])
    matrix = load_emotion_matrix(tiny)
    weights = [0.1] * len(tiny.emotion_rows)
    emotion = matrix.mix(weights, matrix.nearest_rows(voice["style"]), voice["reference_emotion"])

    ids = IndexTextFrontend(tiny.path("bpe")).segments("你好，世界。")[0].ids
    gpt = load_model(tiny, device="cpu", dtype=torch.float32)
    with torch.inference_mode():
        prefix = gpt.prefix(torch.tensor(voice["speaker_latents"]), torch.tensor(emotion), ids)
    codes = list(generate(gpt, prefix, Params(max_codes=min(30, gpt.max_codes)), seed=0).codes)
    latents = latents_of(gpt, prefix, codes)

    networks, source = load_networks(tiny, device="cpu", dtype=torch.float32)
    length = mel_frames(len(codes), tiny.frames_per_code)
    with torch.inference_mode():
        reference, target = source.of_voice(voice), source.of_codes(torch.tensor(codes), latents)
        frames = [voice["mel"].shape[1], length]
        mu = torch.cat(networks.length_regulator([reference, target], frames))
        solver = FlowSolver(networks.estimator)
        noise = torch.randn(80, sum(frames), generator=torch.Generator().manual_seed(0))
        row = solver.admit(noise, torch.tensor(voice["mel"]), mu, torch.tensor(voice["style"]), steps=2)
        (mel,) = solver.solve([row])
    vocoder = load_vocoder(tiny.path("vocoder").parent)
    (wave,) = WindowVocoder(vocoder).vocode([VocodeJob("tiny", mel.numpy(), 0, length)])
    assert len(wave) == length * vocoder.hop
    assert np.isfinite(wave).all()
    assert wave.std() > 0


def test_a_checkpoint_is_a_name_or_a_path(tiny: IndexTTSCheckpoint, tmp_path: Path) -> None:
    assert locate(str(tiny.directory)) == tiny.directory
    (tmp_path / "own").mkdir()
    assert locate("own", tmp_path) == tmp_path / "own"
    with pytest.raises(CheckpointError, match="voicegraph models pull indextts2"):
        locate("indextts2", tmp_path)
    for wrong in ("nothing", str(tmp_path / "nothing")):
        with pytest.raises(CheckpointError, match="a name to pull"):
            locate(wrong, tmp_path)
