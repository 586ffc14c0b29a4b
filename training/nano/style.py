"""Step 2b: CAM++ styles of every recording, from the real weights. `python -m training.nano.style`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from deployments.speaker_encoder.campplus import load_campplus
from training.nano.acoustics import style_input, to_16k
from training.nano.shard import load_shard, save_shard
from training.nano.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    torch.set_num_threads(1)
    network = load_campplus(workspace.campplus)
    for split in ("held_out", "train"):
        for source in sorted(workspace.audio(split).glob("*.npz")):
            target = workspace.styles(split) / source.name
            if target.exists():
                continue
            rows = []
            for row in load_shard(source):
                wave = torch.from_numpy(row["wave"].astype(np.float32) / 32767)
                style = network(style_input(to_16k(wave))[None])[0]
                rows.append({"speaker": row["speaker"], "style": style.numpy()})
            save_shard(target, rows)
            print(f"{split} {source.stem}", flush=True)


if __name__ == "__main__":
    main()
