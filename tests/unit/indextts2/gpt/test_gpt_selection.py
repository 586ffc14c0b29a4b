"""The choice of codes: what a row gets, and what that costs, depends on its own parameters alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gpt_jobs import changed
from gpt_toy import DEFAULT, GREEDY, MIXED, SAMPLE, WIDE, Toy, decode_together, toy_dims
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended_gpu import PretendedGpu
from torch import Tensor

from deployments.engine import noise
from deployments.indextts2.gpt import draws
from deployments.indextts2.gpt.decoding import Decoder, NextCodes, RowDecoder, new_decoder
from deployments.indextts2.gpt.draws import Filters, RandomNumbers, beam_candidates, best, gumbel
from deployments.indextts2.gpt.scores import ScoreRules, processed
from deployments.indextts2.gpt.selection import USUAL, WIDEST, Selection
from deployments.indextts2.sampling import TIES, Params

VOCABULARY = 700  # more than the widest shortlist
DIMS = toy_dims(VOCABULARY)


def single(params: Params, slot: int = 0, *, seed: int = 0) -> RowDecoder:
    decoder = new_decoder(params, (slot,), DIMS, seed, stream=0)
    assert isinstance(decoder, RowDecoder)
    return decoder


def new_selection(slots: int, **how: Any) -> Selection:
    selection = Selection(DIMS, slots, **how)
    selection.open(range(slots))
    return selection


def filtered(scores: Tensor, params: Params) -> Tensor:
    """Top-k and top-p over one row of processed scores by full sorting, as indextts2-front.md 7.2 words it."""
    if params.top_k:
        kth = scores.sort(descending=True).values[max(params.top_k, params.kept_candidates) - 1]
        scores = scores.masked_fill(scores < kth, -torch.inf)
    if params.top_p < 1:
        order = torch.from_numpy(np.lexsort((-np.arange(len(scores)), scores.numpy())))  # equals: by code
        drop = scores[order].softmax(-1).cumsum(-1) <= 1 - params.top_p
        drop[-params.kept_candidates :] = False
        scores = scores.masked_fill(torch.zeros_like(drop).scatter(0, order, drop), -torch.inf)
    return scores


def drawn(scores: Tensor, decoder: Decoder) -> int:
    """By the noise of every rank, over the whole row: equal scores rank by code."""
    assert decoder.numbers is not None
    dense = filtered(scores, decoder.params).numpy()
    order = np.lexsort((np.arange(len(dense)), -scores.numpy()))[: decoder.numbers.width]
    keys = dense[order] + gumbel(decoder.numbers.of_step(decoder.steps)[0])
    return int(order[keys.argmax()])


@pytest.mark.slow
@given(
    seed=st.integers(0, 10**6),
    top_k=st.sampled_from([0, 1, 2, 5, 30, 90, 300, 699]),
    top_p=st.sampled_from([0.0, 0.1, 0.5, 0.8, 0.99, 1.0]),
    temperature=st.sampled_from([0.1, 1.0, 20.0]),
    ties=st.booleans(),
)
@settings(deadline=None)
def test_a_draw_equals_full_sorting(
    seed: int, top_k: int, top_p: float, temperature: float, ties: bool
) -> None:
    logits = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 2
    if ties:  # as half precision has them, where no more than TIES are equal to the k-th best
        logits = torch.where(torch.rand(4, 1) < 0.5, logits.bfloat16().float(), logits)
    params = Params(num_beams=1, top_k=top_k, top_p=top_p, temperature=temperature, repetition_penalty=1.0)
    decoders = [single(params, slot, seed=seed + slot) for slot in range(4)]
    selection = new_selection(4)
    scores = selection.scores(logits, decoders)
    expected = [drawn(row, decoder) for row, decoder in zip(scores, decoders, strict=True)]
    chosen = selection.choose(logits, decoders)
    assert [each.codes[0] for each in chosen if isinstance(each, NextCodes)] == expected


@pytest.mark.parametrize("vocabulary", [30, 100, VOCABULARY])
@pytest.mark.parametrize("seed", range(4))
def test_requests_in_one_step_equal_requests_alone(seed: int, vocabulary: int) -> None:
    toys = [Toy(vocabulary, 100 * seed + i, stop_bonus=i - 1.0) for i in range(len(MIXED))]
    rules = [changed(params, max_codes=30) for params in MIXED]
    seeds = [seed + i for i in range(len(MIXED))]
    together = decode_together(toys, rules, seeds)
    for i, decoded in enumerate(together.decoded):
        assert decode_together([toys[i]], [rules[i]], [seeds[i]]).decoded == [decoded]
        assert vocabulary - 2 not in decoded.codes
        assert len(decoded.codes) + decoded.stopped <= 30
        assert decoded.stopped or len(decoded.codes) == 30
        for earlier in together.certain[i]:
            assert earlier == list(decoded.codes[: len(earlier)])
        assert together.certain[i][-1] == list(decoded.codes)


@pytest.mark.parametrize("vocabulary", [30, VOCABULARY])
def test_a_gpu_chooses_the_same(vocabulary: int, pretended_gpu: PretendedGpu) -> None:
    toys = [Toy(vocabulary, i, stop_bonus=i - 1.0) for i in range(len(MIXED))]
    rules = [changed(params, max_codes=12) for params in MIXED]
    expected = decode_together(toys, rules, range(len(MIXED)))
    assert decode_together(toys, rules, range(len(MIXED)), device="cuda").decoded == expected.decoded


KNOWN = [
    (0, -20.0, SAMPLE, [523, 723, 932, 921, 131, 501, 284, 46, 439, 631]),
    (2, 1.5, DEFAULT, [63, 249, 959, 816, 145, 827, 788, 323, 544, 696]),
    (5, 1.5, Params(num_beams=1, top_k=0), [898, 767, 216, 381, 649, 714, 359, 730, 133]),
    (6, -20.0, WIDE, [788, 899, 219, 770, 502, 567, 498, 49, 958, 943]),
    (13, 1.5, Params(num_beams=1, top_k=100, top_p=1.0), [404, 358, 263, 506, 939, 945, 681, 858]),
    (18, -20.0, Params(num_beams=2, top_k=0, top_p=0.7, temperature=1.2), [576, 382, 293, 599, 857, 249]),
    (
        22,
        1.5,
        Params(num_beams=2, top_k=400, top_p=1.0, temperature=3.0, repetition_penalty=1.0),
        [57, 872, 381, 917, 930, 137, 67, 195, 250, 417],
    ),
]


@pytest.mark.parametrize(("number", "stop_bonus", "params", "codes"), KNOWN)
def test_a_seed_gives_the_codes_it_always_gave(
    number: int, stop_bonus: float, params: Params, codes: list[int]
) -> None:
    """Clients keep seeds: no release may give others."""
    toy = Toy(1026, number, stop_bonus)
    run = decode_together([toy], [changed(params, max_codes=40)], [number], stream=number % 4)
    assert list(run.decoded[0].codes[: len(codes)]) == codes


class Counted:
    """How many numbers are sorted and drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shortlists: list[tuple[int, ...]] = []
        self.sorted = 0
        self.calls_of_generator = 0
        topk = Tensor.topk

        def counted_topk(scores: Tensor, columns: int) -> Any:
            self.shortlists.append((len(scores), columns))
            return topk(scores, columns)

        monkeypatch.setattr(Tensor, "topk", counted_topk)
        for name in ("sort", "argsort", "partition", "lexsort"):
            monkeypatch.setattr(np, name, self._counted(getattr(np, name)))
        monkeypatch.setattr(draws, "uniforms", self._uniforms)

    def _counted(self, function: Any) -> Any:
        def sort(numbers: Any, *rest: Any, **how: Any) -> Any:
            self.sorted += np.asarray(numbers).size
            return function(numbers, *rest, **how)

        return sort

    def _uniforms(self, seed: int, stream: int | str, start: int, count: int) -> Any:
        self.calls_of_generator += 1
        return noise.uniforms(seed, stream, start, count)

    def steps(self, rules: Sequence[Params], steps: int = 20) -> None:
        selection = new_selection(len(rules))
        decoders = [single(params, slot, seed=slot) for slot, params in enumerate(rules)]
        generator = torch.Generator().manual_seed(1)
        for _ in range(steps):
            logits = torch.randn(len(rules), VOCABULARY, generator=generator)
            logits[:, DIMS.stop_mel_token] = -100
            selection.choose(logits, decoders)


def test_one_row_without_top_k_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    counted.steps([SAMPLE] * 32)
    of_narrow_rows = counted.sorted
    counted.steps([SAMPLE] * 31 + [WIDE])
    assert counted.shortlists == [(32, USUAL)] * 40
    assert counted.sorted < 2 * of_narrow_rows + 20 * 2 * VOCABULARY  # of the wide row itself


def test_other_widths_are_sorted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    counted.steps([SAMPLE, changed(SAMPLE, top_k=90), GREEDY, changed(SAMPLE, top_k=100)], steps=1)
    assert sorted(counted.shortlists) == [(2, USUAL), (2, WIDEST)]


def test_random_numbers_of_many_steps_are_made_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    counted.steps([SAMPLE] * 8, steps=50)
    assert counted.calls_of_generator == 8


@pytest.mark.parametrize("params", [SAMPLE, changed(SAMPLE, top_k=112), GREEDY])
def test_of_many_equal_scores_the_lower_codes_are_candidates(params: Params) -> None:
    """More of them than a shortlist has columns, which the device would choose from by chance."""
    logits = torch.full((300, VOCABULARY), 2.0)
    logits[:, 500] = 3.0
    logits[:, DIMS.stop_mel_token] = -100
    flat = changed(params, top_p=1.0, repetition_penalty=1.0)
    chosen = new_selection(300).choose(logits, [single(flat, slot, seed=slot) for slot in range(300)])
    codes = {each.codes[0] for each in chosen if isinstance(each, NextCodes)}
    width = params.shortlist_width(VOCABULARY)
    assert codes <= {500, *range(width - 1)}
    assert (codes == {500}) == (params is GREEDY)
    assert params is GREEDY or width == params.top_k + TIES


def test_scores_that_are_no_numbers_fail_one_request_only() -> None:
    group = new_decoder(DEFAULT, (0, 1, 2), DIMS, seed=1, stream=0)
    sick, well, wide, sick_wide = (
        single(params, slot) for slot, params in enumerate((SAMPLE, GREEDY, WIDE, WIDE), start=3)
    )
    logits = torch.randn(7, VOCABULARY)
    logits[3, 4] = torch.nan
    logits[6, 4] = torch.inf
    chosen = new_selection(7).choose(logits, [group, sick, well, wide, sick_wide])
    assert [type(each) for each in chosen] == [
        NextCodes,
        FloatingPointError,
        NextCodes,
        NextCodes,
        FloatingPointError,
    ]
    assert sick.steps == sick_wide.steps == 0
    whole = new_decoder(DEFAULT, (0, 1, 2), DIMS, seed=1, stream=0)
    (failed,) = new_selection(3).choose(torch.full((3, VOCABULARY), torch.inf), [whole])
    assert isinstance(failed, FloatingPointError)


def test_the_start_code_is_never_chosen() -> None:
    logits = torch.randn(1, VOCABULARY)
    logits[0, DIMS.start_mel_token] = 1000.0
    for params in (GREEDY, SAMPLE, WIDE):
        (chosen,) = new_selection(1).choose(logits, [single(params)])
        assert isinstance(chosen, NextCodes)
        assert chosen.codes != (DIMS.start_mel_token,)
    (chosen,) = new_selection(1, allow_start_code=True).choose(logits, [single(GREEDY)])
    assert isinstance(chosen, NextCodes)
    assert chosen.codes == (DIMS.start_mel_token,)


def test_a_code_is_penalised_from_the_step_on_that_chose_it() -> None:
    """Once, however often it was said; a beam has what its parent said."""
    decoders = [single(changed(GREEDY, repetition_penalty=2.0)), single(SAMPLE, 1)]
    selection = new_selection(2)
    logits = torch.zeros(2, VOCABULARY)
    logits[:, 7], logits[:, 9] = 8.0, -8.0
    for code in (7, 9, 7):
        selection.append(decoders, [decoder.append(code) for decoder in decoders])
    scores = selection.scores(logits, decoders)
    assert scores[0, [7, 9, 11]].tolist() == [4.0, -16.0, 0.0]
    beams = new_decoder(DEFAULT, (2, 0, 1), DIMS, seed=0, stream=0)
    selection = new_selection(3)
    for codes, parents in (((3, 4, 5), (0, 0, 0)), ((6, 7, 8), (2, 0, 0)), ((9, 9, 9), (0, 1, 0))):
        beams.steps += 1
        selection.append([beams], [NextCodes(codes, parents, finished=False)])
    seen = selection.history.seen(torch.tensor(beams.slots), beams.steps).tolist()
    assert [sorted(set(row)) for row in seen] == [
        [1, *said, DIMS.start_mel_token] for said in ([5, 6, 9], [3, 7, 9], [5, 6, 9])
    ]


def test_filters_of_a_row_do_not_reach_another() -> None:
    """The typical filter and the log-softmax of beams run over their own rows alone."""
    logits = torch.randn(4, VOCABULARY)
    seen = torch.ones(4, 1, dtype=torch.int64)
    rows = [SAMPLE, changed(SAMPLE, typical_mass=0.5), DEFAULT, changed(SAMPLE, temperature=0.5)]
    together = processed(logits, seen, ScoreRules.of(rows, logits.device), forbidden=None)
    for row, params in enumerate(rows):
        own = slice(row, row + 1)
        alone = processed(logits[own], seen[own], ScoreRules.of([params], logits.device), forbidden=None)
        assert torch.equal(together[own], alone)
    assert together[1].isinf().any()
    assert not together[[0, 2, 3]].isinf().any()


def test_top_p_keeps_what_no_filter_may_take_away() -> None:
    values = np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 3.0, 3.0, 0.0]], np.float32)
    for params, passed in ((SAMPLE, 1), (DEFAULT, 2)):
        filters = Filters([changed(params, top_p=0.0)] * 2, VOCABULARY)
        assert filters.passed(values).sum(1).tolist() == [passed] * 2


def test_draws_follow_the_distribution() -> None:
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    scores = np.log(shares)
    numbers = RandomNumbers(11, 0, beams=1, width=4)
    count = Counter(int((scores + gumbel(numbers.of_step(step)[0])).argmax()) for step in range(20_000))
    for rank, share in enumerate(shares):
        assert abs(count[rank] / 20_000 - share) < 5 * (share / 20_000) ** 0.5


@pytest.mark.slow
def test_draws_without_replacement() -> None:
    """The first of two draws is p, the second p/(1−p₁): as multinomial without replacement."""
    shares = {2: 0.6, 5: 0.3, 30 + 3: 0.1}
    values = np.log(np.array([[0.6, 0.3], [0.1, 1.0]], np.float32))
    values[1, 1] = -np.inf
    codes = np.array([[2, 5], [3, 8]])
    numbers, running = RandomNumbers(3, 0, beams=2, width=2), np.zeros(2, np.float32)
    pairs: Counter[tuple[int, ...]] = Counter()
    for step in range(20_000):
        own = numbers.of_step(step)
        places = best((values + gumbel(own)).reshape(-1), 2)
        pair = tuple((places // 2 * 30 + codes.reshape(-1)[places]).tolist())
        pairs[pair] += 1
        candidates = beam_candidates(values, codes, running, own, count=2, vocabulary=30)
        assert candidates == sorted(candidates, key=lambda candidate: -candidate[0])
        assert {flat for _, flat in candidates} == set(pair)
    for (a, b), found in pairs.items():
        expected = shares[a] * shares[b] / (1 - shares[a])
        assert abs(found / 20_000 - expected) < 5 * (expected / 20_000) ** 0.5


def test_random_numbers_depend_on_seed_stream_and_step_alone() -> None:
    def numbers(seed: int, stream: int, steps: Sequence[int]) -> list[list[float]]:
        made = RandomNumbers(seed, stream, beams=3, width=46)
        return [made.of_step(step).reshape(-1).tolist() for step in steps]

    first = numbers(1, 0, range(80))
    assert numbers(1, 0, range(79, -1, -1)) == first[::-1]
    assert len({tuple(step) for step in first}) == 80
    assert numbers(2, 0, [0]) != first[:1] != numbers(1, 1, [0])
    assert first[7] == noise.uniforms(1, "gpt.sampling.0", 7 * 138, 138).tolist()
