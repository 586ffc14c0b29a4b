"""VoxCPM as a plain loop over its networks: one text at a time, no engine. What `benchmarks.voxcpm_engine` compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from deployments.core.speech import Samples
from deployments.engine.noise import normals
from deployments.voxcpm.lm.attention import SlotSpan
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.patch.flow import PatchSolver
from deployments.voxcpm.patch.times import TimeTable
from deployments.voxcpm.step.decoding import WaveDecoder
from deployments.voxcpm.step.prefix import AUDIO_START

GUIDANCE, EULER_STEPS = 2.0, 10


class PlainLoop:
    """On the CPU, without a recording; section numbers are those of docs/specs/voxcpm.md."""

    def __init__(
        self,
        network: VoxCPMNetwork,
        new_wave_decoder: Callable[[int], WaveDecoder],
        *,
        max_length: int,
        time_dtype: torch.dtype,
    ) -> None:
        self._network = network
        self._cache = network.new_slots(1, max_length)
        self._wave = new_wave_decoder(1)
        self._times = TimeTable(network.velocity, time_dtype)
        self._solver = PatchSolver(
            network.velocity, self._times, network.padded_sequences(1), network.decoder_rotation()
        )

    @torch.inference_mode()
    def speak(self, ids: Sequence[int], seed: int, patches: int) -> Iterator[Samples]:
        """The samples of each patch, at most `patches` of them (section 8), with the noise that a job of this seed
        has in the engine."""
        dims = self._network.dims
        base, residual = self._read(ids)
        previous = torch.zeros(1, dims.patch_size, dims.latent_dim)
        self._wave.reset(0)
        size = dims.patch_size
        noise = torch.from_numpy(normals(seed, 0, 0, patches * size, dims.latent_dim)).mT.unflatten(
            0, (patches, size)
        )
        for number in range(patches):
            logits = self._network.stop_logits(base)[0]
            previous = self._patch(noise[number], self._network.conditions(base, residual), previous)
            yield self._wave.step(torch.zeros(1, dtype=torch.int64), previous.mT)[0].numpy()
            if number > 1 and logits[1] > logits[0]:
                return
            encoded = self._network.encode(previous)
            base, residual = self._append(encoded, encoded, is_audio=True)

    def _read(self, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The states behind the text (section 4), (1, H) each."""
        self._cache.reset(0)
        inputs = self._network.embed(torch.tensor([*ids, AUDIO_START]))
        return self._append(inputs, torch.zeros_like(inputs), is_audio=False)

    def _append(self, inputs: Tensor, encoded: Tensor, *, is_audio: bool) -> tuple[Tensor, Tensor]:
        span = SlotSpan(0, self._cache.lengths[0], len(inputs))
        kinds = torch.full((len(inputs), 1), is_audio)
        base, residual = self._network.append(self._cache, [span], inputs, encoded, kinds)
        return base[-1:], residual[-1:]

    def _patch(self, noise: Tensor, mu: Tensor, previous: Tensor) -> Tensor:
        """A patch (1, P, D) out of noise (P, D) (section 7)."""
        times = self._times
        evaluations = times.evaluations(EULER_STEPS)
        self._solver.begin(
            noise[None],
            mu,
            previous,
            guidance=torch.tensor([GUIDANCE]),
            first=torch.tensor([times.first(EULER_STEPS)]),
            evaluations=torch.tensor([evaluations]),
        )
        for _ in range(evaluations):
            self._solver.euler(1)
        return self._solver.x[:1].clone()
