"""Choosing the next codes of all requests of a step: one pass over the scores, one copy to the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.decoders import Choice, Decoder
from deployments.indextts2.gpt.scores import Rules, prepare, shortlist
from deployments.indextts2.gpt.settings import DecodingSettings

PLACEHOLDER = 1  # id of every prefix position, as the repetition penalty sees it (indextts2-front.md 6.5)


class Selection:
    """Which codes each slot has seen (for the repetition penalty), and the choice for any set of slots."""

    def __init__(self, dims: GptDims, slots: int, device: torch.device | str = "cpu") -> None:
        self.start_code = dims.start_mel_token
        self.seen = torch.zeros(slots, dims.number_mel_codes, dtype=torch.bool, device=device)
        self._rules: Rules | None = None
        self._settings: list[DecodingSettings] = []

    def open(self, slots: Sequence[int]) -> None:
        """Begin new sequences in these slots: only the prefix's placeholder and the start code were seen."""
        rows = torch.tensor(slots, device=self.seen.device)
        self.seen[rows] = False
        self.seen[rows, PLACEHOLDER] = True
        self.seen[rows, self.start_code] = True

    def choose(self, logits: Tensor, decoders: Sequence[Decoder]) -> list[Choice | FloatingPointError]:
        """Advance every decoder by one step.

        logits (R,V): the rows of all decoders' slots, decoder after decoder. A decoder whose logits are not
        finite is not advanced and gets the error as its answer; the others are not affected.
        """
        slots = [slot for decoder in decoders for slot in decoder.slots]
        rows = torch.tensor(slots, device=self.seen.device)
        rules = self._rules_of([decoder.settings for decoder in decoders for _ in decoder.slots])
        scores = prepare(logits, rules, self.start_code)
        values, codes = (t.cpu().numpy() for t in shortlist(scores, self.seen[rows], rules))
        finite = np.isfinite(values[:, 0])  # before sorting: topk puts NaN first, lexsort last
        order = np.lexsort(
            (codes, -values)
        )  # equal scores: the lower code first, whatever the device's order
        values, codes = np.take_along_axis(values, order, -1), np.take_along_axis(codes, order, -1)

        choices: list[Choice | FloatingPointError] = []
        first = 0
        for decoder in decoders:
            own = slice(first, first + len(decoder.slots))
            first = own.stop
            width = decoder.settings.width(logits.shape[1])
            if finite[own].all():
                choices.append(decoder.advance(values[own, :width], codes[own, :width]))
            else:
                choices.append(FloatingPointError("the GPT's scores are not finite numbers"))
        self._remember(slots, choices, decoders)
        return choices

    def _rules_of(self, settings: list[DecodingSettings]) -> Rules:
        # The same rows step after step: columns are made again only when a request joins or leaves.
        if self._rules is None or settings != self._settings:
            self._rules = Rules.of(settings, self.seen.shape[1], self.seen.device)
            self._settings = settings
        return self._rules

    def _remember(
        self, slots: list[int], choices: list[Choice | FloatingPointError], decoders: Sequence[Decoder]
    ) -> None:
        parents: list[int] = []
        codes: list[int] = []
        for decoder, choice in zip(decoders, choices, strict=True):
            if isinstance(choice, Choice):
                parents += [decoder.slots[parent] for parent in choice.parents]
                codes += choice.codes
            else:
                parents += decoder.slots
                codes += [PLACEHOLDER] * len(decoder.slots)
        device = self.seen.device
        source, target, code = torch.tensor([parents, slots, codes]).to(device, non_blocking=True)
        if parents != slots:
            self.seen[target] = self.seen[source]
        self.seen[target, code] = True
