"""Carrying a training to another machine and its weights back, in few small files (recipe.md 9).

`python -m training.nano.pack out s2mel DIR` writes a root that holds just what that training reads: codes, and styles,
latents and mels in steps of 1/8, or references and written codes. There:
`python -m training.nano.s2mel --root DIR --device cuda`, then `pack slim NAME DIR` leaves averaged weights in fp16 in
parts of at most 15 MB, and here `pack take NAME DIR` puts them into `runs/NAME` for `export` and `evaluate`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.nano.export import half
from training.nano.shard import load_shard, save_shard
from training.nano.train_loop import Work, average_of, save_weights
from training.nano.workspace import Workspace

PART_BYTES = 15_000_000
MEL_STEPS = 8


def pack(source: Workspace, target: Workspace, part: str, megabytes: float) -> int:
    """Copies one held-out shard, then training shards until the size is reached; returns how many of these.

    For `s2mel` (and `sharpen`, whose listener goes along) the references of the GPT stay behind, for `gpt` the mels
    and styles.
    """
    target.root.mkdir(parents=True, exist_ok=True)
    torch.save(half(torch.load(source.semantic, map_location="cpu", weights_only=True)), target.semantic)
    if part == "gpt":
        shutil.copy(source.bpe, target.bpe)
        shutil.copytree(source.written("scores"), target.written("scores"), dirs_exist_ok=True)
    elif (source.run("listener") / "checkpoint.pt").exists():
        save_weights(target.run("listener"), average_of(source.run("listener")), Work())
    paths = [("held_out", path) for path in sorted(source.codes("held_out").glob("*.npz"))[:1]]
    paths += [("train", path) for path in sorted(source.codes("train").glob("*.npz"))]
    for number, (split, path) in enumerate(paths):
        if _size(target.root) > megabytes * 1e6:
            return number - 1
        written = load_shard(source.written(split) / path.name)
        save_shard(target.written(split) / path.name, written, compressed=True)
        if part == "gpt":
            save_shard(target.codes(split) / path.name, load_shard(path), compressed=True)
            continue
        codes = load_shard(path, ("codes", "rough"))
        save_shard(target.codes(split) / path.name, codes, compressed=True)
        latents = load_shard(source.latents(split) / path.name)
        save_shard(target.latents(split) / path.name, latents, compressed=True)
        save_shard(target.styles(split) / path.name, load_shard(source.styles(split) / path.name))
        features = [
            {"text": row["text"], "speaker": row["speaker"], "mel": _coarse(row["mel"])}
            for row in load_shard(source.features(split) / path.name)
        ]
        save_shard(target.features(split) / path.name, features, compressed=True)
    return len(paths) - 1


def _coarse(mel: np.ndarray) -> np.ndarray:
    return (np.rint(mel.astype(np.float32) * MEL_STEPS) / MEL_STEPS).astype(np.float16)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def slim(workspace: Workspace, name: str, target: Path) -> int:
    """Averaged weights of a training as `NAME.K.pt`; returns the number of parts."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, value in half(average_of(workspace.run(name))).items():
        if size + value.nbytes > PART_BYTES and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][key] = value
        size += value.nbytes
    for index, part in enumerate(parts):
        torch.save(part, target / f"{name}.{index}.pt")
    return len(parts)


def take(workspace: Workspace, name: str, source: Path) -> None:
    """The weights of `slim` as a checkpoint."""
    state: dict[str, Tensor] = {}
    for path in sorted(source.glob(f"{name}.*.pt")):
        state |= torch.load(path, map_location="cpu", weights_only=True)
    if not state:
        raise FileNotFoundError(f"no {name}.0.pt in {source}")
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    target = workspace.run(name) / "checkpoint.pt"
    if target.exists():
        target.replace(target.with_name("checkpoint.before-take.pt"))
    save_weights(workspace.run(name), state, Work())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    commands = parser.add_subparsers(dest="command", required=True)
    out = commands.add_parser("out")
    out.add_argument("part", choices=["s2mel", "gpt"])
    out.add_argument("target", type=Path)
    out.add_argument("--megabytes", type=float, default=55.0)
    for command in ("slim", "take"):
        sub = commands.add_parser(command)
        sub.add_argument("name", choices=["s2mel", "sharpen", "gpt", "vocoder", "bigvgan"])
        sub.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    if arguments.command == "out":
        shards = pack(workspace, Workspace(arguments.target), arguments.part, arguments.megabytes)
        print(f"{shards} training shards, {_size(arguments.target) / 1e6:.1f} MB in {arguments.target}")
    elif arguments.command == "slim":
        print(f"{slim(workspace, arguments.name, arguments.folder)} parts in {arguments.folder}")
    else:
        take(workspace, arguments.name, arguments.folder)


if __name__ == "__main__":
    main()
