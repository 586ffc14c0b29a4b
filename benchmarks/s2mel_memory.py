"""How the memory of the S2Mel stage grows with calls of many different lengths.

    python -m benchmarks.s2mel_memory --calls 240

Every call is a segment of another number of codes, as real ones are, made in two chunks by the engine that serves. The
figures are of the whole process, which does nothing else. With `LRU_CACHE_CAPACITY=1024` and
`ONEDNN_PRIMITIVE_CACHE_CAPACITY=1024` in the environment it shows what torch does by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer

import deployments.core.stages  # noqa: F401  (bounds the caches, before torch is loaded)
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.engine import S2MelEngine, load_networks
from deployments.indextts2.s2mel.job import S2MelJob, mel_frames
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import S2MelSettings
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice
from deployments.weights.registry import locate

FEWEST, MOST = 20, 220  # codes of a segment
PROMPT_CODES = 150  # 3 s of the voice
EVERY = 20  # calls between two figures
CACHES = (
    "LRU_CACHE_CAPACITY",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
)  # KERNELS_KEPT, where the environment says nothing


class _Profile:
    """An object reference, as far as jobs know."""

    def __init__(self, profile: VoiceProfile) -> None:
        self._profile = profile

    def __await__(self) -> Generator[Any, None, VoiceProfile]:
        yield from ()
        return self._profile


class Caller:
    """Makes segments of random codes with one voice."""

    def __init__(self, engine: S2MelEngine, profile: VoiceProfile, latent_width: int, codebook: int) -> None:
        self._engine = engine
        self._profile = profile
        self._latent_width = latent_width
        self._codebook = codebook
        self._random = np.random.default_rng(1)

    async def segment(self, number: int, count: int, frames_per_code: Fraction) -> None:
        """Two chunks: the first half with its look-ahead open, then the rest."""
        half = count // 2
        for first, end in ((0, half), (half, count)):
            job = S2MelJob(
                request_id=f"call-{number}",
                segment=f"call-{number}",
                voice=SharedVoice("voice", _Profile(self._profile)),
                first_code=first,
                codes=self._random.integers(0, self._codebook, end - first),
                latents=self._random.normal(size=(end - first, self._latent_width)).astype(np.float32),
                committed_frames=mel_frames(max(0, first - 6), frames_per_code),
                committed=None,
                seed=number,
                stream=0,
                params=Params(diffusion_steps=2, guidance=0.0),
                open_end=end < count,
                last=end == count,
            )
            reply = await self._engine.mel(job)
            assert reply.value is not None


async def grown(checkpoint: str, calls: int) -> list[dict[str, float]]:
    """Resident memory in MB, every so many calls."""
    files = IndexTTSCheckpoint(locate(checkpoint))
    import torch  # noqa: PLC0415

    networks, content = load_networks(files, device="cpu", dtype=torch.float32)
    dims = networks.dims
    prompt = mel_frames(PROMPT_CODES, files.frames_per_code)
    profile = VoiceProfile(
        {
            "mel": np.full((dims.estimator.mel_channels, prompt), -5.0, np.float32),
            "style": np.zeros(dims.estimator.style, np.float32),
            "codes": np.zeros(PROMPT_CODES, np.int64),
        }
    )
    engine = S2MelEngine(networks, content, S2MelSettings(), frames_per_code=files.frames_per_code)
    engine.start()
    caller = Caller(engine, profile, content.latent_width, content.known_codes)
    lengths = random.Random(7)
    figures = []
    began_s = time.monotonic()
    for number in range(calls):
        await caller.segment(number, lengths.randint(FEWEST, MOST), files.frames_per_code)
        if number % EVERY == EVERY - 1:
            each_s = (time.monotonic() - began_s) / EVERY
            rss = psutil.Process().memory_info().rss
            figures.append({"calls": number + 1, "mb": round(rss / 2**20, 1), "call_s": round(each_s, 3)})
            began_s = time.monotonic()
            print(figures[-1], flush=True)
    engine.stop()
    return figures


def main(
    checkpoint: str = "indextts2-nano",
    calls: int = 240,
    output: Annotated[Path | None, typer.Option(help="a JSON file for the figures")] = None,
) -> None:
    figures = asyncio.run(grown(checkpoint, calls))
    if output is not None:
        kept = {name: os.environ[name] for name in CACHES}
        output.write_text(json.dumps({**kept, "figures": figures}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
