"""The PyPI package `voxcpm` in a process and an environment of its own, asked line by line."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

SCRIPT = Path(__file__).with_name("voxcpm_package.py")


@dataclass(frozen=True)
class Spoken:
    """What was made, by anyone: seconds until the first chunk, and in all."""

    first_s: float
    total_s: float
    chunks: int
    audio_s: float

    @property
    def speed(self) -> float:
        """Seconds of audio made per second: the inverse of the real-time factor."""
        return self.audio_s / self.total_s


class Package:
    """A context: the process ends with it. `about`: versions in its environment."""

    def __init__(self, python: Path, directory: Path, threads: int) -> None:
        """`python`: an interpreter that can import `voxcpm`. Returns when the model is loaded; raises RuntimeError if
        it cannot be."""
        # Nothing of this environment: it has other versions.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(python), str(SCRIPT), str(directory), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        try:
            self.about = self._answer()
        except RuntimeError:
            self.close()
            raise

    def __enter__(self) -> Package:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def speak(self, text: str, patches: int) -> Spoken:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"text": text, "patches": patches}) + "\n")
        self._process.stdin.flush()
        spoken = Spoken(**self._answer())
        if spoken.chunks != patches:
            raise RuntimeError(f"the package made {spoken.chunks} chunks instead of {patches}")
        return spoken

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process with the package `voxcpm` has ended; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer
