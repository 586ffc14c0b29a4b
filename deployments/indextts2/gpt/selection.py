"""Choosing the next codes of all requests of a step. A row costs what its own parameters ask for, whatever others want.

The device finds the best scores of every row; filters and draws work on those few numbers on the host. Only a row that
may draw from more than WIDEST codes has all its scores brought there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.decoding import Decoder, NextCodes, RowDecoder
from deployments.indextts2.gpt.draws import (
    Codes,
    Filters,
    Scores,
    beam_candidates,
    gumbel,
)
from deployments.indextts2.gpt.scores import CodeHistory, ScoreRules, processed
from deployments.indextts2.gpt.wide_rows import WideRows

Chosen = NextCodes | FloatingPointError

# Columns of shortlists: one of two numbers, so that many rows are sorted together, by the row's own parameters alone.
USUAL, WIDEST = 48, 128


class Selection:
    """Which codes each slot has seen, and the choice for any set of requests."""

    def __init__(
        self,
        dims: GptDims,
        slots: int,
        device: torch.device | str = "cpu",
        *,
        allow_start_code: bool = False,
    ) -> None:
        """allow_start_code: as the reference does; the codec cannot look this code up."""
        self.history = CodeHistory(dims, slots, device)
        self._forbidden = None if allow_start_code else dims.start_mel_token
        self._batch: DecodingBatch | None = None

    def open(self, slots: Sequence[int]) -> None:
        """Begin new sequences in these slots."""
        self.history.open(slots)

    def choose(self, logits: Tensor, decoders: Sequence[Decoder]) -> list[Chosen]:
        """Advance every decoder by one code.

        logits (R,V): the rows of all decoders' slots, decoder after decoder. A decoder whose logits are not finite is
        not advanced and gets the error; the others are not affected.
        """
        scores = self.scores(logits, decoders)
        found: dict[Decoder, Chosen] = {}
        for block in self._batch_of(decoders).blocks:
            found.update(block.choose(scores))
        chosen = [found[decoder] for decoder in decoders]
        self.append(decoders, chosen)
        return chosen

    def scores(self, logits: Tensor, decoders: Sequence[Decoder]) -> Tensor:
        """Logits (R,V) -> scores (R,V) before top-k and top-p."""
        batch = self._batch_of(decoders)
        seen = self.history.seen(batch.slots, max(decoder.steps for decoder in decoders))
        return processed(logits, seen, batch.rules, forbidden=self._forbidden)

    def append(self, decoders: Sequence[Decoder], chosen: Sequence[Chosen]) -> None:
        """Note by which codes the decoders have been advanced."""
        slots: list[int] = []
        sources: list[int] = []
        codes: list[int] = []
        steps: list[int] = []
        for decoder, next_codes in zip(decoders, chosen, strict=True):
            if isinstance(next_codes, NextCodes):
                slots += decoder.slots
                sources += [decoder.slots[parent] for parent in next_codes.parents]
                codes += next_codes.codes
                steps += [decoder.steps] * len(decoder.slots)
        if slots:
            self.history.append(slots, sources, codes, steps)

    def _batch_of(self, decoders: Sequence[Decoder]) -> DecodingBatch:
        # The same step after step, until a request joins or leaves.
        if self._batch is None or self._batch.decoders != list(decoders):
            self._batch = DecodingBatch(decoders, self.history.codes.device)
        return self._batch


class DecodingBatch:
    """Requests that are decoded together: what does not change from step to step."""

    def __init__(self, decoders: Sequence[Decoder], device: torch.device) -> None:
        self.decoders = list(decoders)
        self.slots = torch.tensor([slot for decoder in decoders for slot in decoder.slots]).to(device)
        self.rules = ScoreRules.of([decoder.params for decoder in decoders for _ in decoder.slots], device)
        members: dict[int, list[tuple[Decoder, range]]] = {}
        first = 0
        for decoder in decoders:
            rows = range(first, first + len(decoder.slots))
            first = rows.stop
            members.setdefault(shortlist_columns(decoder), []).append((decoder, rows))
        self.blocks = [
            ShortlistBlock(own, columns, device, is_all=len(members) == 1) for columns, own in members.items()
        ]


def shortlist_columns(decoder: Decoder) -> int:
    """How many of the best scores are found for all rows together; a wide row looks at more by itself."""
    width = decoder.params.shortlist_width(decoder.vocabulary)
    return min(WIDEST if USUAL < width <= WIDEST else USUAL, decoder.vocabulary)


class ShortlistBlock:
    """Requests of a batch whose shortlists have equally many columns."""

    def __init__(
        self, members: Sequence[tuple[Decoder, range]], columns: int, device: torch.device, *, is_all: bool
    ) -> None:
        """members: with their rows among those of the step; is_all: there is no other block."""
        self._columns = columns
        self._rows = None
        if not is_all:
            self._rows = torch.tensor([row for _, rows in members for row in rows]).to(device)
        vocabulary = members[0][0].vocabulary
        self._filters = Filters([each.params for each, rows in members for _ in rows], vocabulary)
        self._single: list[tuple[RowDecoder, int]] = []
        self._beams: list[tuple[Decoder, slice]] = []
        wide: list[tuple[Decoder, slice]] = []
        first = 0
        for decoder, rows in members:
            own = slice(first, first + len(rows))
            first = own.stop
            if decoder.numbers is not None and decoder.numbers.width > columns:
                wide.append((decoder, own))
            elif isinstance(decoder, RowDecoder):
                self._single.append((decoder, own.start))
            else:
                self._beams.append((decoder, own))
        self._single_rows = np.array([row for _, row in self._single], np.int64)
        self._numbers = np.full((len(self._single), columns), 0.5)  # equal: greedy rows take the best
        self._is_cut = np.full(first, columns < vocabulary)  # the shortlist has no room for all scores
        self._wide = WideRows(wide) if wide else None
        if self._wide is not None:
            self._wide_rows = torch.from_numpy(self._wide.rows).to(device)
            self._is_cut[self._wide.rows] = False  # all their scores are looked at

    def choose(self, scores: Tensor) -> dict[Decoder, Chosen]:
        """scores (R,V): of all rows of the step."""
        own = scores if self._rows is None else scores[self._rows]
        heads, codes, finite = self._shortlists(own)
        values = np.where(self._filters.passed(heads), heads, np.float32(-np.inf))
        chosen: dict[Decoder, Chosen] = {}
        if self._single:
            for (single, row), code in zip(self._single, self._single_codes(values, codes), strict=True):
                chosen[single] = single.append(code) if finite[row] else _not_finite()
        for beams, rows in self._beams:
            sound = finite[rows].all()
            chosen[beams] = self._extended(beams, values[rows], codes[rows]) if sound else _not_finite()
        if self._wide is not None:
            whole = own[self._wide_rows].cpu().numpy()
            for decoder, candidates in self._wide.candidates(heads, whole, finite):
                chosen[decoder] = decoder.advance(candidates) if candidates else _not_finite()
        return chosen

    def _shortlists(self, scores: Tensor) -> tuple[Scores, Codes, npt.NDArray[np.bool_]]:
        """The best scores (R,K), falling, and their codes; of equal scores the lower code first, whatever the device
        does. And which rows are finite; the scores of others are given as 0."""
        values, codes = (t.cpu().numpy() for t in scores.topk(self._columns))
        finite = np.isfinite(values[:, 0])  # topk puts NaN first
        if not finite.all():
            values = np.where(finite[:, None], values, np.float32(0))
        tied = np.flatnonzero((values[:, 1:] == values[:, :-1]).any(1))
        if len(tied):
            # Already falling: only codes of equal scores change places.
            order = np.lexsort((codes[tied], -values[tied]))
            codes[tied] = np.take_along_axis(codes[tied], order, 1)
        last = values[:, -1]
        # Where the last one is a candidate, others that are equal to it may have been left out: half precision has
        # many equal scores.
        reached = last >= self._filters.worst(values)[:, 0]
        if reached.any():
            for row in np.flatnonzero(reached & self._is_cut & finite & (last > -np.inf)):
                codes[row] = np.argsort(-scores[row].cpu().numpy(), kind="stable")[: self._columns]
        return values, codes, finite

    def _single_codes(self, values: Scores, codes: Codes) -> list[int]:
        for numbers, (decoder, _) in zip(self._numbers, self._single, strict=True):
            if decoder.numbers is not None:
                numbers[: decoder.numbers.width] = decoder.numbers.of_step(decoder.steps)[0]
        best = (values[self._single_rows] + gumbel(self._numbers)).argmax(1)
        drawn: list[int] = codes[self._single_rows, best].tolist()
        return drawn

    def _extended(self, beams: Decoder, values: Scores, codes: Codes) -> NextCodes:
        numbers = None
        if beams.numbers is not None:
            numbers = beams.numbers.of_step(beams.steps)
            values, codes = values[:, : beams.numbers.width], codes[:, : beams.numbers.width]
        count = beams.params.step_candidates
        return beams.advance(
            beam_candidates(values, codes, beams.running, numbers, count=count, vocabulary=beams.vocabulary)
        )


def _not_finite() -> FloatingPointError:
    return FloatingPointError("the GPT's scores are not finite numbers")
