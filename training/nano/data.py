"""Step 1: teacher recordings in numbered shards. `python -m training.nano.data [--shards 40] [--root DIR]`.

Shard i depends on its number and the seeds only, so any process may make any shard, in any order, again.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

from training.nano.shard import Row, save_shard
from training.nano.speakers import Speaker, speakers
from training.nano.teacher import Teacher, Utterance
from training.nano.texts import HELD_OUT, utterance
from training.nano.workspace import Workspace

ROWS_PER_SHARD = 40
HELD_OUT_ROWS = 120
DATA_SEED = 11


def training_row(teacher: Teacher, cast: list[Speaker], sentences: list[str], index: int) -> Utterance:
    """Utterance number `index` of the training set."""
    rng = np.random.default_rng((DATA_SEED, index))
    voices = [speaker for speaker in cast if not speaker.held_out]
    speaker = voices[int(rng.integers(len(voices)))]
    return teacher.speak(utterance(sentences, index), speaker, round(float(rng.uniform(0.9, 1.15)), 3))


def held_out_row(teacher: Teacher, cast: list[Speaker], sentences: list[str], index: int) -> Utterance:
    """Held-out sentence number `index`, spoken by the held-out speakers in turn."""
    voices = [speaker for speaker in cast if speaker.held_out]
    return teacher.speak(sentences[-HELD_OUT:][index], voices[index % len(voices)], 1.0)


def make_shard(workspace: Workspace, teacher: Teacher, split: str, number: int) -> float:
    """Write one shard and return its seconds of audio."""
    cast = speakers(workspace.kokoro / "voices")
    sentences = workspace.texts.read_text(encoding="utf-8").splitlines()
    make = training_row if split == "train" else held_out_row
    first = number * ROWS_PER_SHARD
    made = [make(teacher, cast, sentences, index) for index in range(first, first + ROWS_PER_SHARD)]
    rows: list[Row] = [
        {field.name: getattr(one, field.name) for field in dataclasses.fields(one)} for one in made
    ]
    save_shard(workspace.audio(split) / f"{number:05d}.npz", rows)
    return sum(len(one.wave) for one in made) / 22_050


def plan(shards: int, first: int = 0) -> list[tuple[str, int]]:
    """Shards from `first` on; the held-out ones come after the first two, so that later steps can start early."""
    wanted = [("train", number) for number in range(first, first + shards)]
    wanted[2:2] = [("held_out", number) for number in range(HELD_OUT_ROWS // ROWS_PER_SHARD)]
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    parser.add_argument(
        "--shards", type=int, default=40, help="training shards wanted, about 2.4 min of audio each"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first shard; nano.json has those published"
    )
    parser.add_argument(
        "--backwards", action="store_true", help="from the last shard on: a second process, until both meet"
    )
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    teacher = Teacher(workspace.kokoro)
    wanted = plan(arguments.shards, arguments.first)
    for split, number in reversed(wanted) if arguments.backwards else wanted:
        if (workspace.audio(split) / f"{number:05d}.npz").exists():
            continue
        started = time.process_time()
        seconds = make_shard(workspace, teacher, split, number)
        spent = time.process_time() - started
        print(f"{split} {number}: {seconds:.0f} s of audio in {spent:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
