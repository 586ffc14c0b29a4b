"""What the streaming benchmark computes from what it measures."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.streaming.first_audio import HOP, level_jumps_db, sample_jumps
from benchmarks.streaming.independence import worst_difference
from benchmarks.streaming.mixed import LEVERS, TEXTS, asks, gpt_jobs
from benchmarks.streaming.verdict import Verdict
from deployments.indextts2.sampling import Params
from deployments.voices.sharing import SharedVoice
from serve_app.client import RequestFields


def test_verdict_knows_its_direction() -> None:
    assert Verdict("share", 0.25, 0.25).holds
    assert not Verdict("share", 0.26, 0.25).holds
    assert Verdict("c100", 0.99, 0.99, at_least=True).holds
    assert not Verdict("c100", 0.98, 0.99, at_least=True).holds


def test_a_lost_sample_is_an_infinite_difference() -> None:
    wave = np.zeros(10)
    assert worst_difference([wave], [wave[:-1]]) == float("inf")
    assert worst_difference([wave, wave], [wave, wave + 0.5]) == 0.5


def test_a_click_at_a_join_stands_out() -> None:
    wave = 0.1 * np.sin(np.arange(20 * HOP) / 5)
    clicked = wave.copy()
    clicked[7 * HOP :] += 0.3
    assert sample_jumps(clicked).max() > 5 * sample_jumps(wave).max()
    assert len(sample_jumps(wave)) == 19


def test_a_step_of_level_stands_out() -> None:
    wave = 0.1 * np.sin(np.arange(20 * HOP) / 5)
    louder = np.concatenate([wave[: 8 * HOP], 2 * wave[8 * HOP :]])
    assert level_jumps_db(louder).max() == pytest.approx(6.0, abs=0.5)
    assert level_jumps_db(wave).max() < 1


def test_mixed_requests_cover_all_levers_and_texts() -> None:
    made = asks(32)
    assert {ask.text for ask in made} == set(TEXTS)
    assert all(any(ask.levers == lever for ask in made) for lever in LEVERS)
    assert {ask.stream for ask in made} == {True, False}
    assert all("seed" not in ask.body for ask in asks(4, seeded=False))


def test_mixed_requests_are_what_the_graph_takes() -> None:
    for ask in asks(16):
        assert ask.fields.keys() <= RequestFields.__annotations__.keys()
        assert not Params.unknown(ask.levers)
        Params().changed(ask.levers)


def test_mixed_jobs_are_of_all_kinds() -> None:
    jobs = gpt_jobs(32, 8, SharedVoice("voice", None), max_codes=90)  # type: ignore[arg-type]
    assert {job.params.num_beams for job in jobs} == {1, 2, 3}
    assert {job.params.samples for job in jobs} == {True, False}
    assert {job.emit_codes > 0 for job in jobs} == {True, False}
    assert max(job.params.max_codes for job in jobs) == 90
