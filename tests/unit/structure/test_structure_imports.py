"""Imports go one way: serve_app, then the families of models, then the general rooms, then core."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from deployments.core.pipeline import families

ROOT = Path(__file__).parents[3]
ROOMS = ("engine", "networks", "streaming", "text", "voices", "weights")  # general: nothing of one model
# No more than the router and the ingress may hold once they are imported: they are many, and hold no weights.
MOST_MB = 200


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("serve_app", "deployments", exclude_type_checking_imports=True, cache_dir=None)


def imports(graph: grimp.ImportGraph, importer: str, imported: str) -> list[str]:
    """Direct imports from one package into another, as `a -> b`."""
    inside = {importer, *graph.find_descendants(importer)}
    there = {imported, *graph.find_descendants(imported)}
    return sorted(
        f"{module} -> {found}"
        for module in inside
        for found in graph.find_modules_directly_imported_by(module) & there
    )


def test_every_folder_is_core_a_general_room_or_a_family(graph: grimp.ImportGraph) -> None:
    folders = {name.removeprefix("deployments.") for name in graph.find_children("deployments")}
    assert folders == {"core", *ROOMS, *families()}


def test_nothing_below_imports_serve_app(graph: grimp.ImportGraph) -> None:
    assert imports(graph, "deployments", "serve_app") == []


def test_core_imports_nothing_else(graph: grimp.ImportGraph) -> None:
    assert [
        found
        for room in (*ROOMS, *families())
        for found in imports(graph, "deployments.core", f"deployments.{room}")
    ] == []


def test_general_rooms_import_no_family(graph: grimp.ImportGraph) -> None:
    pairs = [(room, family) for room in ROOMS for family in families()]
    assert [
        found
        for room, family in pairs
        for found in imports(graph, f"deployments.{room}", f"deployments.{family}")
    ] == []


def test_no_family_imports_a_family(graph: grimp.ImportGraph) -> None:
    pairs = [(one, other) for one in families() for other in families() if one != other]
    assert [
        found
        for one, other in pairs
        for found in imports(graph, f"deployments.{one}", f"deployments.{other}")
    ] == []


def test_serve_app_imports_no_family(graph: grimp.ImportGraph) -> None:
    """It finds them by the `kind` of a configuration."""
    assert [
        found for family in families() for found in imports(graph, "serve_app", f"deployments.{family}")
    ] == []


def test_neither_serve_app_nor_the_general_rooms_name_a_family_in_code() -> None:
    """Comments may point at a section of a model's specification."""
    named = re.compile("|".join(families()), re.IGNORECASE)
    places = [ROOT / "serve_app", *(ROOT / "deployments" / room for room in ("core", *ROOMS))]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for place in places
        for path in place.rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if named.search(re.sub(r"\((?:see )?\w+-\w+\.md[^)]*\)|\w+-(front|back)\.md", "", line))
    ]
    # Commands to be copied from the report name a model that every installation has.
    assert [line for line in found if not line.startswith("serve_app/quality/report.py")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["serve_app.router", "serve_app.ingress", "serve_app.app", "serve_app.config_file"]
)
def test_what_holds_no_weights_imports_no_torch(module: str) -> None:
    """With the pipelines of all families, as the router imports them."""
    pipelines = [f"deployments.{family}.pipeline" for family in families()]
    code = f"""
import importlib, re, sys
for name in {[module, *pipelines]!r}:
    importlib.import_module(name)
print([name for name in ("torch", "torchaudio", "transformers", "onnxruntime", "scipy") if name in sys.modules])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy, peak_mb = done.stdout.splitlines()[-2:]
    assert heavy == "[]"
    assert int(peak_mb) < MOST_MB
