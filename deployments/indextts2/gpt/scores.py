"""From logits to processed scores, on the device and for all rows at once (indextts2-front.md 7.2, 7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.indextts2.dims import GptDims
from deployments.indextts2.sampling import Params

PLACEHOLDER = 1  # id of every prefix position, as the repetition penalty sees it (6.5)


class CodeHistory:
    """The codes that each slot has seen, for the repetition penalty. `codes` (slots, columns): the start code, those
    chosen so far, then placeholders."""

    def __init__(self, dims: GptDims, slots: int, device: torch.device | str) -> None:
        self._start_code = dims.start_mel_token
        columns = dims.max_mel_tokens + 1  # start code, all codes but the last, and at least one placeholder
        self.codes = torch.full((slots, columns), PLACEHOLDER, dtype=torch.int64, device=device)

    def open(self, slots: Sequence[int]) -> None:
        """Begin new sequences in these slots."""
        rows = torch.tensor(slots, device=self.codes.device)
        self.codes[rows] = PLACEHOLDER
        self.codes[rows, 0] = self._start_code

    def seen(self, rows: Tensor, steps: int) -> Tensor:
        """(R,K) ids that slots `rows` have seen, where none has more than `steps` codes; ids may stand there twice."""
        return self.codes[rows, : steps + 2]

    def append(
        self, slots: Sequence[int], sources: Sequence[int], codes: Sequence[int], steps: Sequence[int]
    ) -> None:
        """Slot slots[i] goes on with the history of sources[i]; codes[i] becomes its code number steps[i], from 1."""
        host = torch.tensor([slots, sources, codes, steps])
        target, source, code, column = host.to(self.codes.device, non_blocking=True)
        if slots != sources:
            used = max(steps)
            self.codes[target, :used] = self.codes[source, :used]
        self.codes[target, column] = code


@dataclass(frozen=True)
class ScoreRules:
    """How the scores of R rows are processed: columns (R,1), and the rows that need what others do not."""

    penalty: Tensor
    temperature: Tensor
    beams: Tensor | None  # (B,) rows in beam modes
    typical: Tensor | None  # (T,) rows with the typical filter
    typical_mass: Tensor  # (T,1)
    typical_keep: Tensor  # (T,1)

    @staticmethod
    def of(rows: Sequence[Params], device: torch.device) -> ScoreRules:
        beams = [i for i, params in enumerate(rows) if params.num_beams > 1]
        typical = [(i, params) for i, params in enumerate(rows) if params.typical_mass is not None]
        columns = torch.tensor(
            [
                [params.repetition_penalty for params in rows],
                [params.temperature if params.samples else 1.0 for params in rows],
            ]
        ).to(device, non_blocking=True)
        return ScoreRules(
            penalty=columns[0, :, None],
            temperature=columns[1, :, None],
            beams=torch.tensor(beams).to(device) if beams else None,
            typical=torch.tensor([i for i, _ in typical]).to(device) if typical else None,
            typical_mass=torch.tensor([[params.typical_mass or 0.0] for _, params in typical]).to(device),
            typical_keep=torch.tensor([[params.kept_candidates] for _, params in typical]).to(device),
        )


def processed(logits: Tensor, seen: Tensor, rules: ScoreRules, *, forbidden: int | None) -> Tensor:
    """Logits (R,V) of any float type -> new float32 scores, ready for top-k and top-p. −inf for the code `forbidden`
    and what the typical filter drops."""
    scores = logits.to(torch.float32, copy=True)
    if rules.beams is not None:
        scores[rules.beams] = scores[rules.beams].log_softmax(-1)
    penalise(scores, seen, rules.penalty)
    if forbidden is not None:
        scores[:, forbidden] = -torch.inf
    if rules.typical is not None:
        scores[rules.typical] = typical(scores[rules.typical], rules.typical_mass, rules.typical_keep)
    return scores.div_(rules.temperature)


def penalise(scores: Tensor, seen: Tensor, penalty: Tensor) -> None:
    """Repetition penalty, in place, on the ids in `seen` (R,K): once per id, also where it stands there twice.

    Scores below 0 are multiplied, others divided: as penalties are at least 1, the smaller of both.
    """
    values = scores.gather(1, seen)
    scores.scatter_(1, seen, torch.minimum(values * penalty, values / penalty))


def typical(scores: Tensor, mass: Tensor, keep: Tensor) -> Tensor:
    """The typical filter (7.4) on rows (T,V); `mass`, `keep` (T,1)."""
    logs = scores.log_softmax(-1)
    weights = logs.exp()
    entropy = -torch.where(weights > 0, weights * logs, 0.0).sum(-1, keepdim=True)
    distance, order = (-logs - entropy).abs().sort(-1)
    reached = weights.gather(1, order).cumsum(-1)
    last = (reached < mass).sum(-1, keepdim=True).clamp(max=scores.shape[1] - 1)
    drop = distance > distance.gather(1, last)
    drop &= torch.arange(scores.shape[1], device=scores.device) >= keep
    return scores.masked_fill(torch.zeros_like(drop).scatter_(1, order, drop), -torch.inf)
