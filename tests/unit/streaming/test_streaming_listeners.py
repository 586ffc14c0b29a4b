"""What listeners hear of the real pipeline over a stage that only takes time."""

from __future__ import annotations

import random
from functools import partial
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming_listeners import Ask, Listened, alone, listen

from benchmarks.piece_simulator import LENGTHS, SENTENCES, StageCosts, random_text, simulate
from deployments.core.errors import Overloaded
from deployments.kokoro.job import DEFAULT_CHARS_PER_S
from serve_app.bench.arrivals import ClosedLoop, OpenLoop

PRESETS = [StageCosts(0.3, 0.46), StageCosts(0.45, 0.62)]
NAMES = ["0.3+0.46", "0.45+0.62"]
SEEDS = range(6)
COSTS = st.builds(
    StageCosts,
    base_s=st.floats(0.1, 0.6),
    unit_s=st.floats(0.2, 0.7),
    beside=st.sampled_from([1.4, 1.55, 2.0]),
    noise=st.floats(0, 0.08),
)
ASKS = st.lists(
    st.builds(
        Ask,
        st.floats(0, 30),
        st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6).map(" ".join),
        st.sampled_from([{}, {}, {"stream": False}, {"seed": 1}, {"pause_ms": 0.0}, {"speed": 1.5}]),
    ),
    min_size=1,
    max_size=8,
)
EVERY_COMBINATION = [
    " ".join(chosen) for count in range(1, len(SENTENCES) + 1) for chosen in combinations(SENTENCES, count)
]


def said(listened: Listened) -> str:
    return "".join("".join(listened.pieces).split())


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(COSTS, ASKS)
def test_whoever_is_accepted_hears_all_of_the_text_and_the_stage_never_idles(
    costs: StageCosts, asks: list[Ask]
) -> None:
    found, idle = listen(costs, asks, longest_wait_s=1e6)
    assert idle == 0
    for ask, listened in zip(asks, found, strict=True):
        assert listened.error is None
        assert listened.ended_s is not None
        assert said(listened) == "".join(ask.text.split())


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(COSTS, st.integers(0, 1000), st.floats(0.5, 3.0))
def test_nothing_starves_however_many_come(costs: StageCosts, seed: int, rate_per_s: float) -> None:
    """Half a minute of more than can be served: each ends, or is refused at once and told when to come again."""
    offsets_s = OpenLoop(rate_per_s, 30.0, seed).offsets_s()
    asks = [Ask(at_s, random_text(seed + number, "mixed")) for number, at_s in enumerate(offsets_s)]
    found, idle = listen(costs, asks)
    assert idle == 0
    for ask, listened in zip(asks, found, strict=True):
        if listened.error is None:
            assert said(listened) == "".join(ask.text.split())
        else:
            assert isinstance(listened.error, Overloaded)
            assert (listened.error.retry_after_s or 0) > 0
            assert listened.ended_s == pytest.approx(0)
            assert listened.pieces == []


@pytest.mark.slow
@pytest.mark.parametrize("texts", LENGTHS)
@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("costs", PRESETS, ids=NAMES)
def test_newcomers_make_no_stream_that_has_begun_stall(costs: StageCosts, share: float, texts: str) -> None:
    text = partial(random_text, lengths=texts)
    capacity = simulate(costs, ClosedLoop(2, 150), text).audio_s_per_s
    usual_s = sum(len(text(number)) for number in range(1000)) / 1000 / DEFAULT_CHARS_PER_S
    rate_per_s = share * capacity / usual_s
    runs = [simulate(costs, OpenLoop(rate_per_s, 200 / rate_per_s, seed), text) for seed in SEEDS]
    assert [run.failed for run in runs] == [0] * len(runs)
    assert min(run.c100 or 0.0 for run in runs) >= 0.97
    if share == 0.5:
        assert sum(run.continuity_ok for run in runs) >= 0.99 * sum(run.ok for run in runs)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("costs", PRESETS, ids=NAMES)
@pytest.mark.parametrize("pause_ms", [None, 0.0], ids=["pauses", "no pauses"])
def test_one_listener_alone_hears_no_gap(costs: StageCosts, noise: float, pause_ms: float | None) -> None:
    quiet = StageCosts(costs.base_s, costs.unit_s, noise=noise)
    gaps_s = [alone(quiet, text, pause_ms=pause_ms).longest_gap_s for text in EVERY_COMBINATION]
    assert max(gaps_s) <= 0.05


@pytest.mark.parametrize("costs", PRESETS, ids=NAMES)
def test_a_long_text_begins_as_soon_as_its_first_sentence_would(costs: StageCosts) -> None:
    quiet = StageCosts(costs.base_s, costs.unit_s, noise=0)
    first_s = alone(quiet, SENTENCES[0]).first_sound_s
    assert alone(quiet, " ".join(SENTENCES)).first_sound_s <= 1.15 * first_s


def test_with_a_seed_the_pieces_are_the_same_at_any_load() -> None:
    text = " ".join(SENTENCES)
    quiet = alone(PRESETS[0], text, seed=7).pieces
    others = [
        Ask(at_s, random_text(number, "mixed")) for number, at_s in enumerate((0.0, 0.5, 3.0, 8.0, 9.0))
    ]
    for stream in (True, False):
        asks = [*others, Ask(2.0, text, {"seed": 7, "stream": stream}), Ask(2.0, text)]
        (*_, seeded, free), _ = listen(PRESETS[1], asks, longest_wait_s=1e6)
        assert seeded.pieces == quiet
        assert said(free) == said(seeded)
        assert free.pieces != quiet


def test_who_would_wait_too_long_is_refused_at_once_and_told_when_to_come_again() -> None:
    text = " ".join(SENTENCES)
    asks = [Ask(0.01 * number, text) for number in range(6)]
    found, _ = listen(PRESETS[1], asks, longest_wait_s=5.0)
    refused = [listened for listened in found if listened.error is not None]
    assert found[0].error is None
    assert found[-1] in refused
    for listened in refused:
        assert isinstance(listened.error, Overloaded)
        assert (listened.error.retry_after_s or 0) >= 1
        assert listened.ended_s == pytest.approx(0)
        assert (listened.chunks, listened.pieces) == ([], [])


def test_what_nobody_listens_to_takes_few_pieces() -> None:
    text = " ".join(random.Random(1).choices(SENTENCES, k=12))
    assert len(alone(PRESETS[1], text, stream=False).pieces) < len(alone(PRESETS[1], text).pieces)
