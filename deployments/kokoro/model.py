"""Kokoro as a step model: a row is a segment of text, a step speaks one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from deployments.core.errors import InvalidRequest, SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.speech import Samples
from deployments.engine.step_model import Outcome
from deployments.kokoro.job import KokoroJob
from deployments.kokoro.network import KokoroNetwork
from deployments.kokoro.phonemes import Phonemizer, split_phonemes
from deployments.kokoro.voices import KokoroVoice, find_voices

WARM_UP = {"en": "Ready when you are.", "zh": "你好。"}


class KokoroModel:
    """Satisfies StepModel[KokoroJob, KokoroJob, Samples]. A segment takes all threads of the session, so one is
    spoken at a time: `cost` counts segments."""

    def __init__(self, directory: Path, *, threads: int) -> None:
        """Raises CheckpointError if no voices are there."""
        self.voices: dict[str, KokoroVoice] = find_voices(directory / "voices")
        self._network = KokoroNetwork(directory, threads)
        self._phonemizer = Phonemizer()

    def warm_up(self, languages: Iterable[str]) -> None:
        """Load dictionaries and let the session allocate, so that the first request pays for neither."""
        spoken = False
        for language in languages:
            voice = next((voice for voice in self.voices.values() if voice.language == language), None)
            if voice is None:
                continue
            text = WARM_UP.get(language, "1, 2, 3.")
            if spoken:  # the session is warm
                self._phonemizer.phonemes(text, voice.accent)
            else:
                self.speak(KokoroJob(text, voice.name))
                spoken = True

    def speak(self, job: KokoroJob) -> Samples:
        """Samples (n,) at 24 kHz of one segment. Raises InvalidRequest where nothing in it can be spoken."""
        voice = self.voices[job.voice]
        phonemes = self._phonemizer.phonemes(job.text, voice.accent)
        pieces = [ids for piece in split_phonemes(phonemes) if (ids := self._network.ids(piece))]
        if not pieces:
            raise InvalidRequest(
                f"nothing in {job.text[:60]!r} can be spoken by voice {job.voice!r} (language {voice.language!r})",
                param="input",
                code="unspeakable_input",
            )
        return np.concatenate(
            [self._network.synthesise(ids, voice.style(len(ids)), job.speed) for ids in pieces]
        )

    def width(self, job: KokoroJob) -> int:
        return 1

    def admit(self, job: KokoroJob) -> KokoroJob:
        return job

    def cost(self, rows: Sequence[KokoroJob]) -> int:
        return len(rows)

    def step(self, rows: Sequence[KokoroJob]) -> list[Outcome[Samples]]:
        return [self._outcome(job) for job in rows]

    def _outcome(self, job: KokoroJob) -> Outcome[Samples]:
        try:
            return Outcome((self.speak(job),), done=True)
        except SpeechError as error:
            return Outcome(error=error)
        except Exception as error:  # belongs to this segment: one text must not end the service for all
            RequestLogger(job.request_id).exception("kokoro: a segment failed")
            return Outcome(error=error)

    def release(self, row: KokoroJob) -> None:
        """Nothing to do: a row holds nothing."""
