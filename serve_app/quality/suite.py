"""A list of named settings to be measured on one server, and the folder that its results go to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from serve_app.quality import EvalError
from serve_app.quality.figures import figures
from serve_app.quality.lines import LineSet, built_in, cast, read_set, recordings
from serve_app.quality.result import Result, read_result, write_result

MANIFEST = "suite.json"


class Suite(BaseModel):
    """A YAML or JSON file. Paths start at the file's folder."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1)
    notes: str = Field("", description="what a reader of the report should know")
    model: str = "tts-1"
    set: str | None = Field(None, description="JSON Lines; the built-in sentences if left out")
    count: int | None = Field(None, ge=2, description="only the first so many lines of the set")
    voice: list[str] = Field(default_factory=list, description="in turn, for lines that name none")
    voices: str | None = Field(None, description="folder of recordings named like the voices")
    clone: bool = Field(False, description="the recordings are sent along and are the voices")
    fields: dict[str, Any] = Field(default_factory=dict, description="of every request")
    baseline: str = Field(description="the setting that the others are compared with")
    settings: dict[str, dict[str, Any] | None] = Field(
        min_length=1, description="request fields by name, `model` among them"
    )

    @model_validator(mode="after")
    def _baseline_is_a_setting(self) -> Self:
        if self.baseline not in self.settings:
            raise ValueError(f"baseline {self.baseline!r} is none of the settings {', '.join(self.settings)}")
        return self

    def requests(self) -> dict[str, Mapping[str, Any]]:
        """Request fields by setting, those of every request included."""
        return {name: {**self.fields, **(fields or {})} for name, fields in self.settings.items()}

    def lines(self, folder: Path) -> LineSet:
        chosen = built_in() if self.set is None else read_set(folder / self.set)
        known = recordings(folder / self.voices) if self.voices is not None else {}
        return cast(chosen.first(self.count), self.voice, known, self.clone)


def read_suite(path: Path) -> Suite:
    """EvalError that names the field for a file that is no suite."""
    try:
        return Suite.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EvalError(f"cannot read the suite {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise EvalError(f"{path}: {field + ': ' if field else ''}{first['msg']}") from error


@dataclass(frozen=True)
class SuiteResults:
    """`results` in the order of the suite."""

    title: str
    notes: str
    baseline: str
    results: dict[str, Result]


def write_results(folder: Path, suite: Suite, results: Mapping[str, Result]) -> None:
    """A file per setting and the manifest that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: f"{number:02d}-{_slug(name)}.json" for number, name in enumerate(results)}
    for name, result in results.items():
        write_result(folder / files[name], result, figures(result.items))
    manifest = {"title": suite.title, "notes": suite.notes, "baseline": suite.baseline, "files": files}
    (folder / MANIFEST).write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def read_results(folder: Path) -> SuiteResults:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
        results = {name: read_result(folder / file) for name, file in files.items()}
        return SuiteResults(manifest["title"], manifest["notes"], manifest["baseline"], results)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvalError(
            f"{folder} holds no results of `voicegraph eval suite`: {MANIFEST}: {error}"
        ) from error


def find_results(folder: Path) -> list[SuiteResults]:
    """Of the folder itself, or of those of its folders that hold some, by name."""
    if (folder / MANIFEST).is_file():
        return [read_results(folder)]
    found = sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise EvalError(f"{folder} holds no results of `voicegraph eval suite`")
    return [read_results(each) for each in found]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "setting"
