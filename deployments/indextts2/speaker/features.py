"""Semantic features: log-mel stack, w2v-BERT up to one layer, normalisation (indextts2-front.md 3.2, 3.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from deployments.core.errors import CheckpointError
from deployments.weights.tensors import load_strict, read_tensors, without_values

LAYER = re.compile(r"encoder\.layers\.(\d+)\.")
RATE_HZ = 16_000


@dataclass(frozen=True)
class LogMelStack:
    """Input of w2v-BERT: `frames` (B,T,160), `mask` (B,T) int64, `lengths` (B,).

    The mask is 0 on padding, and on the last frame of a row with an odd number of log-mel frames; that frame
    still counts in `lengths`.
    """

    frames: Tensor
    mask: Tensor
    lengths: Tensor


class SemanticFeatures(nn.Module):
    """16 kHz audio to normalised features F, always in float32."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, extractor: SeamlessM4TFeatureExtractor, network: nn.Module, mean: Tensor, variance: Tensor
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.network = network
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", variance.float().sqrt())

    def stack(self, audio: Sequence[Tensor]) -> LogMelStack:
        """Audio rows (N,) or (1,N).

        Each row is normalised by itself, so its frames do not depend on the batch.
        """
        rows = [
            self.extractor(row.reshape(-1).cpu().numpy(), sampling_rate=RATE_HZ, return_tensors="pt")
            for row in audio
        ]
        frames = [row["input_features"][0] for row in rows]
        masks = [row["attention_mask"][0].long() for row in rows]
        return LogMelStack(
            nn.utils.rnn.pad_sequence(frames, batch_first=True),
            nn.utils.rnn.pad_sequence(masks, batch_first=True),
            torch.tensor([len(row) for row in frames]),
        )

    @torch.inference_mode()
    def forward(self, audio: Sequence[Tensor]) -> list[Tensor]:
        """Audio rows (N,) or (1,N) to their features (T,W), T = ceil(log-mel frames / 2)."""
        stack = self.stack(audio)
        device = self.mean.device
        hidden = self.network(stack.frames.to(device), attention_mask=stack.mask.to(device)).last_hidden_state
        features = (hidden - self.mean) / self.deviation
        return [row[:length] for row, length in zip(features, stack.lengths.tolist(), strict=True)]


def load_semantic_features(
    folder: Path, statistics: Mapping[str, Tensor], *, layer: int, device: torch.device | str = "cpu"
) -> SemanticFeatures:
    """w2v-BERT of `folder` (config, preprocessor_config, model.safetensors) cut to its first `layer` layers.

    The output of layer n is the last hidden state of the model cut there; the layers above are never read.
    """
    config = Wav2Vec2BertConfig.from_pretrained(folder)
    if config.num_hidden_layers < layer:
        raise CheckpointError(
            f"{folder}: the features are taken after layer {layer}, but there are {config.num_hidden_layers}"
        )
    config.num_hidden_layers = layer
    with without_values():
        network = Wav2Vec2BertModel(config)
    path = folder / "model.safetensors"

    def above(name: str) -> bool:
        return bool((found := LAYER.match(name)) and int(found[1]) >= layer)

    load_strict(network, read_tensors(path), source=str(path), unused=above, dtype=torch.float32)
    missing = {"mean", "var"} - statistics.keys()
    if missing:
        raise CheckpointError(f"the feature statistics lack {', '.join(sorted(missing))}")
    extractor = SeamlessM4TFeatureExtractor.from_pretrained(folder)
    return SemanticFeatures(extractor, network, statistics["mean"], statistics["var"]).eval().to(device)
