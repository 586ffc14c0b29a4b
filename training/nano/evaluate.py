"""Figures of the chain on held-out speakers and sentences. `python -m training.nano.evaluate --count 60`.

teacher: the recordings themselves; copy: mel of the recording through the vocoder; resynthesis: codes of the
recording through s2mel and vocoder, with another recording of the speaker as prompt. All networks as served.
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
from torch.nn import functional as F

from deployments.s2mel.flow import FlowSolver
from deployments.s2mel.regulator import target_frames
from deployments.vocoder.istft import IstftDims, IstftVocoder
from serve_app.quality.dnsmos import Dnsmos
from serve_app.quality.listener import word_errors
from serve_app.quality.recogniser import Recogniser
from serve_app.quality.recording import at_measure_rate
from serve_app.quality.speaker import SpeakerEncoder
from training.nano.codes import load_frozen
from training.nano.config import MEL_BANDS, SAMPLE_RATE_HZ
from training.nano.s2mel_data import Recording, recordings
from training.nano.s2mel_start import DirectHead, new_networks
from training.nano.shard import load_shards
from training.nano.workspace import Workspace

PROMPT_SECONDS = (2.5, 4.5)
LISTENED = 30  # recordings kept for human ears
Synthesis = Callable[[int], np.ndarray]


class Chain:
    """Recordings of a split and the trained networks with averaged weights."""

    def __init__(self, workspace: Workspace, split: str, steps: int, guidance: float) -> None:
        self.rows = recordings(workspace, split)
        self.waves = [row["wave"].astype(np.float32) / 32767 for row in load_shards(workspace.audio(split))]
        self._steps, self._guidance = steps, guidance
        semantic = load_frozen(workspace)
        self._embedding = semantic.project(semantic.codec.book.codebook.weight[None])[0]
        self.vocoder = IstftVocoder(IstftDims())
        self.vocoder.load_state_dict(_average(workspace, "vocoder"))
        self.networks = new_networks(torch.zeros(MEL_BANDS)).requires_grad_(False)
        self.head = DirectHead(torch.zeros(MEL_BANDS)).requires_grad_(False)
        trained = workspace.run("s2mel") / "checkpoint.pt"
        if trained.exists():
            parts = torch.load(trained, map_location="cpu", weights_only=True)["parts"]
            self.networks.load_state_dict(parts["average"]["state"])
            if "head" in parts:
                self.head.load_state_dict(parts["head"])

    def prompt_of(self, index: int) -> int:
        """Another recording of the same speaker, of a length fit for a reference."""
        row = self.rows[index]
        others = [
            other for other, found in enumerate(self.rows) if found.speaker == row.speaker and other != index
        ]
        low, high = PROMPT_SECONDS
        return min(others, key=lambda other: abs(len(self.waves[other]) / SAMPLE_RATE_HZ - (low + high) / 2))

    def teacher(self, index: int) -> np.ndarray:
        return self.waves[index]

    @torch.inference_mode()
    def copy(self, index: int) -> np.ndarray:
        return self._vocode(torch.from_numpy(self.rows[index].mel.astype(np.float32)).T)

    @torch.inference_mode()
    def resynthesis(self, index: int) -> np.ndarray:
        return self._vocode(self.mel(self.rows[index], self.rows[self.prompt_of(index)], index))

    @torch.inference_mode()
    def direct(self, index: int) -> np.ndarray:
        codes = torch.from_numpy(self.rows[index].codes)
        mu = self.networks.length_regulator(
            [F.embedding(codes, self._embedding)], [target_frames(len(codes))]
        )
        style = torch.from_numpy(self.rows[self.prompt_of(index)].style)
        return self._vocode(self.head(mu[0][None], style[None])[0].T)

    def mel(self, row: Recording, prompt: Recording, seed: int) -> torch.Tensor:
        """(80, T)"""
        features = [F.embedding(torch.from_numpy(part.codes), self._embedding) for part in (prompt, row)]
        frames = [len(prompt.mel), target_frames(len(row.codes))]
        mu = torch.cat(self.networks.length_regulator(features, frames))
        noise = torch.randn(MEL_BANDS, sum(frames), generator=torch.Generator().manual_seed(seed))
        solver = FlowSolver(self.networks.estimator)
        prompt_mel = torch.from_numpy(prompt.mel.astype(np.float32)).T
        style = torch.from_numpy(prompt.style)
        admitted = solver.admit(noise, prompt_mel, mu, style, steps=self._steps, guidance=self._guidance)
        return solver.solve([admitted])[0]

    def _vocode(self, mel: torch.Tensor) -> np.ndarray:
        found: np.ndarray = self.vocoder(mel[None])[0].numpy()
        return found


def _average(workspace: Workspace, name: str) -> dict[str, torch.Tensor]:
    stored = torch.load(workspace.run(name) / "checkpoint.pt", map_location="cpu", weights_only=True)
    found: dict[str, torch.Tensor] = stored["parts"]["average"]["state"]
    return found


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
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--steps", type=int, default=10, help="Euler steps of s2mel")
    parser.add_argument("--guidance", type=float, default=0.7)
    parser.add_argument("--split", choices=["held_out", "train"], default="held_out")
    parser.add_argument("--only", nargs="*", default=["teacher", "copy", "resynthesis"])
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    torch.set_num_threads(1)
    chain = Chain(workspace, arguments.split, arguments.steps, arguments.guidance)
    ears = Ears()
    table = {
        "teacher": chain.teacher,
        "copy": chain.copy,
        "direct": chain.direct,
        "resynthesis": chain.resynthesis,
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
