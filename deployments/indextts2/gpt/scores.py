"""From logits to the few scores that can still win, all rows at once (indextts2-front.md 7.2, 7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.indextts2.gpt.settings import DecodingSettings

OFF = 2.0  # a mass no distribution reaches


@dataclass(frozen=True)
class Rules:
    """Settings of R rows as columns (R,1), and what no row uses, so that it costs nothing."""

    beam: Tensor  # bool
    forbid_start: Tensor  # bool
    penalty: Tensor
    temperature: Tensor
    top_k: Tensor  # int64; the vocabulary size where off
    dropped_mass: Tensor  # 1 − top_p; negative where off
    typical_mass: Tensor  # OFF where off
    keep: Tensor  # int64
    width: int  # scores per row that are returned
    any_beam: bool
    any_top_p: bool
    any_typical: bool

    @staticmethod
    def of(rows: Sequence[DecodingSettings], vocabulary: int, device: torch.device) -> Rules:
        def column(values: list[float], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype).unsqueeze(1).to(device, non_blocking=True)

        sampled_top_p = [1.0 - s.top_p if s.do_sample and s.top_p < 1.0 else -1.0 for s in rows]
        typical = [OFF if s.typical_mass is None else s.typical_mass for s in rows]
        top_k = [max(s.top_k, s.keep) if s.do_sample and s.top_k else vocabulary for s in rows]
        return Rules(
            beam=column([s.num_beams > 1 for s in rows], torch.bool),
            forbid_start=column([not s.allow_start_code for s in rows], torch.bool),
            penalty=column([s.repetition_penalty for s in rows]),
            temperature=column([s.temperature if s.do_sample else 1.0 for s in rows]),
            top_k=column([float(min(k, vocabulary)) for k in top_k], torch.int64),
            dropped_mass=column(sampled_top_p),
            typical_mass=column(typical),
            keep=column([float(s.keep) for s in rows], torch.int64),
            width=max(s.width(vocabulary) for s in rows),
            any_beam=any(s.num_beams > 1 for s in rows),
            any_top_p=any(mass >= 0.0 for mass in sampled_top_p),
            any_typical=any(mass < OFF for mass in typical),
        )


def prepare(logits: Tensor, rules: Rules, start_code: int) -> Tensor:
    """Logits (R,V) of any float type -> float32 scores: log-softmax in beam modes, start code ruled out."""
    scores = logits.float()
    if rules.any_beam:
        scores = torch.where(rules.beam, scores.log_softmax(-1), scores)
    forbidden = rules.forbid_start & (torch.arange(scores.shape[1], device=scores.device) == start_code)
    return scores.masked_fill(forbidden, -torch.inf)


def penalise(scores: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Repetition penalty on the ids marked in `seen` (R,V) bool, once per id."""
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def typical(scores: Tensor, mass: Tensor, keep: Tensor) -> Tensor:
    """Typical filter; rows whose mass is OFF come back unchanged."""
    logs = scores.log_softmax(-1)
    weights = logs.exp()
    entropy = -torch.where(weights > 0, weights * logs, 0.0).sum(-1, keepdim=True)
    distance, order = (-logs - entropy).abs().sort(-1)
    reached = weights.gather(1, order).cumsum(-1)
    last = (reached < mass).sum(-1, keepdim=True).clamp(max=scores.shape[1] - 1)
    drop = distance > distance.gather(1, last)
    drop &= torch.arange(scores.shape[1], device=scores.device) >= keep
    return scores.masked_fill(torch.zeros_like(drop).scatter_(1, order, drop), -torch.inf)


def shortlist(scores: Tensor, seen: Tensor, rules: Rules) -> tuple[Tensor, Tensor]:
    """Scores (R,V) through all processors -> the `rules.width` best, falling: values and codes (R,width).

    Dropped candidates have the value −inf. Of codes that tie with the k-th best at most TIES are kept.
    """
    scores = penalise(scores, seen, rules.penalty)
    if rules.any_typical:
        scores = typical(scores, rules.typical_mass, rules.keep)
    values, codes = (scores / rules.temperature).topk(rules.width)
    worst = values.gather(1, rules.top_k.clamp(max=rules.width) - 1)
    values = values.masked_fill(values < worst, -torch.inf)
    if rules.any_top_p:
        at_least = values.softmax(-1).flip(-1).cumsum(-1).flip(-1)  # mass of a candidate and all below it
        drop = at_least <= rules.dropped_mass
        drop &= torch.arange(rules.width, device=values.device) >= rules.keep
        values = values.masked_fill(drop, -torch.inf)
    return values, codes
