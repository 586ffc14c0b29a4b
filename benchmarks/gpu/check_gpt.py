"""The GPT on the device against the CPU in float32, and every way to run its steps against the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu.comparing import agreement, distance, first_difference, tf32
from benchmarks.gpu.gpt_rows import (
    GREEDY,
    MODES,
    ROWS,
    Mode,
    Rows,
    Spoken,
    engine,
    given_up,
    load,
    one_by_one,
    together,
)
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from deployments.indextts2.gpt.generation import latents_of
from deployments.indextts2.gpt.job import GptJob
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import generation_position
from deployments.indextts2.sampling import Params

# ‖difference‖ / ‖reference‖. Of float32 only the order of the sums differs.
LIMITS = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}
TIE = 1e-3  # scores so close may change places; they are around 1
SAMPLED = Params(num_beams=1)
WIDE = Params(num_beams=1, top_k=0, top_p=1.0)
BEAMS = Params(num_beams=3)
SLOTS = 3 * ROWS


@dataclass(frozen=True)
class OnCpu:
    """What the CPU makes in float32: greedy codes of all texts, the scores behind them (codes, ROWS, V), latents."""

    greedy: list[list[int]]
    scores: Tensor
    latents: Tensor
    sampled: list[list[int]]


def check_gpt(report: Report, options: Options) -> None:
    checkpoint, work = options.checkpoint(), options.work
    rows = Rows.of(checkpoint, text_tokens=work.text_tokens, codes=work.codes)
    known = report.make(
        "gpt, reference on the CPU", lambda: _reference(load(checkpoint, "cpu", torch.float32), rows)
    )
    if known is None:
        return
    for name, dtype in options.dtypes.items():
        model = report.make(f"gpt {name}, load", partial(load, checkpoint, options.device, dtype))
        if model is None:
            continue
        with tf32(False):
            report.part(f"gpt {name}, scores and latents", partial(_states, model, rows, known, LIMITS[name]))
            for mode in MODES[: 1 if name == "float16" else None]:
                exact = name == "float32"
                report.part(f"gpt {name}, {mode}", partial(_mode, model, rows, known, mode, exact))
        del model
        if options.on_gpu:
            torch.cuda.empty_cache()


def _reference(model: SpeechGpt, rows: Rows) -> OnCpu:
    with engine(model, Mode(), slots=SLOTS, max_length=rows.max_length) as running:
        greedy = _codes(together(running, rows.jobs(GREEDY)))
        sampled = _codes(together(running, _drawn(rows)))
    latents = latents_of(model, rows.prefix(model, 0), greedy[0])
    return OnCpu(greedy, _scores(model, rows, greedy), latents, sampled)


def _codes(spoken: Sequence[Spoken]) -> list[list[int]]:
    return [each.codes for each in spoken]


def _drawn(rows: Rows) -> list[GptJob]:
    """Drawn codes, from few candidates and from all, and the beams of the reference preset."""
    return [rows.job(0, BEAMS), rows.job(1, WIDE), *rows.jobs(SAMPLED, emit_codes=5)[2:]]


@torch.inference_mode()
def _scores(model: SpeechGpt, rows: Rows, codes: Sequence[Sequence[int]]) -> Tensor:
    """Logits (codes, ROWS, V) by which each code would be chosen, given those before it: batched steps."""
    cache = model.new_cache(ROWS, rows.max_length)
    pieces = [(row, torch.cat([rows.prefix(model, row), model.start()])) for row in range(ROWS)]
    hidden = torch.stack([states[-1] for states in model.extend(cache, pieces)])
    found = [model.logits(hidden).float().cpu()]
    for step, fed in enumerate(zip(*(row[:-1] for row in codes), strict=True), start=1):
        hidden = model.step(cache, range(ROWS), fed, [generation_position(step)] * ROWS)
        found.append(model.logits(hidden).float().cpu())
    return torch.stack(found)


def _states(model: SpeechGpt, rows: Rows, known: OnCpu, limit: float) -> list[Check]:
    latents = latents_of(model, rows.prefix(model, 0), known.greedy[0])
    scores = _scores(model, rows, known.greedy)
    return [
        Check("scores of batched steps", distance(scores, known.scores), limit),
        Check("latents of one pass", distance(latents, known.latents), limit),
    ]


def _mode(model: SpeechGpt, rows: Rows, known: OnCpu, mode: Mode, exact: bool) -> list[Check]:
    """`exact`: the codes must be those of the CPU; else it is told how long they are."""
    greedy = rows.jobs(GREEDY, emit_codes=5)
    with (
        given_up() as lacking,
        engine(model, mode, slots=SLOTS, max_length=rows.max_length) as running,
    ):
        batch = together(running, greedy)
        alone = one_by_one(running, greedy[:: 1 if exact else 4])
        drawn = _codes(together(running, _drawn(rows)))
    checks = [
        *_compare("greedy codes of eight together", _codes(batch), known, exact),
        *_compare("greedy codes one by one", _codes(alone), known, exact, step=1 if exact else 4),
    ]
    different = sum(a != b for a, b in zip(drawn, known.sampled, strict=True))
    checks.append(Check("drawn rows that differ", different, 1 if exact else None))
    latents = distance(batch[0].latents, known.latents) if batch[0].codes == known.greedy[0] else 0.0
    checks.append(Check("latents of the engine", latents, LIMITS["float32"] if exact else None))
    uncompiled = [text for text in lacking if "torch.compile" in text]
    checks.append(Check("graphs given up", len(lacking) - len(uncompiled), 0, "; ".join(lacking)))
    checks.append(Check("compilation given up", len(uncompiled), note="; ".join(uncompiled)))
    return checks


def _compare(name: str, found: list[list[int]], known: OnCpu, exact: bool, *, step: int = 1) -> list[Check]:
    expected = known.greedy[::step]
    told = Check(f"{name}: share not as on the CPU", 1 - agreement(found, expected))
    if not exact:
        return [told]
    wrong = [row for row, codes in enumerate(found) if not _same_but_for_ties(codes, known, row)]
    return [told, Check(f"{name}: rows that differ", len(wrong), 0, f"rows {wrong}" if wrong else "")]


def _same_but_for_ties(codes: Sequence[int], known: OnCpu, row: int) -> bool:
    """Whether the codes are those of the CPU up to a point where two scores were as good as equal."""
    expected = known.greedy[row]
    at = first_difference(codes, expected)
    if at is None:
        return True
    if at >= min(len(codes), len(expected)):
        return False
    scores = known.scores[at, row].clone()
    seen = expected[:at]
    penalty = GREEDY.repetition_penalty
    scores[seen] = torch.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
    return abs(float(scores[codes[at]] - scores[expected[at]])) < TIE
