"""Step 6b: what the GPT knew before each code of every recording. `python -m training.nano.latents`.

s2mel gets these latents beside the codes (indextts2-back.md 3.1). They are the server's own second pass, over the codes
of a recording, over its rough codes and over the written ones. When the GPT has learnt on, move them away and make
them anew.
"""

from __future__ import annotations

import argparse
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deployments.indextts2.gpt.generation import latents_of
from deployments.indextts2.text.tokenizer import BpeTokenizer
from training.nano.gpt import GptNetworks
from training.nano.gpt_data import text_ids
from training.nano.s2mel_data import VARIANTS, coded
from training.nano.shard import Row, load_shards, make_missing_shards
from training.nano.train_loop import average_of
from training.nano.workspace import Workspace


class LatentMaker:
    """The GPT with averaged weights, as served, and the recordings of a split to prompt it with."""

    def __init__(self, workspace: Workspace, split: str) -> None:
        self._networks = GptNetworks().eval().requires_grad_(False)
        self._networks.load_state_dict(average_of(workspace.run("gpt")))
        self._networks.gpt.pack()
        self._tokenizer = BpeTokenizer(workspace.bpe)
        self._of_speaker: dict[str, list[Row]] = defaultdict(list)
        for row in load_shards(workspace.codes(split)):
            self._of_speaker[row["speaker"]].append(row)

    def made(self, row: Row) -> Row:
        """(n, D) for every variant of the codes, each with another prompt of the speaker."""
        named = {"text": row["text"], "speaker": row["speaker"]}
        return named | {variant: self._latents(row, variant) for variant in VARIANTS}

    def _latents(self, row: Row, variant: str) -> np.ndarray:
        found = latents_of(self._networks.gpt, self._prefix(row, variant), row[variant].tolist())
        return found.numpy().astype(np.float16)

    @torch.inference_mode()
    def _prefix(self, row: Row, variant: str) -> Tensor:
        """The prompt depends on the recording and the variant alone, so that a resumed run makes the same."""
        rows = self._of_speaker[row["speaker"]]
        others = [other for other in rows if other["text"] != row["text"]] or rows
        chosen = others[zlib.crc32(f"{variant} {row['text']}".encode()) % len(others)]
        features = torch.from_numpy(chosen["reference"].astype(np.float32))[None]
        gpt = self._networks.gpt
        no_emotion = torch.zeros(gpt.dims.model_dim)
        return gpt.prefix(
            self._networks.latents(features)[0], no_emotion, text_ids(self._tokenizer, row["text"])
        )


def write_latents(workspace: Workspace, split: str) -> None:
    """The shards that are missing."""
    maker = LatentMaker(workspace, split)
    make_missing_shards(
        workspace.codes(split),
        workspace.latents(split),
        lambda path: [maker.made(row) for row in coded(workspace, split, path.name)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    torch.set_num_threads(1)
    for split in ("held_out", "train"):
        write_latents(workspace, split)


if __name__ == "__main__":
    main()
