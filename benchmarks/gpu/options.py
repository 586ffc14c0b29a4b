"""What all scripts of this folder may be told, and the workload behind each size."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import random_checkpoint
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.weights.tensors import dtype_named


@dataclass(frozen=True)
class Size:
    """How much each script does."""

    dtypes: tuple[str, ...]
    codes: int  # that the GPT checks decode
    euler_steps: int  # of the S2Mel checks
    prompt_frames: int  # of the voice's mel, 86 a second
    mel_frames: int  # of the vocoder checks
    reference_s: float  # of the recording that is encoded
    text_tokens: int
    segment_codes: int  # of a segment of the graph's requests; 50 are a second
    slots: int  # of the graph's GPT: two per segment under way
    patches: int  # of VoxCPM's requests; six are a second


ALL = ("float32", "bfloat16", "float16")

SIZES = {
    "tiny": Size(("float32", "bfloat16"), 8, 2, 30, 48, 0.5, 8, 45, 12, 3),
    "mid": Size(ALL, 24, 4, 258, 200, 3.0, 30, 100, 64, 20),
    "full": Size(ALL, 32, 4, 430, 200, 5.0, 30, 120, 144, 40),
}


@dataclass(frozen=True)
class Options:
    size: str
    device: str
    directory: Path | None
    budget_s: float
    output: Path | None
    words: tuple[str, ...]  # what the script itself offers

    @property
    def work(self) -> Size:
        return SIZES[self.size]

    @property
    def dtypes(self) -> dict[str, torch.dtype]:
        """The number formats to look at, the exact one first."""
        return {name: dtype_named(name) for name in self.work.dtypes}

    @property
    def on_gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    def checkpoint(self) -> IndexTTSCheckpoint:
        """That of `directory`, or random weights, which are written once: 4 GB in float16 at full size."""
        if self.directory is not None:
            return IndexTTSCheckpoint(self.directory)
        directory = scratch_directory(self.size, "config.yaml", Path(random_checkpoint.__file__))
        dtype = torch.float16 if self.size == "full" else torch.float32
        return IndexTTSCheckpoint(random_checkpoint.write_checkpoint(directory, self.size, dtype=dtype))


def scratch_directory(name: str, finished: str, made_by: Path) -> Path:
    """Where random weights are written once. The file `finished` says that they are complete; it is taken away if
    the code in `made_by` is newer."""
    directory = Path(tempfile.gettempdir()) / f"voicegraph-random-{name}"
    mark = directory / finished
    if mark.is_file() and mark.stat().st_mtime < made_by.stat().st_mtime:
        mark.unlink()
    return directory


def parse(
    what: str, argv: list[str] | None, choices: dict[str, tuple[str, ...]], *, budget_s: float
) -> Options:
    """`choices`: one option of the script, to be given any number of times; all of them without it."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", choices=random_checkpoint.CONFIGS, default="full", help="of the random weights"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--directory", type=Path, help="a checkpoint; default: random weights, made on the way"
    )
    parser.add_argument("--budget-s", type=float, default=budget_s, help="no part starts after that")
    parser.add_argument(
        "--output", type=Path, help="folder of the JSON; default: benchmarks/results/gpu/<device>"
    )
    for name, words in choices.items():
        parser.add_argument(f"--{name}", dest="words", action="append", choices=words)
    given = parser.parse_args(argv)
    (offered,) = choices.values() or ((),)
    words = tuple(getattr(given, "words", None) or offered)
    return Options(given.size, given.device, given.directory, given.budget_s, given.output, words)
