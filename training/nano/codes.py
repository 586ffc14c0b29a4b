"""Step 4b: freeze encoder and codec and write the codes of every recording. `python -m training.nano.codes`.

`semantic.pt` is from now on the code inventory: every folder of codes records its SHA-256 (recipe.md 3).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.nano.config import CODEBOOK_SIZE, PHONE_CLASSES
from training.nano.semantic import Semantic
from training.nano.semantic_data import disguised, valid_frames
from training.nano.shard import Row, load_shard, make_missing
from training.nano.workspace import Workspace, write_atomically

REFERENCE_FRAMES = 200  # 4 s
# The encoder names more phones right in what it was trained on (92 % of the frames) than in anything else (86 %); in
# voices disguised like this it is wrong as often as in new ones. Networks that read its codes learn from both.
ROUGH_NOISE = 0.5


def freeze(workspace: Workspace) -> None:
    """Averaged weights of the codec step to `semantic.pt`; S is scaled to unit deviation."""
    stored = torch.load(workspace.run("codec") / "checkpoint.pt", map_location="cpu", weights_only=True)
    network = Semantic()
    network.load_state_dict(stored["parts"]["average"]["state"])
    book = network.codec.book
    with torch.no_grad():
        book.codebook.weight.copy_(F.normalize(book.codebook.weight, dim=-1))
        usage = stored["parts"]["usage"]["counts"].clamp(min=0)
        spread = _weighted_deviation(network.project(book.codebook.weight[None])[0], usage)
        for heads in (network.code_heads.phone, network.code_heads.prosody, network.code_heads.spectrum):
            assert heads is not None
            heads.weight.mul_(spread)
        book.out_project.weight_g.div_(spread)
        book.out_project.bias.div_(spread)
    write_atomically(workspace.semantic, lambda temporary: torch.save(network.state_dict(), temporary))


def _weighted_deviation(rows: Tensor, weights: Tensor) -> float:
    """Root mean square over all entries of S, each code counted as often as it is used."""
    share = (weights / weights.sum())[:, None]
    centred = rows - (share * rows).sum(0)
    return float((share * centred.square()).sum().div(rows.shape[1]).sqrt())


def load_frozen(workspace: Workspace, device: str = "cpu") -> Semantic:
    network = Semantic()
    network.load_state_dict(torch.load(workspace.semantic, map_location="cpu", weights_only=True))
    return network.to(device).eval().requires_grad_(False)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@torch.inference_mode()
def encode(network: Semantic, row: Row, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Codes (T,) and features (T, W) of one recording as the server computes them: odd last frame masked.

    With `noise` the voice is disguised first, the same way for the same text.
    """
    stacked = torch.from_numpy(row["input"].astype(np.float32))[None]
    if noise:
        stacked = disguised(stacked, np.random.default_rng(zlib.crc32(row["text"].encode())), noise)
    mask = torch.arange(stacked.shape[1])[None] < valid_frames(row)
    features = network.normalised(network.tap(stacked, mask), mask)
    codes = network.nearest(network.points(features))[0].numpy().astype(np.int16)
    return codes, features[0].numpy()


def code_row(network: Semantic, row: Row) -> Row:
    """What s2mel and GPT read: codes, rough codes, phones, and some features as a reference for other sentences."""
    codes, features = encode(network, row)
    first = max(0, (len(features) - REFERENCE_FRAMES) // 2)
    reference = features[first : first + REFERENCE_FRAMES].astype(np.float16)
    return {
        "text": row["text"],
        "speaker": row["speaker"],
        "codes": codes,
        "rough": encode(network, row, ROUGH_NOISE)[0],
        "phone": row["phone"],
        "reference": reference,
    }


def phone_of_codes(workspace: Workspace) -> np.ndarray:
    """(codes,): the phone that each code was most often given to in the training recordings."""
    counts = np.zeros((CODEBOOK_SIZE, PHONE_CLASSES))
    for path in sorted(workspace.codes("train").glob("*.npz")):
        for row in load_shard(path, ("codes", "phone")):
            np.add.at(counts, (row["codes"], row["phone"]), 1)
    return counts.argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    torch.set_num_threads(1)
    if not workspace.semantic.exists():
        freeze(workspace)
    network = load_frozen(workspace)
    fingerprint = digest(workspace.semantic)
    for split in ("held_out", "train"):
        marker = workspace.codes(split) / "semantic.json"
        if marker.exists() and json.loads(marker.read_text())["sha256"] != fingerprint:
            raise SystemExit(f"{marker.parent} was made with another semantic.pt; move it away first")
        marker.write_text(json.dumps({"sha256": fingerprint}))
        make_missing(workspace.features(split), workspace.codes(split), partial(code_row, network))


if __name__ == "__main__":
    main()
