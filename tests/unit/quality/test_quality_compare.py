from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve_app.quality import EvalError
from serve_app.quality.compare import compare, comparison
from serve_app.quality.figures import FIGURES, figures
from serve_app.quality.result import ItemResult, Result, read_result, write_result


def item(number: int, errors: int = 0, words: int = 10, **fields: float | str | None) -> ItemResult:
    measured = {"audio_s": 4.0, "total_s": 1.0, "first_audio_s": 0.5, "plays_through": True, **fields}
    return ItemResult(
        f"{number:03d}",
        f"text {number}",
        "a",
        "",
        words,
        errors,
        5 * words,
        errors,
        **measured,  # type: ignore[arg-type]
    )


def result(items: list[ItemResult], name: str = "a") -> Result:
    settings = {"concurrency": 1, "answered_by": ["toy"], "model": "toy", "fields": {}}
    chosen = {"name": "toy", "items": len(items), "words": 1, "sha256": "0" * 64}
    machine = {"cpu": "toy", "cores": 2, "gpu": None}
    return Result(
        name, "2026-01-01T00:00:00+00:00", "c0ffee", machine, settings, chosen, ("wer",), tuple(items)
    )


def test_wer_is_a_ratio_of_sums_and_not_a_mean_of_ratios() -> None:
    found = figures([item(1, errors=1, words=2), item(2, errors=0, words=18)])
    assert found["wer"] == pytest.approx(1 / 20)
    assert found["cer"] == pytest.approx(1 / 100)


def test_figures_skip_what_an_item_does_not_have() -> None:
    failed = item(
        3, errors=10, similarity=None, audio_s=0.0, total_s=None, first_audio_s=None, failure="error"
    )
    found = figures(
        [item(1, similarity=0.8), item(2, similarity=0.6, total_s=3.0, first_audio_s=1.5), failed]
    )
    assert found["similarity"] == pytest.approx(0.7)
    assert found["rtf"] == pytest.approx(4 / 8)
    assert found["first_audio_p50"] == pytest.approx(1.0)
    assert found["wer"] == pytest.approx(10 / 30)
    assert found["dnsmos_ovrl"] is None
    assert found["failures"] == {"error": 1, "empty": 0, "long": 0}
    assert found["plays_through"] == 1.0


def test_the_same_result_has_no_change() -> None:
    one = result([item(n, errors=n % 3, similarity=0.8) for n in range(20)])
    factors = {figure.name for figure in FIGURES if figure.of_time}
    for change in compare(one, one):
        same = 1.0 if change.figure in factors else 0.0
        assert change.change == change.low == change.high == same
        assert not change.beyond_chance


@pytest.mark.slow
def test_a_clear_change_is_told_from_chance() -> None:
    before = result([item(n, errors=0) for n in range(100)])
    after = result([item(n, errors=n % 2, total_s=0.5 + 0.001 * n) for n in range(100)], "b")
    found = {change.figure: change for change in compare(before, after)}
    assert found["wer"].change == pytest.approx(0.05)
    assert found["wer"].low < 0.05 < found["wer"].high
    assert found["wer"].beyond_chance
    # The standard error of half of the items having one error in ten words.
    assert found["wer"].high - found["wer"].low == pytest.approx(2 * 1.96 * 0.005, rel=0.05)
    assert found["rtf"].change == pytest.approx(0.5495)
    assert found["rtf"].beyond_chance
    assert not found["first_audio_p50"].beyond_chance


def test_pairing_removes_what_the_items_have_in_common() -> None:
    draws = random.Random(1)
    hard = [draws.randrange(9) for _ in range(60)]
    before = result([item(n, errors=hard[n]) for n in range(60)])
    after = result([item(n, errors=hard[n] + 1) for n in range(60)], "b")
    (wer,) = (change for change in compare(before, after) if change.figure == "wer")
    assert wer.low == pytest.approx(wer.high) == pytest.approx(0.1)


def test_intervals_are_the_same_every_time() -> None:
    before = result([item(n, errors=n % 3) for n in range(30)])
    after = result([item(n, errors=n % 4) for n in range(30)], "b")
    assert comparison(before, after) == comparison(before, after)
    assert comparison(before, after)["changes"][0]["figure"] == "wer"


def test_a_measure_that_only_one_side_has_is_left_out_and_pairs_are_counted() -> None:
    before = result([item(1, similarity=0.8), item(2, similarity=0.9), item(3)])
    after = result([item(1, similarity=0.7), item(2), item(3, similarity=0.9, dnsmos_ovrl=3.0)], "b")
    found = {change.figure: change for change in compare(before, after)}
    assert (found["similarity"].pairs, found["wer"].pairs) == (1, 3)
    assert found["similarity"].change == pytest.approx(-0.1)
    assert "dnsmos_ovrl" not in found


def test_other_items_are_refused() -> None:
    one = result([item(1), item(2)])
    with pytest.raises(EvalError, match="same items; the first that differs has the id 002"):
        compare(one, replace(one, items=(item(1), item(3))))
    with pytest.raises(EvalError, match="did not speak the same items"):
        compare(one, replace(one, items=(item(1),)))


def test_quantiles_and_ratios_agree_for_one_sample_and_many() -> None:
    pairs = np.random.default_rng(0).random((5, 12, 2)) + 0.1
    for figure in FIGURES:
        assert figure.value(pairs) == pytest.approx([float(figure.value(one)) for one in pairs])


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    one = result([item(1, detail="a “quoted” word"), item(2)])
    write_result(tmp_path / "a.json", one, figures(one.items))
    assert read_result(tmp_path / "a.json") == one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "no result"),
        ("nonsense", "cannot read"),
        ('{"kind": "voicegraph-eval", "version": 9}', "version 9"),
    ],
)
def test_files_that_are_no_results(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(EvalError, match=said):
        read_result(tmp_path / "a.json")
