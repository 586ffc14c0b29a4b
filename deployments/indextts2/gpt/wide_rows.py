"""Requests that may draw from more codes than shortlists have columns: all their scores are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deployments.engine.noise import Doubles
from deployments.indextts2.gpt.decoding import Decoder
from deployments.indextts2.gpt.draws import Candidates, Filters, RandomNumbers, Scores, best, gumbel
from deployments.indextts2.sampling import Params

ROUNDING = 1e-5  # more than the sum of two float32 numbers loses, relative to the larger one


class WideRows:
    """Of thousands of scores few can be drawn: those that, with the largest noise there is, reach what the request has
    in its shortlist already. Only these are sorted."""

    def __init__(self, members: Sequence[tuple[Decoder, slice]]) -> None:
        """members: with their rows among those of the shortlists."""
        self.rows = np.concatenate([np.arange(rows.start, rows.stop) for _, rows in members])
        self._members: list[tuple[Decoder, RandomNumbers, slice]] = []  # with their rows among the wide ones
        first = 0
        for decoder, rows in members:
            assert decoder.numbers is not None
            own = slice(first, first + rows.stop - rows.start)
            self._members.append((decoder, decoder.numbers, own))
            first = own.stop
        params = [decoder.params for decoder, _ in members for _ in decoder.slots]
        self._vocabulary = members[0][0].vocabulary
        self._filters = Filters(params, self._vocabulary)
        self._has_top_p = any(each.top_p < 1.0 for each in params)

    def candidates(
        self, heads: Scores, scores: Scores, finite: npt.NDArray[np.bool_]
    ) -> list[tuple[Decoder, Candidates]]:
        """Of each decoder, as `beam_candidates` gives them; none if a row of it is not finite.

        heads (R,K), finite (R,): of all shortlists, falling; scores (W,V) of the wide rows.
        """
        heads, finite, columns = heads[self.rows], finite[self.rows], heads.shape[1]
        if not finite.all():
            scores = np.where(finite[:, None], scores, np.float32(0))
        numbers = [row for decoder, made, _ in self._members for row in made.of_step(decoder.steps)]
        running = np.concatenate([decoder.running for decoder, _, _ in self._members])
        masses = np.ones((len(scores), 1))
        if self._has_top_p:
            masses = np.exp(scores - heads[:, :1]).sum(1, dtype=np.float64, keepdims=True)
        keys = (heads + running[:, None]) + gumbel(np.stack([row[:columns] for row in numbers]))
        keys[~self._filters.passed(heads, masses)] = -np.inf
        largest = gumbel(np.array([row[columns:].max() for row in numbers]))
        found: list[tuple[Decoder, Candidates]] = []
        for decoder, _, own in self._members:
            if not finite[own].all():
                found.append((decoder, []))
                continue
            count = decoder.params.step_candidates
            reached = keys[own].reshape(-1)
            least = float(reached.max() if count == 1 else np.partition(reached, -count)[-count])
            beams = [
                WideBeam(heads[row], scores[row], float(masses[row, 0]), running[row], numbers[row])
                for row in range(own.start, own.stop)
            ]
            for beam, most in zip(beams, largest[own].tolist(), strict=True):
                beam.rank(decoder.params, least - most)
            found.append((decoder, self._drawn(beams, count)))
        return found

    def _drawn(self, beams: Sequence[WideBeam], count: int) -> Candidates:
        if count == 1:
            return [beams[0].candidate(int(beams[0].keys.argmax()))]
        firsts = np.cumsum([0, *(len(beam.keys) for beam in beams)])
        drawn: Candidates = []
        for place in best(np.concatenate([beam.keys for beam in beams]), count).tolist():
            number = int(np.searchsorted(firsts, place, side="right")) - 1
            total, code = beams[number].candidate(place - int(firsts[number]))
            drawn.append((total, number * self._vocabulary + code))
        return sorted(drawn, key=lambda candidate: -candidate[0])  # stable: equals stay in the order drawn


class WideBeam:
    """One row in one step."""

    def __init__(
        self, head: Scores, scores: Scores, mass: float, running: np.float32, numbers: Doubles
    ) -> None:
        """mass: Σ exp(score − best score)."""
        self._ranked = head  # the best scores, falling
        self._scores = scores
        self._mass = mass
        self._running = running
        self._numbers = numbers
        self.keys: Doubles  # of the candidates, the best score first: total score with noise

    def rank(self, params: Params, least: float) -> None:
        """Rank the candidates, at least those whose total score is not below `least`."""
        running = float(self._running)
        bound = least - running - ROUNDING * (1.0 + abs(least) + abs(running))
        if params.top_k:
            bound = -np.inf
        if bound <= self._ranked[-1]:
            ranked = np.sort(np.compress(self._scores >= bound, self._scores))[::-1]
            self._ranked = ranked[: len(self._numbers)]
        self._ranked = self._ranked[: self._passed(params)]
        self.keys = (self._ranked + self._running) + gumbel(self._numbers[: len(self._ranked)])

    def _passed(self, params: Params) -> int:
        """How many of the ranked scores pass top-k and top-p; see Filters."""
        ranked = self._ranked
        passed = len(ranked)
        if params.top_k:
            passed = int(np.count_nonzero(ranked >= ranked[min(params.top_k, passed) - 1]))
        if params.top_p < 1.0:
            sums = np.exp(ranked[:passed] - ranked[0]).cumsum(dtype=np.float64)
            whole = sums[-1] if params.top_k else self._mass
            kept_mass = whole * (1.0 - np.float32(1.0 - params.top_p))
            inside = int(np.searchsorted(sums, kept_mass)) + 1
            passed = min(passed, max(inside, params.kept_candidates))
        return passed

    def candidate(self, rank: int) -> tuple[float, int]:
        """Total score and code. Of equal scores the lower code ranks first."""
        score = self._ranked[rank]
        better = int(np.count_nonzero(self._ranked > score))
        equal = np.flatnonzero(self._scores == score)
        return float(score + self._running), int(equal[rank - better])
