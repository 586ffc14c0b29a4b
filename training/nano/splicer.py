"""Codes of sentences nobody has spoken, spliced from recorded ones.

The GPT has to learn English spelling, and a few hours of speech hold too few words for that. Sentences are free:
the longest stretches of symbols that some recording shares with them lend their codes (unit selection, Hunt and
Black 1996, with the neighbouring symbols as the only cost). Every draw splices anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.nano.config import CODE_SECONDS
from training.nano.features import UNIT_SECONDS, frame_times

CANDIDATES = 24
# Places are found by a symbol with these neighbours, the first that occur in a recording: [first, stop) around it.
_NEIGHBOURS = ((-1, 4), (-1, 2), (0, 2), (0, 1))
_END = 255  # before, between and after recordings; no symbol has this number


@dataclass(frozen=True)
class Recorded:
    """`symbols` (N,) uint8 with silence 0 at both ends, and the code after the last of each (N,)."""

    symbols: np.ndarray
    stops: np.ndarray


def recorded(symbols: np.ndarray, durations: np.ndarray, codes: int) -> Recorded:
    """`durations` in units of 25 ms. A code belongs to the symbol that sounds in its middle."""
    ends = np.cumsum(durations.astype(np.int64)) * UNIT_SECONDS
    stops = np.searchsorted(frame_times(codes), ends - CODE_SECONDS / 1000)
    stops[-1] = codes
    return Recorded(symbols, stops)


class Splicer:
    """All recordings in one row of symbols; looks up a symbol by its neighbours."""

    def __init__(self, recordings: Sequence[Recorded], generator: np.random.Generator) -> None:
        self._generator = generator
        symbols, starts, shift = bytearray([_END]), [0], 0
        for recording in recordings:
            symbols += recording.symbols.astype(np.uint8).tobytes() + bytes([_END])
            starts += [shift, *(recording.stops + shift).tolist()]
            shift += int(recording.stops[-1])
        self._symbols = bytes(symbols)
        self._starts = [*starts, shift]  # the codes of symbol p are [starts[p], starts[p + 1])
        self._places = self._index()

    def _index(self) -> dict[bytes, list[int]]:
        """Places of a symbol by the symbols around it."""
        places: dict[bytes, list[int]] = defaultdict(list)
        for place in range(1, len(self._symbols) - 1):
            if self._symbols[place] != _END:
                for first, stop in _NEIGHBOURS:
                    places[self._symbols[place + first : place + stop]].append(place)
        return dict(places)

    def knows(self, numbers: Sequence[int]) -> bool:
        """Whether some recording has each of the symbols."""
        return all(bytes([number]) in self._places for number in (0, *numbers))

    def splice(self, numbers: Sequence[int]) -> np.ndarray:
        """Where the codes of a sentence lie in those of all recordings, given its symbols without the silence around.

        Raises KeyError when no recording has one of the symbols.
        """
        wanted = bytes([_END, 0, *numbers, 0, _END])
        found: list[np.ndarray] = []
        at = 1
        while at < len(wanted) - 1:
            place, count = self._longest(wanted, at)
            found.append(np.arange(self._starts[place], self._starts[place + count]))
            at += count
        return np.concatenate(found)

    def _longest(self, wanted: bytes, at: int) -> tuple[int, int]:
        """Where to take symbol `at` from, and how many symbols with it."""
        for first, stop in _NEIGHBOURS:
            places = self._places.get(wanted[at + first : at + stop])
            if places:
                break
        else:
            raise KeyError(f"no recording has the symbol {wanted[at]}")
        tried = self._generator.integers(len(places), size=CANDIDATES)
        lengths = {places[index]: self._shared(wanted, at, places[index]) for index in tried}
        place = max(lengths, key=lengths.__getitem__)
        # The last shared symbol stays a neighbour: its own codes run into what follows it there.
        return place, max(1, lengths[place] - 1)

    def _shared(self, wanted: bytes, at: int, place: int) -> int:
        """Symbols that agree from `at` and `place` on, the end mark included."""
        longest = min(len(wanted) - at, len(self._symbols) - place)
        count = 1
        while count < longest and wanted[at + count] == self._symbols[place + count]:
            count += 1
        return count
