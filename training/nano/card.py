"""The model card of an export: README.md beside the weights, from what is recorded in nano.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.nano.config import CODEBOOK_SIZE, CONFIG, SEMANTIC_LAYERS, SEMANTIC_WIDTH

TEMPLATE = Path(__file__).with_name("card.md")


def card(summary: Mapping[str, Any]) -> str:
    """`summary` is the content of nano.json (`export.summary`)."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        utterances=summary["utterances"],
        scores=summary["scores"],
        dimensions=_rows(_dimensions("bigvgan" in summary["trainings"])),
        trainings=_rows(
            [name, str(made["steps"]), str(made["core_minutes"])]
            for name, made in summary["trainings"].items()
        ),
        figures=_rows(
            [_figure(measured) for measured in summary["figures"]] or [["not measured yet"] + [""] * 7]
        ),
        files=_rows([f"`{name}`", f"`{sha256}`"] for name, sha256 in summary["sha256"].items()),
    )


def _dimensions(bigvgan: bool) -> list[list[str]]:
    gpt, s2mel = CONFIG["gpt"], CONFIG["s2mel"]
    other = ", or a BigVGAN of 1 M parameters (`vocoder.type`), less trained and worse" if bigvgan else ""
    return [
        ["semantic encoder", f"Wav2Vec2-BERT, {SEMANTIC_LAYERS} layers of {SEMANTIC_WIDTH}"],
        ["codec", f"{CODEBOOK_SIZE} codes, 50 per second"],
        ["GPT", f"{gpt['layers']} layers of {gpt['model_dim']}, {gpt['number_text_tokens']} pieces of text"],
        ["s2mel", f"DiT of {s2mel['DiT']['depth']} layers of {s2mel['DiT']['hidden_dim']}"],
        ["vocoder", f"{CONFIG['vocoder']['type']}, 22 050 Hz{other}"],
    ]


def _figure(measured: Mapping[str, Any]) -> list[str]:
    percents = [f"{measured[name]:.1f}" for name in ("wer", "cer")]
    others = [f"{measured[name]:.2f}" for name in ("similarity", "dnsmos", "rtf")]
    by_s2mel = measured["what"] in {"codes", "resynthesis", "chunks", "written"}
    flow = [str(measured["steps"]), str(measured["guidance"])] if by_s2mel else ["", ""]
    return [measured["what"], *flow, *percents, *others]


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
