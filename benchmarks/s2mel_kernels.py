"""What number formats and compilation give S2Mel on a CPU, and how much they move the mel.

    python -m benchmarks.s2mel_kernels --checkpoint indextts2-nano

One stock voice of the checkpoint speaks the codes of another's recording, on one thread, with the same noise in every
variant. Variants run in turn and ratios are taken within a round. The distance is the mean absolute difference of the
log-mel from that of float32; that of fewer steps stands beside it as a yardstick.

`int8` quantises weights per channel and activations per call, with the scale of their largest value. It is not offered
by the server: a row would sound differently in other company, and torch has announced the end of its quantised tensors.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.codec.codebook import CodeEmbedding, load_code_embedding
from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.s2mel.networks import S2MelNetworks, load_s2mel
from deployments.indextts2.speaker.encoder import VoiceEncoder
from deployments.voices.decode import decode_reference
from deployments.voices.profile import VoiceProfile
from deployments.weights.registry import locate
from serve_app.bench.machine import describe_machine, git_commit

RESULT = Path(__file__).parent / "results" / "s2mel_kernels.json"
SERVED = "float32, packed (served)"
YARDSTICKS = (2, 25)  # steps


class Int8Linear(nn.Module):
    """Weights per channel, activations per call."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scales = weight.abs().amax(1).double() / 127
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(quantised, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self._packed, True)


def plain(checkpoint: IndexTTSCheckpoint) -> S2MelNetworks:
    """float32 with nn.Linear: what was loaded as another type is not packed."""
    networks = served(checkpoint, torch.float64)
    networks.estimator.float()
    return networks


def quantised(checkpoint: IndexTTSCheckpoint) -> S2MelNetworks:
    networks = plain(checkpoint)
    for module in networks.estimator.transformer.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
    return networks


def compiled(checkpoint: IndexTTSCheckpoint) -> S2MelNetworks:
    """All of the velocity network; needs a C++ compiler."""
    networks = plain(checkpoint)
    forward = torch.compile(networks.estimator.forward, dynamic=True)
    networks.estimator.forward = forward  # type: ignore[method-assign]
    return networks


def served(checkpoint: IndexTTSCheckpoint, dtype: torch.dtype = torch.float32) -> S2MelNetworks:
    return load_s2mel(checkpoint.path("s2mel"), checkpoint.config, dtype=dtype)


VARIANTS: dict[str, Callable[[IndexTTSCheckpoint], S2MelNetworks]] = {
    SERVED: served,
    "float32, nn.Linear": plain,
    "bfloat16": partial(served, dtype=torch.bfloat16),
    "int8 linear layers": quantised,
    "torch.compile, float32": compiled,
}


class MelWork:
    """Makes the same mel with any networks: `voice` speaks the codes of `other`."""

    def __init__(
        self,
        networks: S2MelNetworks,
        embedding: CodeEmbedding,
        frames_per_code: Fraction,
        voice: VoiceProfile,
        other: VoiceProfile,
    ) -> None:
        self._prompt, self._style = torch.tensor(voice["mel"]), torch.tensor(voice["style"])
        frames = [voice["mel"].shape[1], mel_frames(len(other["codes"]), frames_per_code)]
        features = [embedding(torch.tensor(part["codes"])) for part in (voice, other)]
        with torch.inference_mode():
            self._mu = torch.cat(networks.length_regulator(features, frames))
        bands = networks.dims.estimator.mel_channels
        self._noise = torch.randn(bands, sum(frames), generator=torch.Generator().manual_seed(0))

    def mel(self, solver: FlowSolver, steps: int) -> Tensor:
        row = solver.admit(self._noise, self._prompt, self._mu, self._style, steps=steps)
        return solver.solve([row])[0]


def stock_voices(checkpoint: IndexTTSCheckpoint, folder: Path) -> list[VoiceProfile]:
    """The first two."""
    paths = sorted((folder / "voices").iterdir())[:2]
    return VoiceEncoder.load(checkpoint).encode([decode_reference(path.read_bytes()) for path in paths])


def times(solvers: dict[str, FlowSolver], work: MelWork, steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a solve, by variant and round; the first round, which compiles, is not counted."""
    found: dict[str, list[float]] = {name: [] for name in solvers}
    for count in range(rounds + 1):
        for name, solver in solvers.items():
            started = time.perf_counter()
            work.mel(solver, steps)
            if count:
                found[name].append(time.perf_counter() - started)
    return found


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean())


def main(
    checkpoint: Annotated[str, typer.Option(help="name or path")] = "indextts2-nano",
    steps: Annotated[int, typer.Option(help="Euler steps")] = 4,
    rounds: Annotated[int, typer.Option(help="timed rounds")] = 7,
    only: Annotated[list[str] | None, typer.Option(help="variants beside the served one")] = None,
    output: Annotated[Path, typer.Option(help="JSON to write")] = RESULT,
) -> None:
    torch.set_num_threads(1)
    folder = locate(checkpoint)
    files = IndexTTSCheckpoint(folder)
    makers = {name: make for name, make in VARIANTS.items() if not only or name in (SERVED, *only)}
    networks = {name: make(files) for name, make in makers.items()}
    solvers = {name: FlowSolver(each.estimator) for name, each in networks.items()}
    embedding = load_code_embedding(files.path("semantic_codec"))
    work = MelWork(networks[SERVED], embedding, files.frames_per_code, *stock_voices(files, folder))
    exact = work.mel(solvers[SERVED], steps)
    spent = times(solvers, work, steps, rounds)
    rows = {
        name: {
            "time": statistics.median(a / b for a, b in zip(spent[name], spent[SERVED], strict=True)),
            "distance": distance(work.mel(solver, steps), exact),
        }
        for name, solver in solvers.items()
    }
    yardsticks = {str(count): distance(work.mel(solvers[SERVED], count), exact) for count in YARDSTICKS}
    table = Table(
        "variant", "time", "mel distance", title=f"{checkpoint}, {exact.shape[1]} frames, {steps} steps"
    )
    for name, row in rows.items():
        table.add_row(name, f"× {row['time']:.2f}", f"{row['distance']:.4f}")
    for count, moved in yardsticks.items():
        table.add_row(f"{count} steps", "", f"{moved:.4f}")
    Console().print(table)
    report = {"checkpoint": checkpoint, "steps": steps, "variants": rows, "steps_distance": yardsticks}
    report |= {"machine": asdict(describe_machine()), "commit": git_commit()}
    output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
