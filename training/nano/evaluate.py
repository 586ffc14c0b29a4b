"""Figures of the chain on held-out speakers and sentences. `python -m training.nano.evaluate`.

teacher: the recordings themselves; copy: mel of the recording through the vocoder; codes: codes of the
recording through s2mel and vocoder, with another recording of the speaker as prompt; resynthesis: the same with the
GPT's latents beside the codes, as in the server; chunks: the same as a stream is made; written: the same from the codes
of what was said (`written.py`), the best that a GPT can do. All networks as served.
Text to speech is measured through a server, by `voicegraph eval`.
direct: codes through the length regulator and its training-only head; an early sign of what the codes carry.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from serve_app.quality.dnsmos import Dnsmos
from serve_app.quality.listener import word_errors
from serve_app.quality.recogniser import Recogniser
from serve_app.quality.recording import at_measure_rate
from serve_app.quality.speaker import SpeakerEncoder
from training.nano.chain import Chain
from training.nano.config import SAMPLE_RATE_HZ
from training.nano.data import HELD_OUT_ROWS
from training.nano.workspace import Workspace

LISTENED = 30  # recordings kept for human ears
Synthesis = Callable[[int], np.ndarray]


class Ears:
    """The measures of `voicegraph eval`, so that figures of single stages compare with those of a server."""

    def __init__(self) -> None:
        self._recogniser, self._speakers, self._dnsmos = Recogniser(), SpeakerEncoder(), Dnsmos()

    def measure(self, text: str, wave: np.ndarray, reference: np.ndarray) -> Heard:
        """Of waves at 22 050 Hz; `reference` is another recording of the voice."""
        wave, reference = (at_measure_rate(part, SAMPLE_RATE_HZ) for part in (wave, reference))
        words = word_errors(text, self._recogniser.hear(wave))
        overall, p808 = self._dnsmos.score(wave)
        similarity = float(self._speakers.embed(wave) @ self._speakers.embed(reference))
        return Heard(text=text, similarity=similarity, dnsmos=overall, p808=p808, **words)


@dataclass(frozen=True)
class Heard:
    text: str
    heard: str
    words: int
    errors: int
    chars: int
    char_errors: int
    similarity: float
    dnsmos: float
    p808: float


def figures(chain: Chain, ears: Ears, make: Synthesis, count: int, listen: Path) -> dict[str, float]:
    """WER, CER, similarity to the prompt recording, DNSMOS and real-time factor over `count` recordings."""
    found: list[Heard] = []
    seconds = spent = 0.0
    for index in range(count):
        started = time.process_time()
        wave = make(index)
        spent += time.process_time() - started
        seconds += len(wave) / SAMPLE_RATE_HZ
        found.append(ears.measure(chain.rows[index].text, wave, chain.waves[chain.prompt_of(index)]))
        if index < LISTENED:
            soundfile.write(listen / f"{index:03d}.wav", wave, SAMPLE_RATE_HZ)
    (listen / "heard.txt").write_text("\n".join(f"{one.text}\t{one.heard}" for one in found), "utf-8")
    words = sum(one.words for one in found)
    return {
        "wer": 100 * sum(one.errors for one in found) / words,
        "cer": 100 * sum(one.char_errors for one in found) / sum(one.chars for one in found),
        "similarity": float(np.mean([one.similarity for one in found])),
        "dnsmos": float(np.mean([one.dnsmos for one in found])),
        "p808": float(np.mean([one.p808 for one in found])),
        "rtf": spent / seconds,
        "words": float(words),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    parser.add_argument(
        "--count", type=int, default=HELD_OUT_ROWS, help="recordings; all unless fewer are asked for"
    )
    parser.add_argument("--steps", type=int, default=10, help="Euler steps of s2mel")
    parser.add_argument("--guidance", type=float, default=0.7)
    parser.add_argument("--split", choices=["held_out", "train"], default="held_out")
    parser.add_argument(
        "--only", nargs="*", default=["teacher", "copy", "codes", "resynthesis", "chunks", "written"]
    )
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    torch.set_num_threads(1)
    chain = Chain(workspace, arguments.split, arguments.steps, arguments.guidance)
    ears = Ears()
    table = {
        "teacher": chain.teacher,
        "copy": chain.copy,
        "direct": chain.direct,
        "codes": chain.codes_alone,
        "resynthesis": chain.resynthesis,
        "chunks": chain.chunks,
        "written": chain.written,
    }
    for name in arguments.only:
        listen = workspace.run(f"listen/{arguments.split}/{name}")
        found = figures(chain, ears, table[name], min(arguments.count, len(chain.rows)), listen)
        line = {
            "what": name,
            "split": arguments.split,
            "steps": arguments.steps,
            "guidance": arguments.guidance,
        }
        report = {**line, **{key: round(value, 4) for key, value in found.items()}}
        print(json.dumps(report), flush=True)
        with (workspace.root / "figures.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
