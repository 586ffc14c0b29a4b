"""The semantic GPT: embeddings, prefix, trunk and head over a slot cache (indextts2-front.md 6 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deployments.core.errors import InvalidRequest
from deployments.core.logs import logger
from deployments.indextts2.dims import SPEED_ROWS, GptDims
from deployments.indextts2.gpt.attention import (
    Attention,
    CompactSlotCache,
    SlotCache,
    Span,
    SpanAttention,
    StepAttention,
)
from deployments.indextts2.gpt.packed_trunk import PackedTrunk
from deployments.indextts2.gpt.transformer import NORM_EPS, Trunk
from deployments.networks.packed_linear import PackedLinear, can_pack, padding_rows
from deployments.weights.tensors import load_strict, without_values

PARTS = (
    "gpt.",
    "final_norm.",
    "mel_head.",
    "mel_embedding.",
    "text_embedding.",
    "mel_pos_embedding.",
    "text_pos_embedding.",
    "speed_emb.",
    "lang_embedding.",
)  # prefixes of its keys in gpt.pth

PIECE = 128  # rows of a prefix, or of another long run, that are computed as one span
KEY_LENGTH_STEP = 64  # key lengths of a batched step are rounded up to this: few shapes


class PositionTable(nn.Module):
    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(rows, dim)


class SpeechGpt(nn.Module):
    """Attribute names are the checkpoint's keys. Rows of different sequences are computed together."""

    def __init__(self, dims: GptDims) -> None:
        super().__init__()
        self.dims = dims
        dim = dims.model_dim
        self.gpt: Trunk | PackedTrunk = Trunk(dims)
        self.final_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mel_head: nn.Linear | PackedLinear = nn.Linear(dim, dims.number_mel_codes)
        self.mel_embedding = nn.Embedding(dims.number_mel_codes, dim)
        self.text_embedding = nn.Embedding(dims.number_text_tokens + 1, dim)
        self.mel_pos_embedding = PositionTable(dims.max_mel_tokens + 3, dim)
        self.text_pos_embedding = PositionTable(dims.max_text_tokens + 2, dim)
        self.lang_embedding: nn.Embedding | None = None
        self.speed_emb: nn.Embedding | None = None
        if dims.traits.language_rows:
            self.lang_embedding = nn.Embedding(dims.traits.language_rows, dim)
        if dims.traits.speed_rows:
            self.speed_emb = nn.Embedding(SPEED_ROWS, dim)
        self._packed = False

    @property
    def device(self) -> torch.device:
        return self.mel_embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.mel_embedding.weight.dtype

    def pack(self) -> None:
        """On a CPU, lay the weights out for its fastest kernel, once and for good; elsewhere without effect.

        The weights become this process's own memory instead of pages shared with other readers of the file.
        """
        if isinstance(self.gpt, Trunk) and can_pack(self.device, self.dtype):
            self.gpt = PackedTrunk(self.gpt)
            self.mel_head = PackedLinear(self.mel_head.weight, self.mel_head.bias)
            self._packed = True

    def compile(self) -> None:
        """Compile the blocks between attentions, on an accelerator. Where that fails, log why and stay eager."""
        if self.device.type == "cpu":
            logger.info("torch.compile is off: on a CPU the GPT's packed kernels are faster")
            return
        assert isinstance(self.gpt, Trunk)  # only a CPU has packed weights
        self.gpt.compile_blocks()
        try:
            cache = self.new_cache(1, KEY_LENGTH_STEP)
            for rows in (1, 2, 3):  # the second size makes the number of rows a variable
                cache.clear([0])
                self.extend(cache, [(0, torch.zeros(rows, self.dims.model_dim).to(self.device, self.dtype))])
        except Exception as error:
            self.gpt.compile_blocks(False)
            logger.warning("torch.compile is off, the GPT runs eagerly: %s: %s", type(error).__name__, error)

    @property
    def max_codes(self) -> int:
        """The model's own limit of new codes (7.1)."""
        return self.dims.max_mel_tokens - 1

    @property
    def longest(self) -> int:
        """Positions of the longest sequence the model can make: prefix, start code and codes."""
        dims = self.dims
        return dims.condition_num_latent + SPEED_ROWS + dims.max_text_tokens + 2 + self.max_codes

    def new_cache(self, slots: int, max_length: int) -> SlotCache:
        kind = CompactSlotCache if self.device.type == "cpu" else SlotCache
        return kind(self.dims, slots, max_length, dtype=self.dtype, device=self.device)

    @torch.inference_mode()
    def prefix(
        self, latents: Tensor, emotion: Tensor, text_ids: Sequence[int], language_id: int | None = None
    ) -> Tensor:
        """Speaker latents (n,D), emotion vector (D,), text ids (L) -> (n+2+L+2, D), no start code (6.3-5).

        Ids 0 and 1 inside the text are dropped. `language_id`: a row of the model's table of languages, if it has one,
        which is added to every text position (indextts2.5-delta.md 4.1). Raises InvalidRequest if the text exceeds the
        position table.
        """
        dims = self.dims
        marks = (dims.start_text_token, dims.stop_text_token)
        ids = [marks[0], *(i for i in text_ids if i not in marks), marks[1]]
        if len(ids) > dims.max_text_tokens + 2:
            raise InvalidRequest(
                f"a text segment may have {dims.max_text_tokens} tokens, got {len(ids) - 2}; split it",
                param="input",
            )
        condition = latents.to(self.device, self.dtype) + emotion.to(self.device, self.dtype)
        text = self.text_embedding(torch.tensor(ids, device=self.device))
        text = text + self.text_pos_embedding.emb.weight[: len(ids)]
        if self.lang_embedding is not None:
            assert language_id is not None
            text = text + self.lang_embedding.weight[language_id]
        return torch.cat([condition, self._speed(), text])

    def _speed(self) -> Tensor:
        """(2,D)"""
        if self.speed_emb is None:
            return torch.zeros(SPEED_ROWS, self.dims.model_dim, dtype=self.dtype, device=self.device)
        return self.speed_emb.weight.flip(0)

    def embed(self, codes: Sequence[int] | Tensor, positions: Sequence[int] | Tensor) -> Tensor:
        """Codes and their mel position indices, (N,) each -> (N,D)."""
        codes, positions = (torch.as_tensor(t, device=self.device) for t in (codes, positions))
        return self.mel_embedding(codes) + self.mel_pos_embedding.emb(positions)

    def start(self) -> Tensor:
        """The start code at mel position 0: (1,D)."""
        return self.embed([self.dims.start_mel_token], [0])

    def latent_inputs(self, codes: Sequence[int], first: int) -> Tensor:
        """Inputs of latents first … M−1 of codes (M): the start code, then code j−1, at positions without a gap (8)."""
        fed = [self.dims.start_mel_token, *codes[:-1]][first : len(codes)]
        return self.embed(torch.tensor(fed, dtype=torch.int64), torch.arange(first, first + len(fed)))

    @torch.inference_mode()
    def extend(self, cache: SlotCache, pieces: Sequence[tuple[int, Tensor]]) -> list[Tensor]:
        """Append embeddings (T_i,D) to slots, any T_i ≥ 1 -> the states (T_i,D) after both final norms.

        A slot may have several pieces, one behind the other. The last bits of the states depend on where a sequence
        is cut into pieces, but not on how many of the pieces are computed in one pass.
        """
        counts = [len(rows) for _, rows in pieces]
        slots = [slot for slot, _ in pieces]
        hidden = self.append(cache, slots, counts, torch.cat([rows for _, rows in pieces]))
        return list(hidden.split(counts))

    def append(self, cache: SlotCache, slots: Sequence[int], counts: Sequence[int], rows: Tensor) -> Tensor:
        """As `extend`, all pieces behind one another in `rows` (N,D) -> states (N,D). Needs inference mode."""
        spans: list[Span] = []
        ends: dict[int, int] = {}
        for slot, count in zip(slots, counts, strict=True):
            spans.append(span := Span(slot, ends.get(slot, cache.lengths[slot]), count))
            _check_room(cache, span)
            ends[slot] = span.stop
        hidden = self._run(rows, SpanAttention(cache, spans))
        for slot, end in ends.items():
            cache.lengths[slot] = end
        return hidden

    @torch.inference_mode()
    def step(
        self, cache: SlotCache, slots: Sequence[int], codes: Sequence[int], positions: Sequence[int]
    ) -> Tensor:
        """Append one code, at its mel position index, to each of R different slots -> states (R,D).

        Rows that generate and rows that make latents differ only in `positions`.
        """
        lengths = [cache.lengths[slot] for slot in slots]
        spans = [Span(slot, length, 1) for slot, length in zip(slots, lengths, strict=True)]
        for span in spans:
            _check_room(cache, span)
        attention: Attention
        if self.device.type == "cpu":
            attention = SpanAttention(cache, spans)
        else:
            rows, before = torch.tensor([slots, lengths]).to(self.device, non_blocking=True)
            attention = StepAttention(cache, rows, before, key_length(cache, max(lengths) + 1))
        hidden = self._run(self.embed(codes, positions), attention)
        for span in spans:
            cache.lengths[span.slot] = span.stop
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """States (R,D) -> (R,V) in the weights' type."""
        return self.mel_head(self._padded(hidden))[: len(hidden)]

    def states(self, rows: Tensor, attention: Attention) -> Tensor:
        """Embeddings (N,D) -> states (N,D) after both final norms; moves no lengths on, checks no room."""
        return self.final_norm(self.gpt(rows, attention))

    def _run(self, rows: Tensor, attention: Attention) -> Tensor:
        return self.states(self._padded(rows), attention)[: len(rows)]

    def _padded(self, rows: Tensor) -> Tensor:
        if rows.device.type != "cpu":
            return rows
        missing = padding_rows(len(rows), packed=self._packed)
        return torch.cat((rows, rows.new_zeros(missing, rows.shape[1]))) if missing else rows


def key_length(cache: SlotCache, needed: int) -> int:
    """The length over which a batched step attends when its longest row has `needed` positions."""
    return min(cache.max_length, -(-needed // KEY_LENGTH_STEP) * KEY_LENGTH_STEP)


def _check_room(cache: SlotCache, span: Span) -> None:
    if span.stop > cache.max_length:
        raise ValueError(
            f"slot {span.slot} has room for {cache.max_length} positions, {span.stop} are needed"
        )


def load_gpt(
    tensors: Mapping[str, Tensor],
    dims: GptDims,
    *,
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SpeechGpt:
    """The GPT from the tensors of gpt.pth, or of its part under PARTS. Raises CheckpointError."""
    with without_values():
        model = SpeechGpt(dims)
    own = {name: value for name, value in tensors.items() if name.startswith(PARTS)}
    load_strict(model, own, source=source, dtype=dtype)
    return model.to(device)
