"""The recorded results of tests/golden, reached on the device with the tolerances that tests/parity has on a CPU."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from benchmarks.gpu.comparing import furthest, tf32
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.generation import latents_of
from deployments.indextts2.gpt.positions import generation_position
from deployments.indextts2.s2mel.flow import FlowRow, FlowSolver
from deployments.indextts2.s2mel.networks import load_s2mel
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import WindowVocoder, load_vocoder

GOLDEN = Path(os.environ.get("VOICEGRAPH_GOLDEN", Path(__file__).parents[2] / "tests/golden"))
LOGITS, LATENTS, FLOW, WAVE = 1e-4, 5e-5, 1e-4, 5e-5


def check_golden(report: Report, options: Options) -> None:
    with tf32(False):
        for name, check in (("gpt", _gpt), ("s2mel", _s2mel), ("vocoder", _vocoder)):
            report.part(f"golden {name}", partial(check, options.device))


@torch.inference_mode()
def _gpt(device: str) -> list[Check]:
    front = GOLDEN / "indextts2-front"
    model = load_model(IndexTTSCheckpoint(front / "ckpt"), device=device, dtype=torch.float32)
    known = load_file(front / "gpt_prefix_logits.safetensors")
    emotion = known["emovec"][0]
    latents = known["conds_34"][0, : model.dims.condition_num_latent] - emotion
    prefix, other = (
        model.prefix(latents, emotion, known[f"{text}.ids"][0].tolist()) for text in ("text1", "text2")
    )
    codes = known["tf.codes"][0].tolist()
    fed = [model.dims.start_mel_token, *codes]
    cache = model.new_cache(3, max(len(prefix), len(other)) + len(fed))
    model.extend(cache, [(2, prefix), (0, other)])
    found = []
    for i, code in enumerate(fed):
        hidden = model.step(cache, [0, 2], [2, code], [generation_position(i)] * 2)
        found.append(model.logits(hidden)[1])
    recorded = load_file(front / "latent.safetensors")
    second = latents_of(model, prefix, recorded["tf.codes"][0].tolist())
    return [
        Check(
            "logits step by step beside another row",
            furthest(torch.stack(found), known["tf.logits_kvcache"][0]),
            LOGITS,
        ),
        Check("latents", furthest(second, recorded["tf.latent"][0]), LATENTS),
    ]


def _s2mel(device: str) -> list[Check]:
    back = GOLDEN / "indextts2-back"
    config = yaml.safe_load((back / "config.yaml").read_text())
    solver = FlowSolver(load_s2mel(back / "s2mel.pth", config, device=device).estimator)
    cfm = load_file(back / "cfm.safetensors")
    found = [(re.fullmatch(r"out_(\w+?)_steps(\d+)_cfg([\d.]+)", name), mel[0]) for name, mel in cfm.items()]
    cases = [(match, mel) for match, mel in found if match]

    def rows() -> list[FlowRow]:
        return [
            solver.admit(
                *(cfm[f"{part}_{match[1]}"][0] for part in ("z", "prompt_mel", "mu", "style")),
                steps=int(match[2]),
                guidance=float(match[3]),
            )
            for match, _ in cases
        ]

    alone = [solver.solve([row])[0] for row in rows()]
    batch = solver.solve(rows())
    return [
        Check(name, max(furthest(a, b) for a, (_, b) in zip(mels, cases, strict=True)), FLOW)
        for name, mels in (("mels one by one", alone), ("mels in one ragged batch", batch))
    ]


def _vocoder(device: str) -> list[Check]:
    back = GOLDEN / "indextts2-back"
    vocoder = WindowVocoder(load_vocoder(back, device=device), device=device)
    data = load_file(back / "bigvgan.safetensors")
    names = [name for name in data if re.fullmatch(r"mel_(full_)?\d+", name)]
    mels = [data[name][0].numpy() for name in names]
    known = [data[name.replace("mel_", "wav_")][0, 0] for name in names]
    waves = vocoder.vocode([VocodeJob("golden", mel, 0, mel.shape[1]) for mel in mels])
    return [Check("waves", max(furthest(a, b) for a, b in zip(waves, known, strict=True)), WAVE)]
