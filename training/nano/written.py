"""Step 6c: the codes of what was said, for recordings and scores. `python -m training.nano.written`.

Their phones are right where the encoder's are not. The GPT learns to say them; s2mel hears them beside the encoder's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from training.nano.code_writer import CodeWriter
from training.nano.shard import Row, load_shard, make_missing_shards
from training.nano.train_loop import average_of
from training.nano.workspace import Workspace
from training.nano.writer_data import SCORE_FIELDS, Readings, batch_of

TOGETHER = 20


class Writer:
    """A trained `CodeWriter` at work."""

    def __init__(self, workspace: Workspace) -> None:
        self._readings = Readings(workspace)
        self._network = CodeWriter().eval().requires_grad_(False)
        self._network.load_state_dict(average_of(workspace.run("code_writer")))

    def rows(self, scores: Sequence[Row], counts: Sequence[int | None]) -> list[Row]:
        """Codes and phones of rows with the fields of a `Score`; `counts` as in `tracks.track_of`."""
        order = sorted(range(len(scores)), key=lambda index: int(scores[index]["durations"].sum()))
        found: dict[int, Row] = {}
        for first in range(0, len(order), TOGETHER):
            chosen = order[first : first + TOGETHER]
            made = self._batch([scores[index] for index in chosen], [counts[index] for index in chosen])
            found |= dict(zip(chosen, made, strict=True))
        return [found[index] for index in range(len(scores))]

    @torch.inference_mode()
    def _batch(self, scores: list[Row], counts: list[int | None]) -> list[Row]:
        tracks = [self._readings.track(row, count) for row, count in zip(scores, counts, strict=True)]
        styles = [self._readings.style(row) for row in scores]
        with torch.autocast("cpu", torch.bfloat16):
            scores_of_codes = self._network(batch_of(tracks, styles, None, "cpu"))
        codes = scores_of_codes.argmax(-1).numpy().astype(np.int16)
        return [
            {
                "text": row["text"],
                "speaker": row["speaker"],
                "codes": code[: len(track)],
                "phone": track.phone,
            }
            for row, track, code in zip(scores, tracks, codes, strict=True)
        ]


def write_recordings(workspace: Workspace, writer: Writer, split: str) -> None:
    """The shards that are missing, code for code beside those of the encoder."""

    def made(path: Path) -> list[Row]:
        counts = [len(row["codes"]) for row in load_shard(path, ("codes",))]
        return writer.rows(load_shard(workspace.audio(split) / path.name, SCORE_FIELDS), counts)

    make_missing_shards(workspace.codes(split), workspace.written(split), made)


def write_scores(workspace: Workspace, writer: Writer) -> None:
    """The shards that are missing."""

    def made(path: Path) -> list[Row]:
        scores = load_shard(path)
        return writer.rows(scores, [None] * len(scores))

    make_missing_shards(workspace.scores, workspace.written("scores"), made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    torch.set_num_threads(1)
    writer = Writer(workspace)
    for split in ("held_out", "train"):
        write_recordings(workspace, writer, split)
    write_scores(workspace, writer)


if __name__ == "__main__":
    main()
