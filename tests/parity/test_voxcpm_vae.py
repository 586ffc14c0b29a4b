"""VoxCPM's AudioVAE against the golden data: recordings to patches, and latents to samples, whole and in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from golden_close import close
from torch import Tensor

from deployments.core.errors import CheckpointError
from deployments.voxcpm.dims import VaeDims, dims_from
from deployments.voxcpm.vae.decoder import StreamingDecoder, VaeDecoder, history_frames, load_decoder
from deployments.voxcpm.vae.encoder import Clip, PatchEncoder, load_encoder
from deployments.weights.tensors import read_tensors

LIMIT = 2e-5
WAVE_LIMIT = 2e-4
COMPANY_LIMIT = 1e-5

Arrays = dict[str, Tensor]


@dataclass(frozen=True)
class Golden:
    folder: Path
    dims: VaeDims
    patch_size: int
    tensors: Arrays
    modules: Arrays
    cases: Arrays

    @classmethod
    def read(cls, folder: Path) -> Golden:
        dims = dims_from(json.loads((folder / "model/config.json").read_text()))
        tensors = read_tensors(folder / "model/audiovae.pth")
        return cls(
            folder,
            dims.vae,
            dims.patch_size,
            {name.removeprefix("state_dict."): value for name, value in tensors.items()},
            arrays(folder / "modules.npz"),
            arrays(folder / "cases.npz"),
        )

    def decoder(self, rate_hz: int | None = None) -> VaeDecoder:
        return load_decoder(self.tensors, self.dims, source="golden", rate_hz=rate_hz)

    def patch_encoder(self) -> PatchEncoder:
        return PatchEncoder(load_encoder(self.tensors, self.dims, source="golden"), self.patch_size)

    def waves(self, context: str) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(case, latents (D, T), wave) of all cases that have a wave with `context`."""
        for name, wave in self.cases.items():
            case, array = name.split(".")
            if array == f"wave_full_decode_{context}_context":
                yield case, latents(self.cases[f"{case}.patches"]), wave

    def prompt(self, case: str) -> Tensor:
        """Latents (D, T) of the prompt that the audio of a case continues."""
        mask = self.cases[f"{case}.feat_mask"].bool()
        text = ~mask
        first = int(text.nonzero().max()) + 1
        return latents(self.cases[f"{case}.prefill_feat"][first:])


def arrays(path: Path) -> Arrays:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def latents(patches: Tensor) -> Tensor:
    """(T, P, D) -> (D, T * P)"""
    return patches.flatten(0, 1).T.contiguous()


@pytest.fixture(scope="module", params=["v15", "v2"])
def golden_vae(request: pytest.FixtureRequest, golden: Path) -> Golden:
    return Golden.read(golden / "voxcpm" / request.param)


@pytest.fixture(scope="module")
def decoder(golden_vae: Golden) -> VaeDecoder:
    return golden_vae.decoder()


def test_encode(golden_vae: Golden) -> None:
    [mean] = golden_vae.patch_encoder().latents([golden_vae.modules["vae.audio"][0].numpy()])
    close(mean, golden_vae.modules["vae.encode_mu"][0], LIMIT)


@pytest.mark.parametrize("use", ["prompt", "reference"])
def test_patches(golden_vae: Golden, use: str) -> None:
    samples, rate_hz = soundfile.read(golden_vae.folder / f"{use}.wav", dtype="float32")
    assert rate_hz == golden_vae.dims.in_sample_rate_hz
    [patches] = golden_vae.patch_encoder().patches([Clip(samples, use)])  # type: ignore[arg-type]
    close(torch.from_numpy(patches), golden_vae.modules[f"vae.{use}_patches"], LIMIT)


def test_recordings_of_a_batch_do_not_know_of_each_other(golden_vae: Golden) -> None:
    draw = np.random.default_rng(5)
    # The longest goes through several windows.
    recordings = [
        Clip(0.3 * draw.standard_normal(int(hops * golden_vae.dims.in_hop), np.float32), use)
        for hops, use in ((3.4, "prompt"), (130.7, "reference"), (61.0, "prompt"), (0.1, "reference"))
    ]
    encoder = golden_vae.patch_encoder()
    together = encoder.patches(recordings)
    for recording, patches in zip(recordings, together, strict=True):
        [alone] = encoder.patches([recording])
        close(torch.from_numpy(patches), torch.from_numpy(alone), COMPANY_LIMIT)


def test_windows_of_the_encoder_equal_one_pass(golden_vae: Golden) -> None:
    network = load_encoder(golden_vae.tensors, golden_vae.dims, source="golden")
    samples = torch.randn(1, 120 * golden_vae.dims.in_hop, generator=torch.Generator().manual_seed(1))
    whole, _ = network(samples)
    [windows] = golden_vae.patch_encoder().latents([samples[0].numpy()])
    close(windows, whole[0], COMPANY_LIMIT)


def test_decode_whole(golden_vae: Golden, decoder: VaeDecoder) -> None:
    samples, _ = decoder(golden_vae.modules["vae.latents"])
    close(samples, golden_vae.modules["vae.decode_full"][:, 0], LIMIT)


def test_decode_in_pieces(golden_vae: Golden, decoder: VaeDecoder) -> None:
    frames = golden_vae.modules["vae.latents"][0]
    expected = golden_vae.modules["vae.decode_full"][0, 0]
    total, patch = frames.shape[1], golden_vae.patch_size
    for pattern in ([1], [patch], [1, patch, 2, 7, 1, 3]):
        close(stream(decoder, frames, pieces_of(total, pattern)), expected, LIMIT)
    if "vae.decode_stateful_chunks" in golden_vae.modules:
        samples = stream(decoder, frames, pieces_of(total, [patch]))
        close(samples, golden_vae.modules["vae.decode_stateful_chunks"][0, 0], LIMIT)


def pieces_of(total: int, pattern: list[int]) -> list[int]:
    """Lengths that follow the pattern again and again, the last one cut so that they are `total` together."""
    lengths: list[int] = []
    for length in cycle(pattern):
        left = total - sum(lengths)
        if not left:
            return lengths
        lengths.append(min(length, left))
    raise AssertionError("a pattern has lengths")


def stream(decoder: VaeDecoder, frames: Tensor, lengths: list[int], before: Tensor | None = None) -> Tensor:
    """Samples of the latents `frames`, decoded in pieces of these lengths, beside a slot in use by another stream."""
    streaming = StreamingDecoder(decoder, 3, "cpu")
    streaming.prime(1, frames[:, :0] if before is None else before)
    other = torch.randn(1, frames.shape[0], 1, generator=torch.Generator().manual_seed(2))
    pieces = []
    for piece in frames.split(lengths, dim=1):
        pieces.append(streaming.step(torch.tensor([1]), piece[None])[0])
        streaming.step(torch.tensor([2]), other)
    return torch.cat(pieces)


def test_output_rates(golden_vae: Golden) -> None:
    rates_hz = [int(name.removeprefix("vae.decode_sr")) for name in golden_vae.modules if "decode_sr" in name]
    assert bool(rates_hz) == bool(golden_vae.dims.sr_bin_boundaries)
    for rate_hz in rates_hz:
        expected = golden_vae.modules[f"vae.decode_sr{rate_hz}"][:, 0]
        decoder = golden_vae.decoder(rate_hz)
        samples, _ = decoder(golden_vae.modules["vae.latents"][..., : expected.shape[1] // decoder.hop])
        close(samples, expected, LIMIT)


def test_waves_of_the_cases(golden_vae: Golden, decoder: VaeDecoder) -> None:
    cases = list(golden_vae.waves("no"))
    assert cases
    for _, frames, wave in cases:
        close(decoder(frames[None])[0][0], wave, WAVE_LIMIT)
        patches = frames.shape[1] // golden_vae.patch_size
        close(stream(decoder, frames, [golden_vae.patch_size] * patches), wave, WAVE_LIMIT)


def test_a_primed_stream_equals_decoding_the_prompt_too(golden_vae: Golden, decoder: VaeDecoder) -> None:
    cases = list(golden_vae.waves("prompt"))
    assert cases
    for case, frames, wave in cases:
        patches = frames.shape[1] // golden_vae.patch_size
        before = golden_vae.prompt(case)
        close(stream(decoder, frames, [golden_vae.patch_size] * patches, before=before), wave, WAVE_LIMIT)


def test_no_more_of_a_long_prompt_is_needed_than_the_history(golden_vae: Golden, decoder: VaeDecoder) -> None:
    draw = torch.Generator().manual_seed(3)
    before = torch.randn(golden_vae.dims.latent_dim, 3 * decoder.history_frames, generator=draw)
    after = torch.randn(golden_vae.dims.latent_dim, 2 * decoder.history_frames, generator=draw)
    whole = decoder(torch.cat([before, after], dim=1)[None])[0][0, before.shape[1] * decoder.hop :]
    close(stream(decoder, after, [1] * after.shape[1], before=before), whole, LIMIT)


def test_company_and_slots_change_nothing(golden_vae: Golden, decoder: VaeDecoder) -> None:
    """Streams that join and leave, in slots used before, against each one alone."""
    draw = torch.Generator().manual_seed(4)
    frames = torch.randn(5, golden_vae.dims.latent_dim, 8 * golden_vae.patch_size, generator=draw)
    patches = frames.split(golden_vae.patch_size, dim=2)
    streaming = StreamingDecoder(decoder, 8, "cpu")
    made: list[list[Tensor]] = [[] for _ in frames]
    for members in ([0], [0, 1, 2], [0, 1, 2, 3, 4], [4, 2], [3], [1, 0, 4]):
        for who in members:
            if not made[who]:
                streaming.step(torch.tensor([who + 2]), patches[7][[who]])  # whoever had the slot
                streaming.reset(who + 2)
        latents_now = torch.stack([patches[len(made[who])][who] for who in members])
        samples = streaming.step(torch.tensor(members) + 2, latents_now)
        for who, piece in zip(members, samples, strict=True):
            made[who].append(piece)
    for who, pieces in enumerate(made):
        count = len(pieces) * golden_vae.patch_size
        close(torch.cat(pieces), decoder(frames[[who], :, :count])[0][0], COMPANY_LIMIT)


def test_weight_norms_may_have_been_folded(golden_vae: Golden, decoder: VaeDecoder) -> None:
    folded = dict(golden_vae.tensors)
    for name in [name for name in folded if name.endswith(".weight_v")]:
        direction, gain = folded.pop(name), folded.pop(name.replace("_v", "_g"))
        folded[name.removesuffix("_v")] = direction * gain / direction.flatten(1).norm(dim=1).view_as(gain)
    frames = golden_vae.modules["vae.latents"]
    close(load_decoder(folded, golden_vae.dims, source="folded")(frames)[0], decoder(frames)[0], LIMIT)


def test_tensors_must_fit(golden_vae: Golden) -> None:
    missing = {name: value for name, value in golden_vae.tensors.items() if name != "decoder.model.0.bias"}
    with pytest.raises(CheckpointError, match=r"golden, decoder: 1 tensors missing: model\.0\.bias"):
        load_decoder(missing, golden_vae.dims, source="golden")
    with pytest.raises(CheckpointError, match="'other' is part of neither"):
        load_encoder({**golden_vae.tensors, "other": torch.zeros(1)}, golden_vae.dims, source="golden")


@pytest.mark.parametrize(
    ("strides", "frames"), [((8, 8, 5, 2), 19), ((7, 7, 6, 3, 2), 21), ((8, 6, 5, 2, 2, 2), 20)]
)
def test_history_of_the_published_decoders(strides: tuple[int, ...], frames: int, golden_vae: Golden) -> None:
    published = VaeDims(**{**vars(golden_vae.dims), "decoder_strides": strides})
    assert history_frames(published) == frames
