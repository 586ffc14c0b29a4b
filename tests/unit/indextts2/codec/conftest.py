"""The tiny decoder."""

from __future__ import annotations

import pytest
from codec_toy import DIMS, codec_tensors

from deployments.indextts2.codec.decoder import CodeDecoder, load_code_decoder


@pytest.fixture(scope="session")
def decoder() -> CodeDecoder:
    return load_code_decoder(codec_tensors(), DIMS, source="codec.pth")
