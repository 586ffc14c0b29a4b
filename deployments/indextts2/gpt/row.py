"""One job in the engine: its prefix, its codes one by one, its latents, and the chunks that are sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deployments.core.errors import SpeechError
from deployments.engine.step_model import Outcome
from deployments.indextts2.gpt.attention import SlotCache
from deployments.indextts2.gpt.decoding import NextCodes, new_decoder
from deployments.indextts2.gpt.forward import CodeInput, LongInput, StepInputs, StepStates
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.gpt.model import SpeechGpt, generation_position
from deployments.indextts2.sampling import Params

NOTHING_YET: Outcome[CodeChunk] = Outcome()
NO_CODES = slice(0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class GptTask:
    """A job that was checked and whose voice lies on the device."""

    job: GptJob
    params: Params  # the job's, with `max_codes` lowered to what a slot has room for
    latents: Tensor  # (condition_num_latent, D) of the speaker


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the results of a row's inputs are in the StepStates of a step."""

    codes: slice  # of the beams, behind one another
    latent: int | None = None  # a latent that is computed like a code
    pieces: Sequence[int] = ()


class CodeRow:
    """Each step: `add_inputs` before the network runs, `take_states` after it, and `continue_with` if there were scores
    to choose from.

    First the prefix runs through the first slot, then codes are fed one by one. If the job streams, latents are made in
    a slot of their own while codes are; else in the first slot, as one long input, once the codes are complete.
    """

    def __init__(
        self,
        model: SpeechGpt,
        cache: SlotCache,
        task: GptTask,
        slots: tuple[int, ...],
        latents_at_once: int,
    ) -> None:
        """latents_at_once: see Forward."""
        job, params = task.job, task.params
        self.slots = slots
        self._model = model
        self._cache = cache
        self.decoder = new_decoder(params, slots[: params.num_beams], model.dims, job.seed, job.stream)
        self.error: SpeechError | None = None
        self._emit_codes = job.emit_codes
        self._code_s = job.code_s
        self._latents_at_once = latents_at_once
        self._latent_slot = slots[-1] if self._streams else slots[0]
        self._latents = 0  # made, or being made in this step
        self._chunks = ChunkBuilder(job.emit_codes, model.dims.model_dim)
        prefix = model.prefix(task.latents, torch.tensor(job.emotion), job.text_ids)
        inputs = torch.cat([prefix, model.start()])
        self._prompt_length = len(inputs)
        self._long_input: LongInput | None = LongInput(slots[0], inputs)
        self._next: NextCodes | None = None
        self._places = _Places(NO_CODES)

    @property
    def _streams(self) -> bool:
        return self._emit_codes > 0

    def add_inputs(self, inputs: StepInputs) -> None:
        if self._long_input is not None:
            self._places = _Places(NO_CODES, pieces=inputs.add_pieces(self._long_input))
            return
        if self._next is None:
            raise RuntimeError("the row has nothing to go on from")
        position = generation_position(self.decoder.steps)
        places = [
            inputs.add_code(CodeInput(slot, code, position))
            for slot, code in zip(self.decoder.slots, self._next.codes, strict=True)
        ]
        codes = slice(places[0], places[-1] + 1)
        self._places = self._add_latents(inputs, codes) if self._streams else _Places(codes)

    def _add_latents(self, inputs: StepInputs, codes: slice) -> _Places:
        """Latent n needs code n−1, so the latents of a chunk are complete as soon as its codes are."""
        certain = self.decoder.certain()
        made, possible = self._latents, len(certain) + 1
        completes_chunk = possible // self._emit_codes > made // self._emit_codes
        if not completes_chunk and possible - made < self._latents_at_once:
            return _Places(codes)
        self._latents = possible
        fed = [self._model.dims.start_mel_token, *certain][made:]
        if len(fed) == 1:
            latent = inputs.add_code(CodeInput(self._latent_slot, fed[0], made))
            return _Places(codes, latent=latent)
        rows = self._model.embed(fed, range(made, possible))
        return _Places(codes, pieces=[inputs.add_piece(self._latent_slot, rows)])

    def take_states(self, states: StepStates) -> Tensor | None:
        """The states (beams,D) to choose the next codes by, if the row is that far."""
        places = self._places
        if self._long_input is not None:
            return self._take_long_input(self._long_input, [states.pieces[i] for i in places.pieces])
        if places.latent is not None:
            self._chunks.add(states.codes[places.latent : places.latent + 1])
        for piece in places.pieces:
            self._chunks.add(states.pieces[piece])
        return states.codes[places.codes]

    def _take_long_input(self, source: LongInput, pieces: Sequence[Tensor]) -> Tensor | None:
        if self.decoder.finished:  # the input was that of the latents
            for piece in pieces:
                self._chunks.add(piece)
        if not source.done:
            return None
        self._long_input = None
        if self.decoder.finished:
            return None
        # The start code is at position 0 in both passes: its state is the first latent as well.
        state = pieces[-1][-1:]
        self._chunks.add(state)
        self._latents = 1
        self._cache.copy(self.slots[0], self.slots[1:], self._prompt_length)
        return state.expand(len(self.decoder.slots), -1)

    def continue_with(self, chosen: NextCodes | FloatingPointError) -> None:
        if not isinstance(chosen, NextCodes):
            self.error = SpeechError(f"gpt: {chosen}; are the weights, the voice and the emotion sound?")
            return
        self._next = chosen
        if chosen.finished:
            self._begin_last_latents()
        else:
            self._cache.reorder(self.decoder.slots, chosen.parents)

    def _begin_last_latents(self) -> None:
        if not self._streams:
            self._cache.rewind(self._latent_slot, self._prompt_length)
        rows = self._model.latent_inputs(self.decoder.result().codes, self._latents)
        if len(rows):
            self._long_input = LongInput(self._latent_slot, rows)

    def outcome(self) -> Outcome[CodeChunk]:
        """What can be sent after this step."""
        if self.error is not None:
            return Outcome(error=self.error)
        if not self.decoder.finished:
            chunks = self._chunks.full(self.decoder.certain()) if self._streams else ()
            return Outcome(tuple(chunks), made_s=0.0 if self._next is None else self._code_s)
        if self._long_input is not None:
            return NOTHING_YET
        result = self.decoder.result()
        full = self._chunks.full(result.codes)
        return Outcome((*full, self._chunks.last(result.codes, limit_reached=not result.stopped)), done=True)


class ChunkBuilder:
    """Makes chunks of `size` codes as soon as their latents exist; with size 0 one chunk at the end."""

    def __init__(self, size: int, width: int) -> None:
        self._size = size
        self._sent = 0
        self._latents = torch.empty(0, width)  # those not sent yet
        self._made: list[Tensor] = []  # not joined with them yet

    def add(self, latents: Tensor) -> None:
        """The next latents (K,D). May be one more than there will be codes."""
        self._made.append(latents.clone())  # a view would keep the states of the whole step alive

    def full(self, codes: Sequence[int]) -> list[CodeChunk]:
        """Full chunks of codes that will not change any more; `codes` from the beginning."""
        chunks: list[CodeChunk] = []
        while self._size and min(len(codes) - self._sent, self._waiting) >= self._size:
            chunks.append(self._chunk(codes[self._sent : self._sent + self._size], finished=False))
        return chunks

    def last(self, codes: Sequence[int], *, limit_reached: bool) -> CodeChunk:
        """What is left; all latents must have been added."""
        return self._chunk(codes[self._sent :], finished=True, limit_reached=limit_reached)

    @property
    def _waiting(self) -> int:
        return len(self._latents) + sum(len(made) for made in self._made)

    def _chunk(self, codes: Sequence[int], *, finished: bool, limit_reached: bool = False) -> CodeChunk:
        if self._made:
            self._latents = torch.cat([self._latents.to(self._made[0]), *self._made])
            self._made = []
        latents, self._latents = self._latents[: len(codes)], self._latents[len(codes) :]
        if len(latents) != len(codes):
            raise RuntimeError(f"{len(codes)} codes are to be sent, but {len(latents)} latents were made")
        self._sent += len(codes)
        return CodeChunk(
            np.asarray(codes, np.int64), latents.float().cpu().numpy().copy(), finished, limit_reached
        )
