"""A recording of every held-out speaker, of a length that suits a reference: stock voices of the export, and with
`python -m training.nano.references --target benchmarks/quality/voices/held-out` the voices of the quality suites.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import soundfile

from training.nano.config import SAMPLE_RATE_HZ
from training.nano.shard import Row, load_shards
from training.nano.workspace import Workspace

REFERENCE_S = 4.5
STOCK_VOICES = {"mix_f000": "clara", "mix_m001": "edgar", "mix_f004": "june", "mix_m005": "oscar"}


def references(workspace: Workspace) -> dict[str, Row]:
    """By speaker: the recording whose length is nearest to REFERENCE_S."""
    found: dict[str, Row] = {}
    for row in load_shards(workspace.audio("held_out")):
        best = found.get(row["speaker"])
        if best is None or _too_far(row) < _too_far(best):
            found[row["speaker"]] = row
    return found


def _too_far(row: Row) -> float:
    return abs(len(row["wave"]) / SAMPLE_RATE_HZ - REFERENCE_S)


def write_references(rows: Mapping[str, Row], target: Path) -> None:
    """`target/NAME.flac` for every name."""
    target.mkdir(parents=True, exist_ok=True)
    for name, row in rows.items():
        soundfile.write(target / f"{name}.flac", row["wave"], SAMPLE_RATE_HZ, format="FLAC")


def stock_voices(workspace: Workspace) -> dict[str, Row]:
    """By the names they are published under. In smoke tests not all speakers exist."""
    found = references(workspace)
    return {name: found[speaker] for speaker, name in STOCK_VOICES.items() if speaker in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    parser.add_argument("--target", type=Path, required=True)
    arguments = parser.parse_args()
    write_references(references(Workspace(arguments.root)), arguments.target)


if __name__ == "__main__":
    main()
