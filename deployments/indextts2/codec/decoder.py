"""From codes to semantic features: the decoder side of a codec whose codes last two steps (indextts2.5-delta.md 5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deployments.indextts2.codec.backbone import Backbone, masked
from deployments.indextts2.codec.codebook import CODEBOOK, CodeEmbedding
from deployments.indextts2.dims import CodecDims
from deployments.networks.weight_norm import fold_weight_norm
from deployments.weights.tensors import load_strict, without_values

STEPS_PER_CODE = 2


class CodeEmbeddings(nn.Module):
    """The checkpoint keeps a list of quantisers; the model has one."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(
            [CodeEmbedding(dims.codebook_size, dims.codebook_dim, dims.hidden_size)]
        )


class CodeDecoder(nn.Module):
    """Convolutional over codes: what a code becomes depends on `reach` codes on each side, and on nothing else."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.quantizer = CodeEmbeddings(dims)
        self.decoder = nn.Sequential(Backbone(dims), nn.Linear(dims.vocos_dim, dims.hidden_size))
        self.up = nn.Conv1d(dims.hidden_size, dims.hidden_size, 3, padding=1)

    @property
    def embedding(self) -> CodeEmbedding:
        embedding = self.quantizer.quantizers[0]
        assert isinstance(embedding, CodeEmbedding)
        return embedding

    @property
    def reach(self) -> int:
        """Codes: those of the backbone, and one more for the step that `up` sees beyond either end of a code."""
        backbone = self.decoder[0]
        assert isinstance(backbone, Backbone)
        return backbone.reach + 1

    @torch.inference_mode()
    def decode(self, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Codes (B,n) int64 to features (B,2n,W). Rows of other lengths go together with a mask (B,n) of 0 and 1 on the
        device: each is then as if it were alone, and what it has beyond its ends means nothing.

        ValueError if a code is outside the codebook; see CodeEmbedding about where codes should come from.
        """
        mask = None if mask is None else mask[:, None]
        x = self.embedding(codes).mT
        x = self.decoder[1](self.decoder[0](x, mask)).mT
        steps = masked(x, mask).repeat_interleave(STEPS_PER_CODE, dim=-1)
        return self.up(steps).mT

    def decode_block(self, codes: npt.NDArray[np.int64], first: int, count: int) -> Tensor:
        """Features (2·count,W) of the codes from `first` to before `first + count`, decoded from a window around them.

        `codes` (n,) are all of a segment so far, and count as all there are. What lies behind the last one means
        nothing. The same bits for any n from `first + count + reach` on: the window has one shape and one place.
        """
        begin = first - self.reach
        window = np.zeros(count + 2 * self.reach, np.int64)
        mask = np.zeros(len(window), np.float32)
        start, end = max(0, begin), min(len(codes), begin + len(window))
        window[start - begin : end - begin] = codes[start:end]
        mask[start - begin : end - begin] = 1
        device = self.up.weight.device
        features = self.decode(torch.from_numpy(window)[None], torch.from_numpy(mask)[None].to(device))[0]
        return features[STEPS_PER_CODE * self.reach : STEPS_PER_CODE * (self.reach + count)]


def load_code_decoder(
    tensors: Mapping[str, Tensor], dims: CodecDims, *, source: str, device: torch.device | str = "cpu"
) -> CodeDecoder:
    """In float32 from the tensors of `codec.pth`, without the `model.` before their names. The encoder half is not used
    here; anything else that the decoder does not know is an error: CheckpointError."""
    with without_values():
        decoder = CodeDecoder(dims)
    load_strict(decoder, tensors, source=source, unused=_encodes)
    fold_weight_norm(decoder)
    return decoder.to(device)


def _encodes(name: str) -> bool:
    return name.startswith(("encoder.", "down.", f"{CODEBOOK}in_project."))
