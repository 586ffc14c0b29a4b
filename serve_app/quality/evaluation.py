"""One evaluation: every line spoken under every setting, then everything measured.

The settings of one line are spoken directly after each other, so that a machine that becomes slower or faster does
so for all of them; and nothing is measured before the last answer, so that measuring slows no answer down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import soundfile

from serve_app.bench.arrivals import ClosedLoop
from serve_app.bench.client import Target
from serve_app.bench.machine import describe_machine, git_commit
from serve_app.bench.metrics import audio_s, first_sample_s, plays_through
from serve_app.quality import EvalError
from serve_app.quality.lines import Line, LineSet
from serve_app.quality.listener import Listener
from serve_app.quality.plain_words import NORMALISER_VERSION, plain_words
from serve_app.quality.recording import MEASURE_RATE_HZ, Wave, is_audible
from serve_app.quality.result import Failure, ItemResult, Result
from serve_app.quality.server import Answer, Fields, SpeechServer, check_fields
from serve_app.quality.spool import Spool

CHARS_PER_S = 14.0  # of spoken English
SLACK_S = 0.5
LONG = 2.0  # an answer this many times as long as expected went wrong, whatever it says
GONE = ("ConnectError", "ConnectTimeout")  # says nothing about the speech of what follows
WARM_UP = "This sentence comes before the test."

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """`settings`: request fields by name; their order is that of speaking."""

    target: Target
    settings: Mapping[str, Fields]
    chosen: LineSet
    measures: tuple[str, ...]
    concurrency: int = 1

    def __post_init__(self) -> None:
        for fields in self.settings.values():
            check_fields(fields)

    @property
    def key(self) -> str:
        """Two evaluations with one key send the same requests and measure the same."""
        lines = [[*map(str, asdict(line).values())] for line in self.chosen.lines]
        asked = [self.target.settings(), dict(self.settings), lines, self.concurrency, self.measures]
        return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()

    async def speak(self, spool: Spool, progress: Progress) -> None:
        """All answers into the spool, except those that are there. EvalError if the server cannot be evaluated."""
        jobs = [
            (name, line)
            for number, line in enumerate(self.chosen.lines)
            for name in _rotated(list(self.settings), number)
            if not spool.has(place(self.settings, name, line))
        ]
        if not jobs:
            return
        server = SpeechServer(self.target)
        try:
            await self._warm_up(server)
            done = 0

            async def send(number: int, _late_s: float) -> None:
                nonlocal done
                name, line = jobs[number]
                answer = await server.speak(line, self.settings[name])
                if answer.trace.error in GONE:
                    raise EvalError(
                        f"{self.target.url} is gone after {done} of {len(jobs)} answers: {answer.trace.detail}; "
                        "a suite goes on where it was with the same command"
                    )
                spool.put(place(self.settings, name, line), answer)
                done += 1
                progress("speaking", done, len(jobs))

            await ClosedLoop(self.concurrency, len(jobs)).run(send)
        finally:
            await server.close()

    async def _warm_up(self, server: SpeechServer) -> None:
        """Every setting once and every voice once per model: neither encoding a voice nor a first shape counts as first
        audio."""
        voices = list({(line.voice, line.reference): line for line in self.chosen.lines}.values())
        of_model: dict[str | None, str] = {}
        for name, fields in self.settings.items():
            of_model.setdefault(fields.get("model"), name)
        pairs = [(name, voices[0]) for name in self.settings]
        pairs += [(name, voice) for name in of_model.values() for voice in voices[1:]]
        for name, voice in pairs:
            line = Line("warm-up", WARM_UP, voice.voice, voice.reference, voice.clone)
            answer = await server.speak(line, self.settings[name])
            if answer.trace.error is not None:
                who = voice.voice or (voice.reference.name if voice.reference else "the default voice")
                raise EvalError(
                    f"{self.target.url} does not speak with {who} under {name!r}: "
                    f"{answer.trace.error}: {answer.trace.detail}"
                )
            if ignored := sorted(set(answer.ignored) & set(self.settings[name])):
                raise EvalError(
                    f"{answer.model or self.target.model} ignores {', '.join(ignored)} of {name!r}, "
                    "so there is nothing to measure; take it out"
                )

    def measure(
        self, spool: Spool, listener: Listener, audio: Path | None, progress: Progress
    ) -> dict[str, Result]:
        """A result per setting, in order. With `audio`, what was measured is written there as WAV."""
        jobs = [(name, line) for name in self.settings for line in self.chosen.lines]
        items: dict[str, list[ItemResult]] = {name: [] for name in self.settings}
        models: dict[str, set[str]] = {name: set() for name in self.settings}
        known: dict[tuple[str, str], dict[str, Any]] = {}
        for done, (name, line) in enumerate(jobs, start=1):
            stored = place(self.settings, name, line)
            answer = spool.get(stored)
            models[name] |= {answer.model} if answer.model else set()
            wave = answer.wave()
            # Settings that only change the timing give the very same samples.
            heard_before = (line.id, hashlib.sha256(wave.tobytes()).hexdigest())
            if (noted := spool.noted(stored)) is not None:
                known[heard_before] = noted
            elif heard_before not in known:
                known[heard_before] = listener.measure(line.text, wave, line.reference)
                spool.note(stored, known[heard_before])
            items[name].append(item_result(line, answer, wave, self.settings[name], known[heard_before]))
            if audio is not None and len(wave):
                _keep(audio / f"{stored}.wav", wave)
            progress("measuring", done, len(jobs))
        return {name: self._result(name, items[name], sorted(models[name])) for name in self.settings}

    def _result(self, name: str, items: Sequence[ItemResult], models: Sequence[str]) -> Result:
        asked = self.target.settings()
        return Result(
            name=name,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            commit=git_commit(),
            machine=asdict(describe_machine()),
            settings={
                "url": asked["url"],
                "model": self.target.model,
                "answered_by": list(models),
                "fields": dict(self.settings[name]),
                "concurrency": self.concurrency,
                "normaliser_version": NORMALISER_VERSION,
            },
            chosen={
                "name": self.chosen.name,
                "items": len(self.chosen.lines),
                "words": self.chosen.words,
                "sha256": self.chosen.sha256,
            },
            measures=self.measures,
            items=tuple(items),
        )


def _rotated(names: list[str], by: int) -> list[str]:
    """Every setting comes first equally often: the first after a change of text may find colder caches."""
    first = by % len(names)
    return names[first:] + names[:first]


def place(settings: Mapping[str, Fields], name: str, line: Line) -> str:
    """A file name for one answer; names of settings and ids may hold anything."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in line.id)[:40]
    distinct = hashlib.sha256(f"{name}\n{line.id}".encode()).hexdigest()[:8]
    return f"{list(settings).index(name):02d}-{kept}-{distinct}"


def item_result(
    line: Line, answer: Answer, wave: Wave, fields: Fields, measured: Mapping[str, Any]
) -> ItemResult:
    trace = answer.trace
    failure = _failure(line.text, answer, wave, float(fields.get("speed", 1.0)))
    complete = trace.error is None
    timed = ItemResult(
        id=line.id,
        text=line.text,
        voice=line.voice or (line.reference.stem if line.clone and line.reference else answer.voice),
        audio_s=round(audio_s(trace), 4),
        total_s=round(trace.total_s, 4) if complete else None,
        first_audio_s=_rounded(first_sample_s(trace)) if complete else None,
        plays_through=plays_through(trace) if complete else None,
        failure=failure,
        detail=f"{trace.error}: {trace.detail}" if trace.error else None,
    )
    return replace(timed, **measured)


def _failure(text: str, answer: Answer, wave: Wave, speed: float) -> Failure | None:
    if answer.trace.error is not None and answer.trace.error != "no_audio":
        return "error"
    if not is_audible(wave):
        return "empty"
    return "long" if len(wave) / MEASURE_RATE_HZ > LONG * expected_s(text, speed) else None


def expected_s(text: str, speed: float = 1.0) -> float:
    """About how long a text takes to say."""
    return SLACK_S + len(" ".join(plain_words(text))) / CHARS_PER_S / speed


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _keep(path: Path, wave: Wave) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, MEASURE_RATE_HZ, subtype="PCM_16")
