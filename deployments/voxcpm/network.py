"""All networks of VoxCPM but the AudioVAE: two language models, patch encoder and decoder, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deployments.networks.packed_linear import can_pack, pack_linears, padding_rows
from deployments.voxcpm.dims import TowerDims, VoxCPMDims
from deployments.voxcpm.lm.attention import AttendSpans, AttendStep, SlotSpan
from deployments.voxcpm.lm.kv_slots import KvSlots
from deployments.voxcpm.lm.quantizer import ScalarQuantizer
from deployments.voxcpm.lm.rope import RopeTable, Rotation
from deployments.voxcpm.lm.tower import Tower, fuse_projections
from deployments.voxcpm.patch.encoder import LocalEncoder
from deployments.voxcpm.patch.velocity import VelocityNetwork
from deployments.weights.tensors import load_strict, without_values


class TextModel(Tower):
    """The base language model: a tower with a table of token embeddings."""

    def __init__(self, dims: VoxCPMDims) -> None:
        super().__init__(dims.base)
        self.embed_tokens = nn.Embedding(dims.vocabulary, dims.base.hidden)


class PatchDecoder(nn.Module):
    """The level at which the checkpoint names the velocity network."""

    def __init__(self, dims: VoxCPMDims) -> None:
        super().__init__()
        self.estimator = VelocityNetwork(dims)


class VoxCPMNetwork(nn.Module):
    """Attribute names are the checkpoint's keys. Rows of different sequences are computed together; after `prepare` no
    bit of a row depends on the other rows on a CPU."""

    def __init__(self, dims: VoxCPMDims) -> None:
        super().__init__()
        self.dims = dims
        hidden, decoder_hidden = dims.base.hidden, dims.decoder.hidden
        self.base_lm = TextModel(dims)
        self.residual_lm = Tower(dims.residual, first_layer=dims.base.layers)
        self.feat_encoder = LocalEncoder(dims)
        self.feat_decoder = PatchDecoder(dims)
        self.fsq_layer = ScalarQuantizer(dims)
        self.enc_to_lm_proj = nn.Linear(dims.encoder.hidden, hidden)
        self.lm_to_dit_proj = nn.Linear(hidden, decoder_hidden)
        self.res_to_dit_proj = nn.Linear(hidden, decoder_hidden)
        self.stop_proj = nn.Linear(hidden, hidden)
        self.stop_head = nn.Linear(hidden, 2, bias=False)
        if dims.is_version_2:
            self.fusion_concat_proj = nn.Linear(2 * hidden, hidden)
        self._packed = False
        self._ropes: dict[str, RopeTable | None] = {}

    @property
    def device(self) -> torch.device:
        return self.base_lm.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.base_lm.embed_tokens.weight.dtype

    @property
    def velocity(self) -> VelocityNetwork:
        return self.feat_decoder.estimator

    def prepare(self) -> None:
        """Once, where the network will run: on a CPU lay weights out for its fastest kernel, and tabulate positions."""
        if can_pack(self.device, self.dtype):
            pack_linears(self, keep=nn.Embedding)
            self._packed = True
        dims = self.dims
        self._ropes = {
            "base": self._rope(dims.base, dims.max_length),
            "residual": self._rope(dims.residual, dims.max_length),
            "encoder": self._rope(dims.encoder, dims.patch_size + 1),
            "decoder": self._rope(dims.decoder, self.velocity.positions),
        }

    def new_slots(self, slots: int, max_length: int) -> KvSlots:
        """Keys and values of both language models, which always have the same positions."""
        return KvSlots(
            self.dims.base,
            layers=self.dims.base.layers + self.dims.residual.layers,
            slots=slots,
            max_length=max_length,
            dtype=self.dtype,
            device=self.device,
        )

    def embed(self, ids: Tensor) -> Tensor:
        """Text ids (N,) -> (N, H)."""
        rows: Tensor = self.base_lm.embed_tokens(ids)
        return rows if self.dims.embedding_scale == 1.0 else rows * self.dims.embedding_scale

    def encode(self, patches: Tensor) -> Tensor:
        """Patches (N, P, D) -> (N, H), what the language models get for them."""
        rows = self._padded(patches.to(self.dtype), each=patches.shape[1])
        encoded = self.feat_encoder(rows, self._first("encoder", self.dims.patch_size + 1))[: len(patches)]
        return self.enc_to_lm_proj(self._padded(encoded))[: len(patches)]

    def append(
        self, cache: KvSlots, spans: Sequence[SlotSpan], inputs: Tensor, encoded: Tensor, is_audio: Tensor
    ) -> tuple[Tensor, Tensor]:
        """New positions of slots, one span behind the other -> states of base and residual model, (N, H) each.

        inputs (N, H): embedded text or encoded patch; encoded (N, H): encoded patch or zeros; is_audio (N, 1). The
        base states are quantised at audio positions. Every span is exactly causal on its own slot; the last bits
        depend on where a sequence is cut into spans, but not on which others there are.
        """
        group = self.dims.base.heads // self.dims.base.kv_heads
        padding = self._padding(len(inputs))
        attend = AttendSpans(cache, spans, group, padding=padding)
        inputs, encoded, is_audio = (self._padded(rows) for rows in (inputs, encoded, is_audio))
        states, residual = self._advance(inputs, encoded, is_audio, attend)
        for span in spans:
            cache.lengths[span.slot] = span.stop
        used = len(inputs) - padding
        return states[:used], residual[:used]

    def step(
        self, cache: KvSlots, slots: Tensor, lengths: Tensor, key_length: int, encoded: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One encoded patch (R, H) for each of R slots that hold `lengths` positions: as `append`, without a look at
        any value on the host. Moves no lengths on; attends to `key_length` positions at most."""
        attend = AttendStep(cache, slots, lengths, key_length)
        return self._advance(encoded, encoded, None, attend)

    def conditions(self, states: Tensor, residual: Tensor) -> Tensor:
        """States (B, H) each -> what conditions the patch decoder, (B, mu_tokens, decoder hidden)."""
        count = len(states)
        a = self.lm_to_dit_proj(self._padded(states))[:count]
        b = self.res_to_dit_proj(self._padded(residual))[:count]
        return torch.stack((a, b), dim=1) if self.dims.is_version_2 else (a + b).unsqueeze(1)

    def stop_logits(self, states: Tensor) -> Tensor:
        """Base states (B, H) -> (B, 2); speech ends where the second one is larger."""
        hidden = F.silu(self.stop_proj(self._padded(states)))
        return self.stop_head(hidden)[: len(states)]

    def decoder_rotation(self) -> Rotation | None:
        return self._first("decoder", self.velocity.positions)

    def padded_sequences(self, count: int) -> int:
        """So many patches must the patch decoder be given at a time, for `count` of them."""
        return count + self._padding(count, each=self.dims.patch_size)

    def _advance(
        self, inputs: Tensor, encoded: Tensor, is_audio: Tensor | None, attend: AttendSpans | AttendStep
    ) -> tuple[Tensor, Tensor]:
        """`is_audio` None: everywhere."""
        states = self.base_lm(inputs, attend, self._at("base", attend.positions))
        quantised = self.fsq_layer(states)
        states = quantised if is_audio is None else torch.where(is_audio, quantised, states)
        residual = self.residual_lm(
            self._fused(states, encoded), attend, self._at("residual", attend.positions)
        )
        return states, residual

    def _fused(self, states: Tensor, encoded: Tensor) -> Tensor:
        if self.dims.is_version_2:
            fused: Tensor = self.fusion_concat_proj(torch.cat((states, encoded), dim=-1))
            return fused
        return states + encoded

    def _rope(self, tower: TowerDims, length: int) -> RopeTable | None:
        return None if tower.rope is None else RopeTable(tower.rope, tower.head_dim, length, self.device)

    def _first(self, tower: str, count: int) -> Rotation | None:
        table = self._ropes[tower]
        return None if table is None else table.first(count)

    def _at(self, tower: str, positions: Tensor) -> Rotation | None:
        table = self._ropes[tower]
        return None if table is None else table.at(positions)

    def _padding(self, count: int, *, each: int = 1) -> int:
        return padding_rows(count, each=each, packed=self._packed) if self.device.type == "cpu" else 0

    def _padded(self, rows: Tensor, *, each: int = 1) -> Tensor:
        missing = self._padding(len(rows), each=each)
        return torch.cat((rows, rows.new_zeros(missing, *rows.shape[1:]))) if missing else rows


def load_network(
    tensors: Mapping[str, Tensor],
    dims: VoxCPMDims,
    *,
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VoxCPMNetwork:
    """From all tensors of the model's file, ready to run; the weights become this process's own memory.

    `source` names the file in errors. Raises CheckpointError.
    """
    with without_values():
        network = VoxCPMNetwork(dims)
    load_strict(network, tensors, source=source, dtype=dtype)
    fuse_projections(network)
    network = network.to(device)
    network.prepare()
    return network
