"""Step 7b: mels of training recordings as s2mel makes them from their codes. `python -m training.nano.generated`.

A vocoder that has only seen mels of recordings makes those of a network buzz. These mels lie frame by frame beside the
recording's wave, so `vocoder` can learn from both (recipe.md 7).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from training.nano.chain import Chain
from training.nano.shard import Row, load_shard, save_shard
from training.nano.workspace import Workspace

SHARDS = 8
STEPS = 2  # as the presets of a small machine do
GUIDANCE = 0.0


def generated(chain: Chain, index: int) -> Row:
    """(T, 80): recording `index` of the chain, prompted by another recording of its speaker."""
    row = chain.rows[index]
    return {"text": row.text, "mel": chain.mel(index).T.numpy().astype(np.float16)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    parser.add_argument("--shards", type=int, default=SHARDS, help="how many of the training shards")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_generated(Workspace(arguments.root), arguments.shards)


def write_generated(workspace: Workspace, shards: int) -> None:
    """The shards that are missing among the first so many."""
    chain = Chain(workspace, "train", STEPS, GUIDANCE)
    first = 0
    for path in sorted(workspace.codes("train").glob("*.npz"))[:shards]:
        count = len(load_shard(path))
        target = workspace.generated("train") / path.name
        if not target.exists():
            save_shard(target, [generated(chain, index) for index in range(first, first + count)])
            print(f"generated {path.stem}", flush=True)
        first += count


if __name__ == "__main__":
    main()
