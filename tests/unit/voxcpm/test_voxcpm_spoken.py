"""The pipeline over its real stages, on small random weights and without Ray: recording in, wave out."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_voxcpm import TRANSCRIPT, VOICE_RATE_HZ, made_up_speech
from vox_fakes import FakeHandle

from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd
from deployments.voices.library import VoiceLibrary
from deployments.voices.reference import ReferenceAudio
from deployments.voices.store import VoiceStore
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.pipeline import Pipeline
from deployments.voxcpm.settings import VoxCPMSettings
from deployments.voxcpm.step.deployment import Engine
from deployments.voxcpm.vae.decoder import load_decoder
from deployments.voxcpm.voice.deployment import VoxCPMEncoder
from deployments.voxcpm.voice.encoder import RecordingEncoder, profile_version
from deployments.voxcpm.voice.job import PROMPT_PATCHES, REFERENCE_PATCHES

TEXT = "the low voice. the engine test. stream the latency."
SAME = 1e-4


class LocalStream:
    """Of a stage in this process; to be cancelled as a handle's."""

    def __init__(self, source: AsyncGenerator[Any, None]) -> None:
        self._source = source
        self._closing: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._source

    def cancel(self) -> None:
        self._closing = asyncio.ensure_future(self._source.aclose())


def handle(stage: object, *methods: str) -> FakeHandle:
    def calling(name: str) -> Callable[..., Any]:
        method = getattr(stage, name)
        if name == "stream":
            return lambda *arguments: LocalStream(method(*arguments))
        return lambda *arguments: asyncio.ensure_future(method(*arguments))

    return FakeHandle({name: calling(name) for name in methods})


@asynccontextmanager
async def running(checkpoint: Path, directory: Path, **settings: Any) -> AsyncIterator[Pipeline]:
    settings = {"checkpoint": f"{checkpoint}/", "max_segment_chars": 20, **settings}
    made = VoxCPMSettings(**{"engine": {"max_length": 4096, "slots": 8}, **settings})
    encoder, engine = VoxCPMEncoder.__new__(VoxCPMEncoder), Engine.__new__(Engine)
    await encoder.__init__(made.checkpoint, made.device, made.encoder)  # type: ignore[misc]
    await engine.__init__(made.checkpoint, made.device, made.engine)  # type: ignore[misc]
    try:
        stages = {
            "encoder": handle(encoder, "encode", "model_version", "ready"),
            "engine": handle(engine, "stream", "ready"),
        }
        pipeline = Pipeline("vox", made, stages)  # type: ignore[arg-type]
        pipeline.use_library(VoiceLibrary(VoiceStore(str(directory))))
        yield pipeline
    finally:
        engine._engine.stop()


async def spoken(pipeline: Pipeline, text: str = TEXT, **fields: Any) -> tuple[np.ndarray, StreamEnd]:
    plan = await pipeline.plan(SpeechRequest("r", text, **{"seed": 3, **fields}))
    *chunks, end = [event async for event in pipeline.stream(plan)]
    assert isinstance(end, StreamEnd)
    samples = [chunk.samples for chunk in chunks if isinstance(chunk, AudioChunk)]
    return np.concatenate(samples), end


def recording(pitch_hz: float = 200.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, made_up_speech(pitch_hz), VOICE_RATE_HZ, format="WAV")
    return file.getvalue()


@pytest.fixture(params=["v15", "v2"])
def tiny(request: pytest.FixtureRequest, tiny_15: Path, tiny_2: Path) -> Path:
    return tiny_15 if request.param == "v15" else tiny_2


async def test_the_same_audio_streamed_or_not_and_at_any_load(tiny: Path, tmp_path: Path) -> None:
    requests: list[dict[str, Any]] = [
        {},
        {"text": "hello world.", "seed": 4, "params": {"inference_timesteps": 4}},
        {"text": "the engine.", "seed": 5, "voice": "random"},
        {"seed": 6, "params": {"cfg_value": 1.0, "continue_segments": True}},
        {"seed": 7, "reference_audio": recording(), "reference_text": TRANSCRIPT},
    ]
    async with running(tiny, tmp_path / "store") as pipeline:
        alone = [(await spoken(pipeline, **fields))[0] for fields in requests]
        whole, _ = await spoken(pipeline, stream=False)
        together = await asyncio.gather(*(spoken(pipeline, **fields) for fields in requests))
        other, _ = await spoken(pipeline, seed=8)
    assert np.abs(whole - alone[0]).max() <= SAME
    assert len(other) != len(whole) or np.abs(other - whole).max() > SAME
    for one, (beside, _) in zip(alone, together, strict=True):
        assert len(one) == len(beside)
        assert np.isfinite(one).all()
        assert one.std() > 0
        assert np.abs(one - beside).max() <= SAME


async def test_another_voice_is_another_sound(tiny: Path, tmp_path: Path) -> None:
    async with running(tiny, tmp_path / "store") as pipeline:
        fields = {"text": "hello world.", "reference_text": TRANSCRIPT}
        one, _ = await spoken(pipeline, reference_audio=recording(120.0), **fields)
        other, _ = await spoken(pipeline, reference_audio=recording(240.0), **fields)
    assert len(one) != len(other) or np.abs(one - other).max() > SAME


async def test_limits_of_what_a_slot_holds_are_told(tiny_2: Path, tmp_path: Path) -> None:
    async with running(tiny_2, tmp_path / "store", engine={"max_length": 300, "slots": 2}) as pipeline:
        params = {"min_len": 4000}
        wave, end = await spoken(pipeline, "hello world.", voice="random", params=params)
    assert len(wave) > 0
    assert "limit" in end.warnings[0]


async def test_warm_up_and_health(tiny_2: Path, tmp_path: Path) -> None:
    async with running(tiny_2, tmp_path / "store") as pipeline:
        await pipeline.warm_up()
        assert await pipeline.ready()
        assert pipeline.monitor.rows("engine", otherwise=0) == 8


def test_profiles_hold_the_recording_as_patches(tiny: Path) -> None:
    checkpoint = VoxCPMCheckpoint(tiny)
    dims = checkpoint.dims
    recordings = [
        ReferenceAudio.from_samples(np.stack([wave, 0.5 * wave]), VOICE_RATE_HZ)
        for wave in (made_up_speech(150.0, 1.0), made_up_speech(220.0, 1.3))
    ]
    encoder = RecordingEncoder.load(checkpoint)
    together = encoder.encode(recordings)
    for audio, profile in zip(recordings, together, strict=True):
        (alone,) = encoder.encode([audio])
        names = [PROMPT_PATCHES, *([REFERENCE_PATCHES] if dims.has_reference else [])]
        assert sorted(profile.arrays) == sorted(names)
        for name in names:
            patches = profile[name]
            seconds = audio.duration_s * dims.vae.in_sample_rate_hz / dims.patch_samples_in
            assert patches.shape[1:] == (dims.patch_size, dims.latent_dim)
            assert seconds <= len(patches) < seconds + 2
            assert np.abs(patches - alone[name]).max() <= 1e-5
    decoder = load_decoder(checkpoint.vae_tensors, dims.vae, source="tiny")
    assert decoder.hop == dims.vae.out_hop
    assert profile_version(checkpoint) == profile_version(VoxCPMCheckpoint(tiny))


def test_versions_of_profiles_differ(tiny_15: Path, tiny_2: Path) -> None:
    assert profile_version(VoxCPMCheckpoint(tiny_15)) != profile_version(VoxCPMCheckpoint(tiny_2))
