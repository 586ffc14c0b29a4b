"""Decoders, and one request in a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from gpt_jobs import changed
from gpt_toy import DEFAULT, GREEDY, MIXED, SEARCH, Toy, decode_together, toy_dims
from torch import Tensor

from deployments.core.errors import InvalidRequest
from deployments.indextts2.gpt.decoding import BeamDecoder, new_decoder
from deployments.indextts2.gpt.generation import generate
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.sampling import Params


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_ending_early_does_not_change_the_result(
    length_penalty: float, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = Params(
        max_codes=40, length_penalty=length_penalty, temperature=temperature, repetition_penalty=2.0
    )
    toys = [Toy(30, seed, stop_bonus=3.0) for seed in range(40)]
    early = decode_together(toys, [params] * 40, range(40))
    # As the reference ends: only by the full list of hypotheses.
    monkeypatch.setattr(BeamDecoder, "_reachable", lambda self: np.full(len(self.slots), np.inf))
    late = decode_together(toys, [params] * 40, range(40))
    assert early.decoded == late.decoded
    steps = [sum(decoder.steps for decoder in run.decoders) for run in (early, late)]
    assert steps[0] < steps[1]


def test_immediate_stop_gives_no_codes() -> None:
    toy = Toy(30, 1, stop_bonus=200.0)
    for params in MIXED:
        run = decode_together([toy], [params], [1])
        assert run.decoded[0].codes == ()
        assert run.decoded[0].stopped
        assert run.certain[0][-1] == []


def test_certain_codes_of_beams_come_before_the_end() -> None:
    params = changed(SEARCH, max_codes=40, repetition_penalty=1.0)
    toys = [Toy(30, seed, stop_bonus=-20.0) for seed in range(10)]
    run = decode_together(toys, [params] * 10, [0] * 10)
    assert all(len(decoded.codes) == 40 and not decoded.stopped for decoded in run.decoded)
    assert any(len(steps[-2]) > 5 for steps in run.certain)


def test_wrong_number_of_slots() -> None:
    with pytest.raises(ValueError, match="3 beams"):
        new_decoder(DEFAULT, (0, 1), toy_dims(30), seed=1, stream=0)


@pytest.mark.parametrize("params", MIXED)
def test_generate(gpt: SpeechGpt, prefixes: list[Tensor], params: Params) -> None:
    params = changed(params, max_codes=15)
    decoded = generate(gpt, prefixes[0], params, seed=5)
    assert generate(gpt, prefixes[0], params, seed=5) == decoded
    assert gpt.dims.start_mel_token not in decoded.codes
    assert gpt.dims.stop_mel_token not in decoded.codes
    assert decoded.stopped == (len(decoded.codes) < 15)


def test_generate_refuses_more_codes_than_positions(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    with pytest.raises(InvalidRequest, match="59"):
        generate(gpt, prefixes[0], changed(GREEDY, max_codes=60), seed=1)
    longest = generate(gpt, prefixes[0], changed(GREEDY, max_codes=59), seed=1)
    assert len(longest.codes) <= 59
