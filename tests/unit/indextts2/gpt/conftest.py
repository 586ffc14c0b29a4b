from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.model import SpeechGpt


@pytest.fixture(scope="session")
def dims() -> GptDims:
    return GptDims(
        model_dim=48,
        layers=3,
        heads=3,
        max_mel_tokens=60,
        max_text_tokens=20,
        number_text_tokens=40,
        number_mel_codes=100,
        start_mel_token=98,
        stop_mel_token=99,
        start_text_token=0,
        stop_text_token=1,
        condition_num_latent=4,
    )


@pytest.fixture(scope="session")
def gpt(dims: GptDims) -> SpeechGpt:
    """Random weights large enough that every position and every earlier code matters."""
    generator = torch.Generator().manual_seed(5)
    model = SpeechGpt(dims).requires_grad_(False)
    for name, parameter in model.named_parameters():
        centre = 1.0 if name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight")) else 0.0
        scale = 0.5 if "emb" in name else 0.2
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale + centre)
    return model


@pytest.fixture(scope="session")
def prefixes(gpt: SpeechGpt) -> list[Tensor]:
    """Five prefixes of different lengths."""
    generator = torch.Generator().manual_seed(6)
    shape = (gpt.dims.condition_num_latent, gpt.dims.model_dim)
    made = []
    for length in (3, 11, 1, 7, 18):
        text = torch.randint(2, gpt.dims.number_text_tokens, (length,), generator=generator).tolist()
        latents = torch.randn(shape, generator=generator)
        made.append(gpt.prefix(latents, torch.randn(shape[1], generator=generator), text))
    return made
