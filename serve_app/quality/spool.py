"""Answers kept on disk between speaking and measuring, so that a long run that broke off can go on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from serve_app.bench.metrics import Arrival, Trace
from serve_app.quality.server import Answer

KEY = "key"


class Spool:
    """`key` says what the answers are answers to; what a folder holds for another key is deleted."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        marker = folder / KEY
        if not (marker.is_file() and marker.read_text(encoding="utf-8") == key):
            self.delete()
            folder.mkdir(parents=True)
            marker.write_text(key, encoding="utf-8")

    def has(self, name: str) -> bool:
        return (self._folder / f"{name}.json").is_file()

    def put(self, name: str, answer: Answer) -> None:
        (self._folder / f"{name}.body").write_bytes(answer.body)
        # Last, because its presence says that the answer is complete.
        stored = asdict(replace(answer, body=b"")) | {"body": None}
        (self._folder / f"{name}.json").write_text(json.dumps(stored), encoding="utf-8")

    def get(self, name: str) -> Answer:
        stored = json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))
        trace = stored["trace"]
        arrivals = tuple(Arrival(**arrival) for arrival in trace["arrivals"])
        return Answer(
            **{
                **stored,
                "trace": Trace(**{**trace, "arrivals": arrivals}),
                "body": (self._folder / f"{name}.body").read_bytes(),
                "ignored": tuple(stored["ignored"]),
            }
        )

    def note(self, name: str, measured: dict[str, Any]) -> None:
        """Keep what was measured of the answer, too."""
        (self._folder / f"{name}.measured").write_text(json.dumps(measured), encoding="utf-8")

    def noted(self, name: str) -> dict[str, Any] | None:
        path = self._folder / f"{name}.measured"
        try:
            measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):  # missing, or cut off by the end of a run
            return None
        return measured

    def delete(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
