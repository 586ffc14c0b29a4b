from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deployments.core.errors import InvalidRequest
from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.decoders import BeamGroup, Choice, Decoder, Outcome, new_decoder
from deployments.indextts2.gpt.draws import CounterDraws, TorchDraws
from deployments.indextts2.gpt.generate import generate
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.scores import Rules, shortlist
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.gpt.settings import TIES, DecodingSettings

GREEDY = DecodingSettings(do_sample=False, num_beams=1)
SAMPLE = DecodingSettings(num_beams=1)
SEARCH = DecodingSettings(do_sample=False, num_beams=3)
DEFAULT = DecodingSettings()
MIXED = [
    GREEDY,
    SAMPLE,
    DEFAULT,
    SEARCH,
    DecodingSettings(num_beams=2, top_k=0, top_p=0.7, temperature=1.2),
    DecodingSettings(num_beams=1, typical_mass=0.9, top_k=5),
    DecodingSettings(num_beams=4, length_penalty=1.0, repetition_penalty=1.5, top_p=1.0),
]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_beams", 0), ("num_beams", 9), ("top_k", -1), ("top_p", 1.5), ("temperature", 0.0),
        ("repetition_penalty", 0.5), ("length_penalty", float("nan")), ("max_codes", 0),
        ("typical_mass", 1.0),
    ],
)  # fmt: skip
def test_settings_name_what_is_wrong(field: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=field) as caught:
        DecodingSettings(**{field: value})
    assert caught.value.param == field


def reference_filters(scores: Tensor, rule: DecodingSettings) -> Tensor:
    """Top-k and top-p over one dense row by full sorting, as indextts2-front.md 7.2 words it."""
    scores = scores / rule.temperature
    if rule.top_k:
        kth = scores.sort(descending=True).values[max(rule.top_k, rule.keep) - 1]
        scores = scores.masked_fill(scores < kth, -torch.inf)
    if rule.top_p < 1:
        values, order = scores.sort()
        drop = values.softmax(-1).cumsum(-1) <= 1 - rule.top_p
        drop[-rule.keep :] = False
        scores = scores.masked_fill(torch.zeros_like(drop).scatter(0, order, drop), -torch.inf)
    return scores


@given(
    seed=st.integers(0, 10**6),
    top_k=st.sampled_from([0, 1, 2, 5, 30, 90]),
    top_p=st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0]),
    beams=st.sampled_from([1, 3]),
    spread=st.sampled_from([0.1, 2.0, 20.0]),
)
@settings(deadline=None)
def test_shortlist_equals_full_sorting(
    seed: int, top_k: int, top_p: float, beams: int, spread: float
) -> None:
    scores = torch.randn(4, 90, generator=torch.Generator().manual_seed(seed)) * spread
    rule = DecodingSettings(top_k=top_k, top_p=top_p, num_beams=beams, repetition_penalty=1.0)
    # In the company of a row without filters the shortlist is wider.
    for company in (rule, replace(rule, top_k=0, top_p=1.0)):
        rules = Rules.of([rule, rule, rule, company], 90, scores.device)
        values, codes = shortlist(scores, torch.zeros(4, 90, dtype=torch.bool), rules)
        dense = torch.full_like(scores, -torch.inf).scatter_(1, codes, values)
        for row in range(3):
            torch.testing.assert_close(dense[row], reference_filters(scores[row], rule), atol=1e-6, rtol=0)


def test_ties_at_the_kth_place_all_stay() -> None:
    scores = torch.zeros(1, 40)
    scores[0, 7] = 1.0
    scores[0, 20:] = -5.0
    rule = DecodingSettings(top_k=4, top_p=1.0, num_beams=1, temperature=1.0)
    values, _ = shortlist(scores, torch.zeros(1, 40, dtype=torch.bool), Rules.of([rule], 40, scores.device))
    assert int(values.isfinite().sum()) == 20
    assert rule.width(40) == 4 + TIES


class Toy:
    """Scores as a function of the history alone: decoding without a network."""

    def __init__(self, vocabulary: int, seed: int, stop_bonus: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(vocabulary, vocabulary, generator=generator) * 2
        self.table[:, -1] += stop_bonus
        self.bias = torch.randn(64, vocabulary, generator=generator)

    def logits(self, history: list[int]) -> Tensor:
        last = history[-1] if history else 0
        return self.table[last] + self.bias[len(history)]


TOY_DIMS = GptDims(8, 1, 1, 60, 20, 20, 30, 28, 29, 0, 1)


def decode_together(
    toys: list[Toy], rules: list[DecodingSettings], draws: list[CounterDraws]
) -> tuple[list[Outcome], list[list[list[int]]], list[Decoder]]:
    """All requests in one selection; every request's certain codes after each step."""
    selection = Selection(TOY_DIMS, sum(rule.num_beams for rule in rules))
    selection.open(range(selection.seen.shape[0]))
    decoders: list[Decoder] = []
    first = 0
    for rule, draw in zip(rules, draws, strict=True):
        slots = tuple(reversed(range(first, first + rule.num_beams)))
        first += rule.num_beams
        decoders.append(new_decoder(rule, slots, TOY_DIMS.stop_mel_token, TOY_DIMS.number_mel_codes, draw))
    histories: list[list[list[int]]] = [[[] for _ in decoder.slots] for decoder in decoders]
    certain: list[list[list[int]]] = [[] for _ in decoders]
    while active := [i for i, decoder in enumerate(decoders) if not decoder.finished]:
        logits = torch.stack([toys[i].logits(history) for i in active for history in histories[i]])
        choices = selection.choose(logits, [decoders[i] for i in active])
        for i, choice in zip(active, choices, strict=True):
            assert isinstance(choice, Choice)
            pairs = zip(choice.parents, choice.codes, strict=True)
            histories[i] = [[*histories[i][parent], code] for parent, code in pairs]
            certain[i].append(list(decoders[i].certain()))
    return [decoder.outcome() for decoder in decoders], certain, decoders


@pytest.mark.parametrize("seed", range(12))
def test_requests_in_one_step_equal_requests_alone(seed: int) -> None:
    toys = [Toy(30, 100 * seed + i, stop_bonus=i - 1.0) for i in range(len(MIXED))]
    rules = [replace(rule, max_codes=30) for rule in MIXED]
    draws = [CounterDraws(seed + i) for i in range(len(MIXED))]
    outcomes, certain, _ = decode_together(toys, rules, draws)
    for i, outcome in enumerate(outcomes):
        (alone,), _, _ = decode_together([toys[i]], [rules[i]], [draws[i]])
        assert alone == outcome
        assert TOY_DIMS.start_mel_token not in outcome.codes
        assert len(outcome.codes) + outcome.stopped <= 30
        assert outcome.stopped or len(outcome.codes) == 30
        for earlier in certain[i]:
            assert earlier == list(outcome.codes[: len(earlier)])
        assert certain[i][-1] == list(outcome.codes)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("sample", [False, True])
def test_ending_early_does_not_change_the_result(
    length_penalty: float, sample: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = replace(
        DEFAULT, max_codes=40, length_penalty=length_penalty, do_sample=sample, repetition_penalty=2.0
    )
    toys = [Toy(30, seed, stop_bonus=1.0) for seed in range(40)]
    draws = [CounterDraws(seed) for seed in range(40)]
    early, _, early_decoders = decode_together(toys, [rule] * 40, draws)
    # As the reference ends: only by the full list of hypotheses.
    monkeypatch.setattr(BeamGroup, "_reachable", lambda self: np.full(len(self.slots), np.inf))
    late, _, late_decoders = decode_together(toys, [rule] * 40, draws)
    assert early == late
    steps = [sum(decoder.steps for decoder in decoders) for decoders in (early_decoders, late_decoders)]
    assert steps[0] < steps[1]


def test_immediate_stop_gives_no_codes() -> None:
    toy = Toy(30, 1, stop_bonus=200.0)
    for rule in MIXED:
        (outcome,), certain, _ = decode_together([toy], [rule], [CounterDraws(1)])
        assert outcome.codes == ()
        assert outcome.stopped
        assert certain[0][-1] == []


def test_certain_codes_of_beams_come_before_the_end() -> None:
    rule = replace(SEARCH, max_codes=40, repetition_penalty=1.0)
    outcomes, certain, _ = decode_together(
        [Toy(30, seed, stop_bonus=-20.0) for seed in range(10)], [rule] * 10, [CounterDraws(0)] * 10
    )
    assert all(len(outcome.codes) == 40 and not outcome.stopped for outcome in outcomes)
    assert any(len(steps[-2]) > 5 for steps in certain)


def test_scores_that_are_no_numbers_fail_one_request_only() -> None:
    selection = Selection(TOY_DIMS, 5)
    selection.open(range(5))
    group = new_decoder(DEFAULT, (0, 1, 2), 29, 30, CounterDraws(1))
    sick = new_decoder(SAMPLE, (3,), 29, 30, CounterDraws(1))
    well = new_decoder(GREEDY, (4,), 29, 30, CounterDraws(1))
    logits = torch.randn(5, 30)
    logits[3, 4] = torch.nan
    choices = selection.choose(logits, [group, sick, well])
    assert [type(choice) for choice in choices] == [Choice, FloatingPointError, Choice]
    assert sick.steps == 0
    assert isinstance(selection.choose(torch.full((3, 30), torch.inf), [group])[0], FloatingPointError)


def test_wrong_number_of_slots() -> None:
    with pytest.raises(ValueError, match="3 beams"):
        new_decoder(DEFAULT, (0, 1), 29, 30, CounterDraws(1))


def test_counter_draws_follow_the_distribution() -> None:
    weights = np.log(np.array([[0.5, 0.3, 0.15, 0.05, 0.0]], np.float32) + 1e-30)
    weights[0, 4] = -np.inf
    codes = np.array([[9, 4, 7, 1, 2]])
    draws = CounterDraws(11)
    count = Counter(
        int(draws.pick(weights, codes, step=step, count=1, vocabulary=30)[0]) for step in range(20_000)
    )
    assert set(count) == {9, 4, 7, 1}
    for code, share in ((9, 0.5), (4, 0.3), (7, 0.15), (1, 0.05)):
        assert abs(count[code] / 20_000 - share) < 5 * (share / 20_000) ** 0.5


def test_counter_draws_without_replacement() -> None:
    """The first of two draws is p, the second p/(1−p₁): as multinomial without replacement."""
    shares = np.array([0.6, 0.3, 0.1])
    totals = np.log(np.array([[0.6, 0.3], [0.1, 0.0]], np.float32) + 1e-30)
    totals[1, 1] = -np.inf
    codes = np.array([[2, 5], [3, 8]])
    names = {2: 0, 5: 1, 30 + 3: 2}
    draws = CounterDraws(3)
    pairs = Counter(
        tuple(names[int(x)] for x in draws.pick(totals, codes, step=step, count=2, vocabulary=30))
        for step in range(20_000)
    )
    for (a, b), found in pairs.items():
        expected = shares[a] * shares[b] / (1 - shares[a])
        assert abs(found / 20_000 - expected) < 5 * (expected / 20_000) ** 0.5


def test_draws_depend_on_seed_and_step_alone() -> None:
    rng = np.random.default_rng(0)
    totals = -np.sort(rng.random((3, 46)).astype(np.float32), axis=1)
    codes = np.argsort(rng.random((3, 200)), axis=1)[:, :46]

    def pick(seed: int, step: int) -> list[int]:
        return CounterDraws(seed).pick(totals, codes, step=step, count=6, vocabulary=200).tolist()

    first = [pick(1, step) for step in range(8)]
    assert [pick(1, step) for step in reversed(range(8))] == first[::-1]
    assert len({tuple(drawn) for drawn in first}) == 8
    assert pick(2, 0) != first[0]
    assert all(len(set(drawn)) == 6 for drawn in first)


def test_torch_draws_with_a_generator_of_their_own() -> None:
    totals = np.log(np.array([[0.5, 0.3, 0.2]], np.float32))
    codes = np.array([[3, 1, 2]])
    picks = [
        TorchDraws(torch.Generator().manual_seed(4)).pick(totals, codes, step=0, count=2, vocabulary=10)
        for _ in range(2)
    ]
    assert picks[0].tolist() == picks[1].tolist()
    assert set(picks[0].tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("rule", MIXED)
def test_generate(gpt: SpeechGpt, prefixes: list[Tensor], rule: DecodingSettings) -> None:
    rule = replace(rule, max_codes=15)
    outcome = generate(gpt, prefixes[0], rule, CounterDraws(5))
    assert generate(gpt, prefixes[0], rule, CounterDraws(5)) == outcome
    assert gpt.dims.start_mel_token not in outcome.codes
    assert gpt.dims.stop_mel_token not in outcome.codes
    assert outcome.stopped == (len(outcome.codes) < 15)


def test_generate_refuses_more_codes_than_positions(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    with pytest.raises(InvalidRequest, match="59"):
        generate(gpt, prefixes[0], replace(GREEDY, max_codes=60), CounterDraws(1))
    longest = generate(gpt, prefixes[0], replace(GREEDY, max_codes=59), CounterDraws(1))
    assert len(longest.codes) <= 59


def test_start_code_is_never_chosen(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    start = gpt.dims.start_mel_token
    bias = gpt.mel_head.bias.clone()
    gpt.mel_head.bias[start] += 1000.0
    try:
        for rule in MIXED:
            short = replace(rule, max_codes=5, repetition_penalty=1.0)
            assert start not in generate(gpt, prefixes[0], short, CounterDraws(5)).codes
        loose = replace(GREEDY, max_codes=5, repetition_penalty=1.0, allow_start_code=True)
        assert start in generate(gpt, prefixes[0], loose, CounterDraws(5)).codes
    finally:
        gpt.mel_head.bias.copy_(bias)
