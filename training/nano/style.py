"""Step 2b: CAM++ styles of every recording, from the real weights. `python -m training.nano.style`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from deployments.networks.campplus import load_campplus
from training.nano.acoustics import to_16k
from training.nano.shard import Row, make_missing
from training.nano.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    torch.set_num_threads(1)
    network = load_campplus(workspace.campplus)

    def styled(row: Row) -> Row:
        wave = torch.from_numpy(row["wave"].astype(np.float32) / 32767)
        style = network(network.features(to_16k(wave))[None])[0]
        return {"speaker": row["speaker"], "style": style.numpy()}

    for split in ("held_out", "train"):
        make_missing(workspace.audio(split), workspace.styles(split), styled)


if __name__ == "__main__":
    main()
