"""Which part of a recording is kept: silence at its ends is left out, and of a long recording its best part remains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.voices.quality import SILENT_RMS

Levels = NDArray[np.float32]
"""RMS of each 20 ms, of the louder channel, (n,)."""

FRAME_S = 0.02
LOUD_FRAMES = 25  # so many must be as loud as what counts as loud: a knock is not a voice
LEAST_S = 1.0  # that must be left
LONG_SILENCE_S = 1.0  # shorter ones at the ends belong to the recording
KEPT_SILENCE_S = 0.25
PART_S = 15.0  # of a long recording: what models that clone were trained on, and listen to
LEAST_PART_S = 5.0
PAUSE_FRAMES = 8
STEADY_DB = 4.0
IN_A_WORD = 0.1  # what it costs to begin where there is no pause
GAIN = 0.3  # by which another part must be better than the beginning


@dataclass(frozen=True, slots=True)
class Part:
    """Samples `start` … `end`-1. `shortened`: words are missing, not only silence. `notes` are for whoever sent it."""

    start: int
    end: int
    shortened: bool = False
    notes: tuple[str, ...] = ()


class LevelMeter:
    """Levels of a recording that is decoded block by block. What is constant in a frame is no sound."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.frame = max(1, round(FRAME_S * sample_rate_hz))
        self._levels: list[Levels] = []
        self._rest: NDArray[np.float32] | None = None

    def add(self, block: NDArray[np.float32]) -> None:
        """`block`: (channels, n), the next samples."""
        if self._rest is not None:
            block = np.concatenate((self._rest, block), axis=1)
        whole = block.shape[1] // self.frame * self.frame
        self._rest = block[:, whole:]
        if whole:
            frames = block[:, :whole].reshape(len(block), -1, self.frame)
            with np.errstate(over="ignore", invalid="ignore"):  # samples out of scale are refused later
                self._levels.append(frames.std(axis=2, dtype=np.float32).max(axis=0))

    @property
    def levels(self) -> Levels:
        found = np.concatenate(self._levels) if self._levels else np.zeros(1, np.float32)
        return np.nan_to_num(found, nan=0.0, posinf=0.0)


def choose_part(levels: Levels, frame: int, samples: int, sample_rate_hz: int, *, most_s: float) -> Part:
    """The part to keep of `samples` samples with those levels; it lasts `most_s` at most.

    Where more than 15 s are left and the first 15 s of them are much poorer than others, those others are kept: some
    models listen no further.
    """
    voice = _Voice(levels)
    first, end = voice.edges()
    cut = _cut_ends(first, end, len(levels))
    start, stop = cut[0] * frame, samples if cut[1] == len(levels) else cut[1] * frame
    notes = _silence_notes(start / sample_rate_hz, (samples - stop) / sample_rate_hz)
    whole = Part(start, stop, False, notes)
    left_s = (stop - start) / sample_rate_hz
    if left_s <= PART_S or (left_s <= most_s and not voice.better_than_beginning(*cut)):
        return whole
    begin, until = voice.best(*cut)
    start, stop = begin * frame, min(until * frame, samples)
    begin_s, long_s = start / sample_rate_hz, (stop - start) / sample_rate_hz
    note = (
        f"Of the recording of {samples / sample_rate_hz:.1f} s only the best part is used: {long_s:.1f} s from second "
        f"{begin_s:.1f} on. To have another part used, send that part alone."
    )
    return Part(start, stop, True, (note,))


def _cut_ends(first: int, end: int, frames: int) -> tuple[int, int]:
    """Frames to keep where a voice is heard from `first` to `end`."""
    kept, long = round(KEPT_SILENCE_S / FRAME_S), round(LONG_SILENCE_S / FRAME_S)
    start = first - kept if first > long else 0
    stop = end + kept if frames - end > long else frames
    missing = round(LEAST_S / FRAME_S) + 1 - (stop - start)
    if missing > 0:
        stop = min(frames, stop + missing)
        start = max(0, min(start, stop - round(LEAST_S / FRAME_S) - 1))
    return start, stop


def _silence_notes(start_s: float, end_s: float) -> tuple[str, ...]:
    places = [
        f"{seconds:.1f} s at the {place}"
        for seconds, place in ((start_s, "start"), (end_s, "end"))
        if seconds > 0
    ]
    return (f"Silence is left out: {' and '.join(places)}.",) if places else ()


class _Voice:
    """Where somebody speaks, as far as levels can tell."""

    def __init__(self, levels: Levels) -> None:
        self._db = 20 * np.log10(np.maximum(levels, 1e-7))
        self._loud_db = float(np.sort(self._db)[-min(LOUD_FRAMES, len(levels))])
        floor_db, middle_db = (float(level) for level in np.quantile(self._db, (0.1, 0.5)))
        # Noise lies above what is silent by any measure. Where most of a recording is equally loud, that is noise.
        steady = middle_db - floor_db < STEADY_DB
        above_noise_db = min(floor_db + 6, self._loud_db - (10 if steady else 20))
        silent_db = 20 * float(np.log10(SILENT_RMS))
        self._active = self._db > max(silent_db, self._loud_db - 40, above_noise_db)

    def edges(self) -> tuple[int, int]:
        """The first frame with a voice and the one after the last; everything, where there is none."""
        around = np.convolve(self._active, np.ones(15), "same") >= 5  # a click is shorter
        lasting = self._active & around
        found = np.flatnonzero(lasting if lasting.any() else self._active)
        return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, len(self._active))

    def better_than_beginning(self, first: int, end: int) -> bool:
        beginning = (first, min(end, first + _frames(PART_S)))
        return self._worth(*self.best(first, end)) > self._worth(*beginning) + GAIN

    def best(self, first: int, end: int) -> tuple[int, int]:
        """The best part between two frames: much and loud speech with little behind it, cut at pauses."""
        pauses = self._pauses(first, end)
        starts = [first, *(begin for _, begin in pauses)]
        if len(starts) < (end - first) / _frames(PART_S):  # somebody who never pauses, or music
            starts = sorted({*starts, *range(first, end, round(1 / FRAME_S))})
        parts = [(start, self._stop(start, end, pauses)) for start in starts]
        least = min(_frames(LEAST_PART_S), end - first)
        return max(
            (part for part in parts if part[1] - part[0] >= least), key=lambda part: self._worth(*part)
        )

    def _pauses(self, first: int, end: int) -> list[tuple[int, int]]:
        """Where speech may stop and where it may begin again, at every pause."""
        edges = np.flatnonzero(np.diff(np.concatenate(([1], self._active[first:end], [1])).astype(np.int8)))
        runs = [(first + int(begin), first + int(stop)) for begin, stop in edges.reshape(-1, 2)]
        return [(begin + 4, stop - 4) for begin, stop in runs if stop - begin >= PAUSE_FRAMES]

    def _stop(self, start: int, end: int, pauses: list[tuple[int, int]]) -> int:
        latest = start + _frames(PART_S)
        if end <= latest:
            return end
        stops = [stop for stop, _ in pauses if start + _frames(LEAST_PART_S) <= stop <= latest]
        return stops[-1] if stops else latest

    def _worth(self, start: int, stop: int) -> float:
        """Share of 15 s that is speech, how far it stands out from what is behind it, and how loud it is."""
        db = self._db[start:stop]
        quiet_db, loud_db = np.quantile(db, (0.1, 0.9))
        share = float(self._active[start:stop].sum()) / _frames(PART_S)
        distinct = min(float(loud_db - quiet_db), 30.0) / 60
        return share + distinct + max(-1.0, (float(loud_db) - self._loud_db) / 20)


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)
