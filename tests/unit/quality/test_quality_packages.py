"""What is said when measuring packages, or the weights in them, are missing or damaged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from serve_app.quality import EvalError, packages
from serve_app.quality.dnsmos import Dnsmos
from serve_app.quality.packages import (
    EXTRA,
    MEASURES,
    MOONSHINE_WHEELS,
    SHA256,
    WEIGHTS,
    check_measures,
    repair,
)
from serve_app.quality.recogniser import Recogniser
from serve_app.quality.speaker import SpeakerEncoder

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
NETWORKS: dict[str, Callable[[], object]] = {
    "moonshine_cpp": Recogniser,
    "resemblyzer": SpeakerEncoder,
    "speechmos": Dnsmos,
}


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages found before those that are installed; their files hold other bytes, and they cannot be imported."""
    for name in SHA256:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    for package in WEIGHTS:
        (tmp_path / package / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("package", NETWORKS)
def test_damaged_weights_are_named_with_what_repairs_them(damaged: Path, package: str) -> None:
    with pytest.raises(EvalError) as caught:
        NETWORKS[package]()
    assert str(damaged / package) in str(caught.value)
    assert "is damaged or not of" in str(caught.value)
    assert str(caught.value).endswith(f"Run: {repair(package)}")


@pytest.mark.parametrize("package", NETWORKS)
def test_missing_weights_are_named_with_what_repairs_them(damaged: Path, package: str) -> None:
    for name in SHA256:
        (damaged / name).unlink()
    with pytest.raises(EvalError) as caught:
        NETWORKS[package]()
    assert f"there is no {damaged / package}" in str(caught.value)
    assert str(caught.value).endswith(f"Run: {repair(package)}")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(
        EvalError, match=r"speechmos is not installed\. Run: pip install 'voicegraph\[quality\]'"
    ):
        Dnsmos()


def test_missing_packages_are_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {"jiwer", "moonshine_cpp", "resemblyzer"}
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None if name in lacking else name)
    monkeypatch.setattr(packages, "IN_EXTRA", {"jiwer", "moonshine_cpp", "speechmos"})
    check_measures(["dnsmos"])
    with pytest.raises(EvalError) as caught:
        check_measures(MEASURES)
    assert str(caught.value) == (
        f"missing to measure: jiwer, moonshine_cpp, resemblyzer. Run: {EXTRA} && {repair('resemblyzer')}; "
        "or measure less: --measures dnsmos"
    )
    with pytest.raises(EvalError, match="no measure loudness"):
        check_measures(["loudness"])


def test_where_moonshine_has_no_wheel_that_of_another_machine_is_put_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name: None if "moonshine" in name else name
    )
    monkeypatch.setattr(packages, "IN_EXTRA", {"jiwer", "speechmos"})
    monkeypatch.setattr(packages.sysconfig, "get_path", lambda _name: "/a folder/site-packages")
    with pytest.raises(EvalError) as caught:
        check_measures(["wer"])
    assert str(caught.value) == (
        "missing to measure: moonshine_cpp. Run: pip install --no-deps --only-binary=:all: --platform "
        "manylinux2014_x86_64 --upgrade --target '/a folder/site-packages' moonshine-cpp==0.1.4"
    )


@pytest.mark.parametrize(
    "machine", [*MOONSHINE_WHEELS, ("linux", "aarch64"), ("darwin", "x86_64"), ("win32", "AMD64")]
)
def test_the_extra_asks_for_moonshine_where_there_is_a_wheel(machine: tuple[str, str]) -> None:
    (asked,) = re.findall(r'"(moonshine-cpp[^"]*)"', PYPROJECT.read_text(encoding="utf-8"))
    marker = Requirement(asked).marker
    assert marker is not None
    here = {"sys_platform": machine[0], "platform_machine": machine[1]}
    assert marker.evaluate(here) == (machine in MOONSHINE_WHEELS)
    assert asked.split(" ;")[0] == WEIGHTS["moonshine_cpp"]
