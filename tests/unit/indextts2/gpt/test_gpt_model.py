from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.indextts2.dims import GptDims, dims_from
from deployments.indextts2.gpt.attention import CompactSlotCache, SlotCache, StepAttention
from deployments.indextts2.gpt.generation import latents_of
from deployments.indextts2.gpt.model import (
    PARTS,
    SpeechGpt,
    key_length,
    load_gpt,
)
from deployments.indextts2.gpt.positions import generation_position
from deployments.networks.packed_linear import UNPACKED_ROWS

SPECS = Path(__file__).parents[3] / "specs"


@pytest.fixture(scope="module")
def full_size() -> SpeechGpt:
    config = yaml.safe_load((SPECS / "indextts2-config.yaml").read_text())
    with torch.device("meta"):
        return SpeechGpt(dims_from(GptDims, config["gpt"], "config.yaml"))


def test_keys_and_shapes_at_full_size(full_size: SpeechGpt) -> None:
    listed = json.loads((SPECS / "indextts2-gpt-keys.json").read_text())
    expected = {name: entry["shape"] for name, entry in listed.items() if name.startswith(PARTS)}
    assert {name: list(value.shape) for name, value in full_size.state_dict().items()} == expected
    assert full_size.max_codes == 1814


def test_positions_of_the_longest_generation_are_in_the_table(full_size: SpeechGpt) -> None:
    last_fed = full_size.max_codes - 1  # the last code is not fed back
    assert generation_position(last_fed) < full_size.mel_pos_embedding.emb.num_embeddings
    assert [generation_position(i) for i in range(4)] == [0, 2, 3, 4]


def test_load_takes_its_part_and_is_strict(gpt: SpeechGpt) -> None:
    tensors = dict(gpt.state_dict())
    loaded = load_gpt({**tensors, "text_head.weight": torch.zeros(1)}, gpt.dims, source="gpt.pth")
    assert torch.equal(loaded.mel_head.weight, gpt.mel_head.weight)
    del tensors["gpt.h.1.attn.c_attn.bias"]
    with pytest.raises(CheckpointError, match=r"gpt\.h\.1\.attn\.c_attn\.bias"):
        load_gpt(tensors, gpt.dims, source="gpt.pth")


def test_prefix_drops_marks_inside_the_text(gpt: SpeechGpt) -> None:
    latents, emotion = torch.randn(4, 48), torch.randn(48)
    plain = gpt.prefix(latents, emotion, [5, 6, 7])
    assert torch.equal(gpt.prefix(latents, emotion, [0, 5, 1, 6, 7, 1]), plain)
    assert plain.shape == (4 + 2 + 3 + 2, 48)
    assert torch.equal(plain[:4], latents + emotion)
    assert torch.equal(plain[4], gpt.speed_emb.weight[1])
    assert torch.equal(plain[5], gpt.speed_emb.weight[0])


def test_prefix_refuses_long_text(gpt: SpeechGpt) -> None:
    gpt.prefix(torch.randn(4, 48), torch.randn(48), [5] * 20)
    with pytest.raises(InvalidRequest, match="20 tokens, got 21"):
        gpt.prefix(torch.randn(4, 48), torch.randn(48), [5] * 21)


def test_slot_without_room(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    cache = gpt.new_cache(1, len(prefixes[0]))
    gpt.extend(cache, [(0, prefixes[0])])
    with pytest.raises(ValueError, match="room for"):
        gpt.step(cache, [0], [3], [0])


def alone(gpt: SpeechGpt, prefix: Tensor, codes: list[int], steps: int) -> list[Tensor]:
    cache = gpt.new_cache(1, len(prefix) + steps)
    states = [gpt.extend(cache, [(0, prefix)])[0][-1]]
    return states + [gpt.step(cache, [0], [code], [i])[0] for i, code in enumerate(codes)]


def together(
    gpt: SpeechGpt, prefixes: list[Tensor], codes: list[list[int]], steps: int
) -> list[list[Tensor]]:
    """Rows join one step after another, in shuffled slots, and leave when they run out of codes."""
    cache = gpt.new_cache(len(prefixes) + 2, 64)
    slots = [6, 2, 5, 0, 3]
    states: list[list[Tensor]] = [[] for _ in prefixes]
    for now in range(steps + len(prefixes)):
        joining = [row for row in range(len(prefixes)) if row // 2 == now]
        if joining:
            made = gpt.extend(cache, [(slots[row], prefixes[row]) for row in joining])
            for row, hidden in zip(joining, made, strict=True):
                states[row].append(hidden[-1])
        active = [
            row for row in range(len(prefixes)) if row // 2 <= now and len(states[row]) <= len(codes[row])
        ]
        active.sort(key=lambda row: (row * 7 + now) % 5)
        if not active:
            break
        fed = [len(states[row]) - 1 for row in active]
        hidden = gpt.step(
            cache,
            [slots[row] for row in active],
            [codes[row][i] for row, i in zip(active, fed, strict=True)],
            fed,
        )
        for row, state in zip(active, hidden, strict=True):
            states[row].append(state)
    return states


def row_codes(steps: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randint(0, 90, (steps - 2 * row,), generator=generator).tolist() for row in range(5)]


def test_rows_do_not_depend_on_their_company(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    codes = row_codes(12)
    for row, states in enumerate(together(gpt, prefixes, codes, 12)):
        expected = torch.stack(alone(gpt, prefixes[row], codes[row], 12))
        torch.testing.assert_close(torch.stack(states), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_have_the_same_bits_in_any_company(
    gpt: SpeechGpt, prefixes: list[Tensor], dtype: torch.dtype
) -> None:
    x, weight = torch.randn(32, 48).to(dtype), torch.randn(48, 192).to(dtype)
    sizes = range(UNPACKED_ROWS, 33, UNPACKED_ROWS)
    if not all(torch.equal(x[:n] @ weight, (x @ weight)[:n]) for n in sizes):
        pytest.skip("this machine's matrix products depend on the number of rows")
    model = copy.deepcopy(gpt).to(dtype)
    codes = row_codes(12)
    given = [prefix.to(dtype) for prefix in prefixes]
    for row, states in enumerate(together(model, given, codes, 12)):
        for state, expected in zip(states, alone(model, given[row], codes[row], 12), strict=True):
            assert torch.equal(state, expected)
            assert torch.equal(model.logits(state[None]), model.logits(expected.expand(7, -1))[2:3])


def test_garbage_in_other_slots_does_not_leak(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    clean, dirty = gpt.new_cache(2, 40), gpt.new_cache(2, 40)
    dirty.keys[:, 1] = torch.nan
    dirty.values[:, 1] = torch.inf
    for cache in (clean, dirty):
        gpt.extend(cache, [(0, prefixes[1])])
    assert torch.equal(gpt.step(clean, [0], [3], [0]), gpt.step(dirty, [0], [3], [0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(gpt: SpeechGpt, prefixes: list[Tensor], dtype: torch.dtype) -> None:
    half = copy.deepcopy(gpt).to(dtype)
    codes = row_codes(12)[0]
    rough = torch.stack(alone(half, prefixes[0].to(dtype), codes, 12))
    exact = torch.stack(alone(gpt, prefixes[0], codes, 12))
    assert half.logits(rough).dtype == dtype
    assert (rough.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_pieces_of_a_prompt_equal_the_whole(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    prefix = prefixes[4]
    cache = gpt.new_cache(2, 64)
    (whole,) = gpt.extend(cache, [(0, prefix)])
    pieces = [gpt.extend(cache, [(1, piece)])[0] for piece in prefix.split([5, 1, 9, len(prefix) - 15])]
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [SlotCache, CompactSlotCache])
def test_copy_and_reorder_equal_recomputation(
    gpt: SpeechGpt, prefixes: list[Tensor], kind: type[SlotCache]
) -> None:
    """Three beams that change parents twice, against rows that were fed the resulting histories."""
    cache, slots = kind(gpt.dims, 5, 64), [3, 0, 2]
    gpt.extend(cache, [(3, prefixes[0])])
    cache.copy(3, [0, 2], len(prefixes[0]))
    histories: list[list[int]] = [[], [], []]
    for now, (codes, parents) in enumerate(
        [([5, 6, 7], [0, 1, 2]), ([8, 9, 4], [1, 1, 0]), ([2, 3, 2], [2, 0, 1]), ([1, 1, 1], [0, 0, 0])]
    ):
        cache.reorder(slots, parents)
        histories = [[*histories[parent], code] for parent, code in zip(parents, codes, strict=True)]
        hidden = gpt.step(cache, slots, codes, [now] * 3)
        for state, history in zip(hidden, histories, strict=True):
            expected = alone(gpt, prefixes[0], history, len(history))[-1]
            torch.testing.assert_close(state, expected, atol=1e-5, rtol=0)
    cache.copy(2, [1], cache.lengths[2])  # a scattered history becomes a plain one
    assert cache.straight[1]
    both = gpt.step(cache, [2, 1], [7, 7], [9, 9])
    torch.testing.assert_close(both[0], both[1], atol=1e-6, rtol=0)
    cache.clear(slots)
    assert cache.lengths[0] == 0
    assert cache.origin.eq(torch.arange(5).unsqueeze(1)).all()


def test_moved_histories_equal_named_ones(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    """Beams that keep changing parents while another group comes and goes in the slots around them."""
    generator = torch.Generator().manual_seed(3)
    caches = [kind(gpt.dims, 7, 64) for kind in (SlotCache, CompactSlotCache)]
    for turn, slots in enumerate(([4, 1, 5], [1, 5, 0], [5, 4, 1])):
        prefix = prefixes[turn]
        for cache in caches:
            cache.clear(slots)
            gpt.extend(cache, [(slots[0], prefix)])
            cache.copy(slots[0], slots[1:], len(prefix))
        for now in range(12):
            codes = torch.randint(0, 90, (3,), generator=generator).tolist()
            parents = torch.randint(0, 3, (3,), generator=generator).tolist()
            named, moved = (gpt.step(cache, slots, codes, [now] * 3) for cache in caches)
            assert torch.equal(named, moved)
            for cache in caches:
                cache.reorder(slots, parents)
        assert all(caches[1].straight)
        for cache in caches:
            cache.rewind(slots[0], len(prefix))
        named, moved = (gpt.step(cache, slots[:1], [3], [0]) for cache in caches)
        assert torch.equal(named, moved)


def test_batched_attention_equals_row_by_row(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    """What accelerators run, with scattered histories, stale memory and a rounded key length."""
    cache, slots = SlotCache(gpt.dims, 5, 100), [3, 0, 2, 4]
    cache.values.fill_(torch.nan)
    cache.keys.fill_(torch.inf)
    gpt.extend(cache, [(3, prefixes[0]), (4, prefixes[4])])
    cache.copy(3, [0, 2], len(prefixes[0]))
    gpt.step(cache, [3, 0, 2], [5, 6, 7], [0, 0, 0])
    cache.reorder([3, 0, 2], [2, 0, 0])
    rows = gpt.embed([1, 2, 3, 4], [2, 2, 2, 1])
    lengths = [cache.lengths[slot] for slot in slots]
    attention = StepAttention(
        cache, torch.tensor(slots), torch.tensor(lengths), key_length(cache, max(lengths) + 1)
    )
    batched = gpt.final_norm(gpt.gpt(rows, attention))
    torch.testing.assert_close(gpt.step(cache, slots, [1, 2, 3, 4], [2, 2, 2, 1]), batched, atol=1e-5, rtol=0)


def test_latents_in_any_pieces(gpt: SpeechGpt, prefixes: list[Tensor]) -> None:
    codes = row_codes(20)[0]
    whole = latents_of(gpt, prefixes[1], codes)
    assert whole.shape == (20, 48)
    cache = gpt.new_cache(1, 64)
    gpt.extend(cache, [(0, prefixes[1])])
    made = []
    for known, more in ((0, 1), (1, 6)):
        made += gpt.extend(cache, [(0, gpt.latent_inputs(codes[:more], known))])
    for known in (6, 7):
        made.append(gpt.step(cache, [0], [codes[known - 1]], [known]))
    made += gpt.extend(cache, [(0, gpt.latent_inputs(codes, 8))])
    assert gpt.latent_inputs(codes, len(codes)).shape == (0, 48)
    torch.testing.assert_close(torch.cat(made), whole, atol=5e-5, rtol=0)
    assert latents_of(gpt, prefixes[1], []).shape == (0, 48)
