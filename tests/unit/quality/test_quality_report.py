from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from serve_app.config_file import load
from serve_app.quality import EvalError
from serve_app.quality.listener import word_errors
from serve_app.quality.report import report
from serve_app.quality.result import ItemResult, Result, read_result
from serve_app.quality.server import check_fields
from serve_app.quality.suite import Suite, find_results, read_results, read_suite, write_results

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results" / "quality"


def measured(name: str, errors: int, total_s: float) -> Result:
    items = tuple(
        ItemResult(
            id=f"{n:03d}", text=f"text {n}", voice="anna", heard="", words=10, errors=errors * (n % 2), chars=50,
            char_errors=0, audio_s=4.0, total_s=total_s, first_audio_s=total_s / 4, plays_through=True,
        )
        for n in range(40)
    )  # fmt: skip
    settings = {"concurrency": 1, "answered_by": ["toy"], "model": "toy", "fields": {}}
    chosen = {"name": "toy", "items": 40, "words": 400, "sha256": "0123456789abcdef"}
    machine = {"cpu": "toy CPU", "cores": 2, "gpu": None}
    return Result(
        name, "2026-01-01T00:00:00+00:00", "c0ffee-dirty", machine, settings, chosen, ("wer",), items
    )


@pytest.fixture
def suite() -> Suite:
    settings: dict[str, dict[str, object] | None] = {"25 steps": None, "4 | steps": {"diffusion_steps": 4}}
    return Suite(title="Toy", notes="Of a toy.", baseline="25 steps", settings=settings)


@pytest.mark.slow
def test_gain_in_time_stands_beside_cost_in_quality(suite: Suite, tmp_path: Path) -> None:
    results = {"25 steps": measured("25 steps", 0, 2.0), "4 | steps": measured("4 | steps", 2, 1.0)}
    write_results(tmp_path / "toy", suite, results)
    assert read_results(tmp_path / "toy").results == results
    text = report(find_results(tmp_path))
    assert (
        "## Toy\n\nModel toy; voice anna; set toy: 40 items, 400 words, `0123456789ab`; toy CPU, 2 cores"
        in text
    )
    assert "commit `c0ffee` with changes" in text
    assert "| 25 steps | 0.00 | 0.00 | 0.500 | 0.500 | 0.500 | 100% | 0 of 40 |" in text
    assert (
        "| 4 \\| steps | **×0.50** (0.50 to 0.50) | **×0.50** (0.50 to 0.50) | **+10.00** (+7.00 to +13.00) |"
        in text
    )
    assert report(find_results(tmp_path / "toy")) == text


@pytest.mark.slow
def test_the_document_is_what_the_results_give() -> None:
    """After a suite: `voicegraph eval report benchmarks/results/quality --output docs/quality.md`."""
    assert (ROOT / "docs" / "quality.md").read_text(encoding="utf-8") == report(find_results(RESULTS))


@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*/0*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_words_are_counted_as_they_would_be_today(path: Path) -> None:
    """A change of the normalisation makes committed results wrong: NORMALISER_VERSION, and measure again."""
    pytest.importorskip("jiwer")
    for item in read_result(path).items:
        if item.heard is not None:
            counted = {
                name: getattr(item, name) for name in ("heard", "words", "errors", "chars", "char_errors")
            }
            assert word_errors(item.text, item.heard) == counted


def test_folders_without_results(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="holds no results"):
        find_results(tmp_path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "quality").glob("*.yaml")), ids=lambda path: path.stem
)
def test_suites_of_the_repository_ask_for_fields_that_there_are(path: Path) -> None:
    from deployments.indextts2.sampling import Params
    from serve_app.http.schema import SpeechBody

    suite = read_suite(path)
    for fields in suite.requests().values():
        check_fields(fields)
        body = SpeechBody(input="x", **{"model": suite.model, **fields})
        assert not body.ignored(Params.unknown(body.params))
    if suite.voices is None or (path.parent / suite.voices).is_dir():
        assert len(suite.lines(path.parent).lines) >= 10


@pytest.mark.parametrize(
    ("change", "said"),
    [({"baseline": "none"}, "none of the settings"), ({"steps": 3}, "steps"), ({"settings": {}}, "settings")],
)
def test_a_wrong_suite_is_explained(tmp_path: Path, change: dict[str, object], said: str) -> None:
    content = {"title": "t", "baseline": "a", "settings": {"a": {}}, **change}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(EvalError, match=said):
        read_suite(tmp_path / "suite.yaml")


def test_a_suite_may_be_json(tmp_path: Path) -> None:
    content = {
        "title": "t",
        "baseline": "a",
        "fields": {"speed": 1.1},
        "settings": {"a": None, "b": {"speed": 2}},
    }
    (tmp_path / "suite.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_suite(tmp_path / "suite.json").requests() == {"a": {"speed": 1.1}, "b": {"speed": 2}}


@pytest.mark.slow
def test_the_server_of_the_variants_has_every_model_that_its_suite_asks_for() -> None:
    folder = ROOT / "benchmarks" / "quality"
    suite = read_suite(folder / "indextts2-servers.yaml")
    asked = {fields.get("model", suite.model) for fields in suite.requests().values()}
    assert asked == set(load(folder / "server" / "variants.yaml").args.models)
