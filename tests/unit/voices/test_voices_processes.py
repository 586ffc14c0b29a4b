"""Several processes on one directory, as replicas on one node or on one shared file system."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from voices_toy import wait_long

from deployments.voices.library import VoiceLibrary
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.registered_voice import NewVoice
from deployments.voices.store import VoiceStore

SPAWN = multiprocessing.get_context("spawn")


def use_voice(url: str, log: str, start_at: float, takes_s: float) -> None:
    async def encode(audio: ReferenceAudio) -> EncodedProfile:
        with Path(log).open("a") as file:
            file.write(f"encode {os.getpid()}\n")
        await asyncio.sleep(takes_s)
        return EncodedProfile(VoiceProfile({"x": audio.mono()}), "1")

    wait_long(setattr)

    async def use() -> None:
        library = VoiceLibrary(VoiceStore(url))
        voice = await library.registered.find("Anna")
        assert voice
        wanted = Recording.of(voice)
        await asyncio.sleep(max(0.0, start_at - time.time()))
        results = await asyncio.gather(*(library.profile(wanted, "m", "1", encode) for _ in range(10)))
        with Path(log).open("a") as file:
            file.write(f"done {results[0].outcome} {np.abs(results[0].profile['x']).sum():.3f}\n")

    asyncio.run(use())


@pytest.fixture
def url(tmp_path: Path, recording: bytes) -> str:
    VoiceStore(str(tmp_path / "voices")).register(NewVoice(recording, "Anna"))
    return str(tmp_path / "voices")


def lines(log: Path, kind: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith(kind)] if log.exists() else []


@pytest.mark.slow
def test_two_processes_encode_once(url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    start_at = time.time() + 3
    processes = [SPAWN.Process(target=use_voice, args=(url, str(log), start_at, 0.5)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(lines(log, "encode")) == 1
    done = [line.split() for line in lines(log, "done")]
    assert sorted(outcome for _, outcome, _ in done) == ["hit-disk", "miss"]
    assert len({total for *_, total in done}) == 1


@pytest.mark.slow
def test_a_killed_process_gives_up_its_lock(url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    victim = SPAWN.Process(target=use_voice, args=(url, str(log), 0.0, 600.0))
    victim.start()
    give_up = time.monotonic() + 60
    while not lines(log, "encode"):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert victim.pid
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(10)
    use_voice(url, str(log), 0.0, 0.0)
    assert len(lines(log, "encode")) == 2
    assert [line.split()[1] for line in lines(log, "done")] == ["miss"]
