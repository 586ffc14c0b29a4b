"""Step 6a: how the sentences sound that nobody has spoken. `python -m training.nano.phonemes`.

`phonemes.tsv` holds a text and the numbers of the teacher's symbols for it per line. Spliced sentences
(`splicer.py`) are made from it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

from misaki.espeak import EspeakFallback

from training.nano.texts import utterance
from training.nano.workspace import Workspace, write_atomically

# Recordings are made from the first utterances; this many shards of 40 leave the others unheard.
FIRST = 12_000
COUNT = 42_000


def vocabulary_of(kokoro: Path) -> dict[str, int]:
    """Number of every symbol that the teacher knows."""
    stored = json.loads((kokoro / "tokenizer.json").read_text(encoding="utf-8"))
    found: dict[str, int] = stored["model"]["vocab"]
    return found


class Phonemizer:
    """Text to the numbers of the teacher's symbols: American phonemes, the same for every voice."""

    def __init__(self, kokoro: Path) -> None:
        self._vocabulary = vocabulary_of(kokoro)
        self._espeak = EspeakFallback(british=False)

    def numbers(self, text: str) -> list[int]:
        """Without the silence at both ends; symbols the teacher does not know are left out."""
        spoken, _ = self._espeak(SimpleNamespace(text=text))
        return [self._vocabulary[symbol] for symbol in spoken or "" if symbol in self._vocabulary]


def read_phonemes(workspace: Workspace) -> list[tuple[str, list[int]]]:
    """(text, numbers of its symbols) per sentence; empty before this step has run."""
    if not workspace.phonemes.exists():
        return []
    lines = workspace.phonemes.read_text(encoding="utf-8").splitlines()
    return [
        (text, [int(number) for number in numbers.split()])
        for text, numbers in (line.split("\t") for line in lines)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    parser.add_argument("--count", type=int, default=COUNT, help="sentences wanted")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    if workspace.phonemes.exists():
        return
    phonemizer = Phonemizer(workspace.kokoro)
    sentences = workspace.texts.read_text(encoding="utf-8").splitlines()
    lines = []
    for index in range(FIRST, FIRST + arguments.count):
        text = utterance(sentences, index)
        lines.append(f"{text}\t{' '.join(map(str, phonemizer.numbers(text)))}\n")
        if len(lines) % 2000 == 0:
            print(f"{len(lines)} of {arguments.count}", flush=True)
    content = "".join(lines)
    write_atomically(workspace.phonemes, lambda path: path.write_text(content, encoding="utf-8"))


if __name__ == "__main__":
    main()
