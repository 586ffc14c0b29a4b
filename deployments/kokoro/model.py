"""Kokoro as a step model: a row is a segment of text, a step speaks one of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from deployments.core.errors import InvalidRequest, SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.speech import Samples
from deployments.engine.step_model import Outcome
from deployments.kokoro.job import DEFAULT_CHARS_PER_S, UNSPEAKABLE, KokoroJob, Spoken
from deployments.kokoro.network import MAX_PHONEMES, KokoroNetwork
from deployments.kokoro.phonemes import Phonemizer, split_phonemes
from deployments.kokoro.voices import LANGUAGES, KokoroVoice, find_voices
from deployments.streaming.cost import Pace, PieceCost
from deployments.text.glossary import Glossary

WARM_UP = {"en": "Ready when you are.", "zh": "你好。"}
SPOKEN = tuple(language for language, _ in LANGUAGES.values())
MEASURED = ("Ready.", "Ready to speak when you are.")
LONG_PIECE = 200  # phonemes, of a segment that has more than the network takes: what others wait for
PAIR_GAINS = 0.92  # two at once must take so much of what one after the other takes


@dataclass(slots=True)
class Row:
    """A segment that is being spoken: a piece in every step, so that whoever leaves stops it between two."""

    job: KokoroJob
    left: deque[list[int]] | None = None  # ids of the pieces that are not spoken yet; None: not known yet
    samples: list[Samples] = field(default_factory=list)
    work_s: float = 0.0

    @property
    def spoken(self) -> Spoken:
        return Spoken(np.concatenate(self.samples), self.work_s)


class KokoroModel:
    """Satisfies StepModel[KokoroJob, Row, Spoken]. A segment takes all threads of a session, so a step speaks of one:
    `cost` counts segments. Two engines may run one model, each for segments that take one thread."""

    def __init__(self, directory: Path, *, threads: int, glossary: Path | None = None) -> None:
        """Raises CheckpointError if no voices are there, or the glossary cannot be read."""
        self.voices: dict[str, KokoroVoice] = find_voices(directory / "voices")
        self._threads = threads
        self._network = KokoroNetwork(directory, threads)
        # A second session takes 200 MB: only where two segments may be spoken side by side.
        self._one_thread = KokoroNetwork(directory, 1) if threads == 2 else self._network
        self._phonemizer = Phonemizer(Glossary.load(glossary, SPOKEN) if glossary else None)

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

    def pace(self) -> Pace:
        """What segments take here, by the length they are expected to have; measured once the model is warm.

        In seconds of the processor: at a start everything else on the machine starts as well.
        """
        voice = next(iter(self.voices))
        short, long = (
            self._processor_s(partial(self.speak, KokoroJob(text, voice))) / self._threads
            for text in MEASURED
        )
        units = [len(text) / DEFAULT_CHARS_PER_S for text in MEASURED]
        slope = max(0.0, (long - short) / (units[1] - units[0]))
        work = PieceCost(max(0.0, short - slope * units[0]), slope)
        return Pace(
            work,
            PieceCost(0.0, 1.0, 0.15),
            self._pairs(work, short, KokoroJob(MEASURED[0], voice, alone=False)),
        )

    def _pairs(self, work: PieceCost, alone_s: float, job: KokoroJob) -> PieceCost | None:
        """The work for each of two that are spoken side by side; None where that gains nothing."""
        if self._threads != 2:
            return None
        self.speak(job)  # lets this session allocate
        with ThreadPoolExecutor(2) as threads:
            together_s = self._processor_s(lambda: list(threads.map(self.speak, (job, job)))) / 2
        if together_s > PAIR_GAINS * 2 * alone_s:
            self._one_thread = self._network
            return None
        longer = together_s / alone_s
        return PieceCost(work.base_s * longer, work.unit_s * longer)

    @staticmethod
    def _processor_s(work: Callable[[], object]) -> float:
        began_s = time.process_time()
        work()
        return time.process_time() - began_s

    def speak(self, job: KokoroJob) -> Spoken:
        """One segment as a whole. Raises InvalidRequest where nothing in it can be spoken."""
        row = self.admit(job)
        while self._advance(row):
            pass
        return row.spoken

    def _advance(self, row: Row) -> bool:
        """Speak the next piece; whether there is another one."""
        began_s = time.monotonic()
        job, voice = row.job, self.voices[row.job.voice]
        network = self._network if job.alone else self._one_thread
        if row.left is None:
            row.left = self._pieces(network, job, voice)
        ids = row.left.popleft()
        row.samples.append(network.synthesise(ids, voice.style(len(ids)), job.speed))
        row.work_s += time.monotonic() - began_s
        return bool(row.left)

    def _pieces(self, network: KokoroNetwork, job: KokoroJob, voice: KokoroVoice) -> deque[list[int]]:
        """The phonemes of a segment in pieces that the network takes; one piece, unless it reads much longer than it
        looks, such as a long number."""
        phonemes = self._phonemizer.phonemes(job.text, voice.accent)
        limit = MAX_PHONEMES if len(phonemes) <= MAX_PHONEMES else LONG_PIECE
        pieces = deque(ids for piece in split_phonemes(phonemes, limit) if (ids := network.ids(piece)))
        if not pieces:
            raise InvalidRequest(
                f"nothing in {job.text[:60]!r} can be spoken by voice {job.voice!r} (language {voice.language!r})",
                param="input",
                code=UNSPEAKABLE,
            )
        return pieces

    def width(self, job: KokoroJob) -> int:
        return 1

    def admit(self, job: KokoroJob) -> Row:
        return Row(job)

    def cost(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def step(self, rows: Sequence[Row]) -> list[Outcome[Spoken]]:
        return [self._outcome(row) for row in rows]

    def _outcome(self, row: Row) -> Outcome[Spoken]:
        try:
            return Outcome() if self._advance(row) else Outcome((row.spoken,), done=True)
        except SpeechError as error:
            return Outcome(error=error)
        except Exception as error:  # belongs to this segment: one text must not end the service for all
            RequestLogger(row.job.request_id).exception("kokoro: a segment failed")
            return Outcome(error=error)

    def release(self, row: Row) -> None:
        """Nothing to do: a row holds no memory of the model."""
