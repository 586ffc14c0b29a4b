"""Step 6a: how the teacher would say what nobody records. `python -m training.nano.scores [--shards 80] [--root DIR]`.

The wave is nine tenths of the teacher's work. Without it an hour of speech takes half a minute of one core: symbols,
their durations, pitch and energy. `code_writer` knows the codes that belong to them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from training.nano.shard import save_shard
from training.nano.speakers import Speaker, speakers
from training.nano.teacher import Score, Teacher
from training.nano.texts import utterance
from training.nano.workspace import Workspace

ROWS_PER_SHARD = 200
SCORE_SEED = 12
# Recordings are made from the first utterances.
FIRST = 12_000


def score(teacher: Teacher, cast: list[Speaker], sentences: list[str], index: int) -> Score:
    """Score number `index`; the speaker is never a held-out one."""
    rng = np.random.default_rng((SCORE_SEED, index))
    speaker = cast[int(rng.integers(len(cast)))]
    speed = round(float(rng.uniform(0.9, 1.15)), 3)
    return teacher.score(utterance(sentences, FIRST + index), speaker, speed)


def write_scores(workspace: Workspace, teacher: Teacher, number: int) -> None:
    cast = [speaker for speaker in speakers(workspace.kokoro / "voices") if not speaker.held_out]
    sentences = workspace.texts.read_text(encoding="utf-8").splitlines()
    first = number * ROWS_PER_SHARD
    made = [score(teacher, cast, sentences, index) for index in range(first, first + ROWS_PER_SHARD)]
    save_shard(workspace.scores / f"{number:05d}.npz", [vars(one) for one in made])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    parser.add_argument("--shards", type=int, default=80, help="about 12 min of speech each")
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    teacher = Teacher(workspace.kokoro, silent=True)
    for number in range(arguments.first, arguments.first + arguments.shards):
        if not (workspace.scores / f"{number:05d}.npz").exists():
            write_scores(workspace, teacher, number)
            print(f"scores {number}", flush=True)


if __name__ == "__main__":
    main()
