"""One job in the engine: its prefix, its codes one by one, the latents of a model that has them, and what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.core.errors import SpeechError
from deployments.engine.step_model import Outcome
from deployments.indextts2.gpt.attention import SlotCache
from deployments.indextts2.gpt.chunks import CodeChunks, LatentChunks
from deployments.indextts2.gpt.decoding import NextCodes, new_decoder
from deployments.indextts2.gpt.forward import CodeInput, LongInput, StepInputs, StepStates
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import Position
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

    First the prefix runs through the first slot, then codes are fed one by one. If the model has latents and the job
    streams, they are made in a slot of their own while codes are; else in the first slot, as one long input, once the
    codes are complete.
    """

    def __init__(
        self,
        model: SpeechGpt,
        cache: SlotCache,
        task: GptTask,
        slots: tuple[int, ...],
        latents_at_once: int,
        position: Position,
    ) -> None:
        """latents_at_once: see Forward."""
        job, params = task.job, task.params
        self.slots = slots
        self._model = model
        self._cache = cache
        self.decoder = new_decoder(params, slots[: params.num_beams], model.dims, job.seed, job.stream)
        self.error: SpeechError | None = None
        self._position = position
        self._emit_codes = job.emit_codes
        self._code_s = job.code_s
        self._latents_at_once = latents_at_once
        self._speaks_latents = model.dims.traits.speaks_latents
        self._latents_beside = self._streams and self._speaks_latents
        self._latent_slot = slots[-1] if self._latents_beside else slots[0]
        self._latents = 0  # made, or being made in this step
        self._chunks = (
            LatentChunks(job.emit_codes, model.dims.model_dim)
            if self._speaks_latents
            else CodeChunks(job.emit_codes)
        )
        prefix = model.prefix(task.latents, torch.tensor(job.emotion), job.text_ids, job.language_id)
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
        position = self._position(self.decoder.steps)
        places = [
            inputs.add_code(CodeInput(slot, code, position))
            for slot, code in zip(self.decoder.slots, self._next.codes, strict=True)
        ]
        codes = slice(places[0], places[-1] + 1)
        self._places = self._add_latents(inputs, codes) if self._latents_beside else _Places(codes)

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
        if not self._speaks_latents:
            return
        if not self._latents_beside:
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
