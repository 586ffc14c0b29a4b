"""The stage without Ray: one bad recording fails alone, versions follow the files, the classifier may be absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_indextts import make_tiny_checkpoint

from deployments.core.errors import InvalidRequest
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.deployment import SpeakerEncoderStage
from deployments.indextts2.speaker.service import SpeakerService, reference_warnings
from deployments.indextts2.speaker.version import profile_version
from deployments.voices.reference import ReferenceAudio
from deployments.weights.manifest import ManifestEntry, file_sha256, write_manifest


@pytest.fixture(scope="module")
def checkpoint(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> IndexTTSCheckpoint:
    return IndexTTSCheckpoint(make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), golden))


@pytest.fixture(scope="module")
def service(checkpoint: IndexTTSCheckpoint) -> SpeakerService:
    return SpeakerService(checkpoint)


@pytest.fixture(scope="module")
def reference(golden_front: Path) -> ReferenceAudio:
    samples, rate = soundfile.read(golden_front / "ref_spk_24k_mono.wav", dtype="float32")
    return ReferenceAudio.from_samples(samples, rate)


TOO_SHORT = ReferenceAudio.from_samples(np.full(800, 0.1, np.float32), 16_000)


def test_one_bad_recording_fails_alone(service: SpeakerService, reference: ReferenceAudio) -> None:
    first, bad, last = service.encode([reference, TOO_SHORT, reference])
    assert isinstance(bad, InvalidRequest)
    assert "0.05 s" in bad.message
    (alone,) = service.encode([reference])
    for profile in (first, last):
        assert not isinstance(profile, Exception)
        assert not isinstance(alone, Exception)
        assert profile.arrays.keys() == alone.arrays.keys()
        for name, array in alone.arrays.items():
            np.testing.assert_array_equal(profile[name], array)

    emotions = service.encode_emotion([TOO_SHORT, reference])
    assert isinstance(emotions[0], InvalidRequest)
    np.testing.assert_array_equal(emotions[1], alone["reference_emotion"])


def test_faults_of_the_device_are_noted(service: SpeakerService, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(recordings: object) -> list[object]:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(service, "error", None)
    monkeypatch.setattr(service.encoder, "encode", fail)
    (outcome,) = service.encode([TOO_SHORT])
    assert isinstance(outcome, RuntimeError)
    assert service.error is None  # a CPU survives what one recording does
    monkeypatch.setattr(service.encoder, "device", torch.device("cuda"))
    service.encode([TOO_SHORT])
    assert isinstance(service.error, RuntimeError)


def test_classifier_that_is_not_installed_is_the_clients_error(service: SpeakerService) -> None:
    with pytest.raises(InvalidRequest, match=r"qwen0\.6bemo4-merge") as caught:
        service.emotion_scores("very happy")
    assert (caught.value.status, caught.value.code) == (400, "emotion_text_unavailable")


def test_cut_is_surfaced() -> None:
    assert reference_warnings(15.0) == ()
    assert reference_warnings(22.4) == ("Only the first 15 s of the 22.4 s recording are used.",)


def test_unknown_dtype(checkpoint: IndexTTSCheckpoint) -> None:
    with pytest.raises(ValueError, match="float8"):
        SpeakerService(checkpoint, dtype="float8")


def test_version_follows_files_config_and_dtype(golden: Path, tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path, golden)
    weights = directory / "gpt.pth"

    def version(dtype: str = "float32") -> str:
        return profile_version(IndexTTSCheckpoint(directory), dtype)

    first = version()
    assert first == version()
    assert first != version("float16")
    (directory / "s2mel.pth").touch()  # no part of a profile comes from it
    assert first == version()
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1000))
    changed = version()
    assert changed != first

    entry = ManifestEntry("local", "", weights.stat().st_size, file_sha256(weights))
    write_manifest(directory, "indextts2", {"gpt.pth": entry})
    recorded = version()
    assert recorded != changed
    os.utime(weights, (0, 0))  # another machine's copy of the same file
    assert recorded == version()
    with weights.open("ab") as file:
        file.write(b"x")
    grown = version()
    assert recorded != grown

    config = directory / "config.yaml"
    config.write_text(config.read_text() + "semantic_layer: 16\n")
    assert grown != version()


async def test_stage_without_batching(checkpoint: IndexTTSCheckpoint, reference: ReferenceAudio) -> None:
    stage = SpeakerEncoderStage.__new__(SpeakerEncoderStage)
    await stage.__init__(str(checkpoint.directory), max_batch=1)  # type: ignore[misc]
    profile = await stage.encode(reference)
    assert profile["speaker_latents"].shape == (32, checkpoint.gpt_dims.model_dim)
    np.testing.assert_array_equal(await stage.encode_emotion(reference), profile["reference_emotion"])
    with pytest.raises(InvalidRequest):
        await stage.encode(TOO_SHORT)
    assert (await stage.emotion_matrix()).values.shape[1] == checkpoint.gpt_dims.model_dim
    assert await stage.model_version() == profile_version(checkpoint, "float32")
    assert await stage.ready()
