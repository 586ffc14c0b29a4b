"""One job in the engine: from prefix over codes to the last latents."""

from __future__ import annotations

import torch
from torch import Tensor

from deployments.core.errors import SpeechError
from deployments.engine.step_model import Outcome
from deployments.indextts2.gpt.cache import SlotCache
from deployments.indextts2.gpt.chunks import Chunks
from deployments.indextts2.gpt.decoders import Choice, new_decoder
from deployments.indextts2.gpt.draws import CounterDraws
from deployments.indextts2.gpt.job import CodeChunk
from deployments.indextts2.gpt.latents import LatentRow
from deployments.indextts2.gpt.model import SpeechGpt, generation_position
from deployments.indextts2.gpt.passes import CodeInput, Pass, Run
from deployments.indextts2.gpt.task import GptTask

RUNNING: Outcome[CodeChunk] = Outcome()


class CodeRow:
    """Each step: `ask` for what is to be computed, `hear` the states, `decide` if there are scores to choose from.

    First the prefix runs through slot 0, then codes are fed one by one. Latents are made in a slot of their own
    while codes are, if the job streams; otherwise in slot 0, in one run, once the codes are complete.
    """

    def __init__(
        self,
        model: SpeechGpt,
        cache: SlotCache,
        task: GptTask,
        slots: tuple[int, ...],
        latents_at_once: int,
    ) -> None:
        """latents_at_once: see Computer."""
        job, settings, dims = task.job, task.settings, model.dims
        self.slots = slots
        self._model = model
        self._cache = cache
        beams = slots[: settings.num_beams]
        draws = CounterDraws(job.seed, f"gpt.sampling.{job.stream}")
        self.decoder = new_decoder(settings, beams, dims.stop_mel_token, dims.number_mel_codes, draws)
        self._streams = task.streams
        self._emit_codes = job.emit_codes
        self._latents_at_once = latents_at_once
        self._latents = LatentRow(model, slots[-1])
        self._chunks = Chunks(job.emit_codes, dims.model_dim)
        emotion = torch.tensor(job.emotion)
        inputs = torch.cat([model.prefix(task.latents, emotion, job.text_ids), model.start()])
        self._prompt = len(inputs)
        self._run: Run | None = Run(beams[0], inputs)
        self._next: Choice | None = None
        self.error: SpeechError | None = None
        self._asked_codes = slice(0, 0)
        self._asked_latents: int | None = None
        self._asked_pieces: list[int] = []

    def ask(self, work: Pass) -> None:
        self._asked_latents = None
        self._asked_pieces = []
        if self._run is not None:
            self._asked_pieces = work.advance(self._run)
            return
        if self._next is None:
            raise RuntimeError("the row has nothing to go on from")
        position = generation_position(self.decoder.steps)
        entries = [
            CodeInput(slot, code, position)
            for slot, code in zip(self.decoder.slots, self._next.codes, strict=True)
        ]
        asked = [work.code(entry) for entry in entries]
        self._asked_codes = slice(asked[0], asked[-1] + 1)
        if self._streams:
            self._ask_latents(work)

    def _ask_latents(self, work: Pass) -> None:
        """Latent n needs code n − 1, so a chunk's latents are complete as soon as its codes are."""
        codes = self.decoder.certain()
        made, possible = self._latents.count, len(codes) + 1
        completes = possible // self._emit_codes > made // self._emit_codes
        if not completes and possible - made < self._latents_at_once:
            return
        inputs = [self._latents.next_input(codes) for _ in range(possible - made)]
        if len(inputs) == 1:
            self._asked_latents = work.code(CodeInput(self._latents.slot, *inputs[0]))
        else:
            rows = self._model.embed([code for code, _ in inputs], [position for _, position in inputs])
            self._asked_pieces = [work.piece(self._latents.slot, rows)]

    def hear(self, work: Pass) -> Tensor | None:
        """The states (beams,D) to choose the next codes by, if the row is that far."""
        if self._run is not None:
            return self._hear_run(self._run, work)
        if self._asked_latents is not None:
            self._chunks.add(work.code_states[self._asked_latents : self._asked_latents + 1])
        for piece in self._asked_pieces:
            self._chunks.add(work.piece_states[piece])
        return work.code_states[self._asked_codes]

    def _hear_run(self, run: Run, work: Pass) -> Tensor | None:
        if self.decoder.finished:
            for piece in self._asked_pieces:
                self._chunks.add(work.piece_states[piece])
        if not run.done:
            return None
        self._run = None
        if self.decoder.finished:
            return None
        # The start code is at position 0 in both passes: its state is the first latent as well.
        state = work.piece_states[self._asked_pieces[-1]][-1:]
        self._chunks.add(state)
        self._latents.count = 1
        self._cache.copy(self.slots[0], self.slots[1:], self._prompt)
        return state.expand(len(self.decoder.slots), -1)

    def decide(self, choice: Choice | FloatingPointError) -> None:
        if not isinstance(choice, Choice):
            self.error = SpeechError(f"gpt: {choice}; are the weights, the voice and the emotion sound?")
            return
        self._next = choice
        if choice.finished:
            self._finish_latents()
        else:
            self._cache.reorder(self.decoder.slots, choice.parents)

    def _finish_latents(self) -> None:
        codes = self.decoder.outcome().codes
        if not self._streams:
            self._latents.slot = self.slots[0]
            self._cache.rewind(self.slots[0], self._prompt)
        inputs = self._latents.inputs(codes)
        if len(inputs):
            self._run = Run(self._latents.slot, inputs)

    def outcome(self) -> Outcome[CodeChunk]:
        """What can be sent after this step."""
        if self.error is not None:
            return Outcome(error=self.error)
        if not self.decoder.finished:
            return Outcome(tuple(self._chunks.whole(self.decoder.certain()))) if self._streams else RUNNING
        if self._run is not None:
            return RUNNING
        result = self.decoder.outcome()
        whole = self._chunks.whole(result.codes)
        return Outcome((*whole, self._chunks.last(result.codes, limit_reached=not result.stopped)), done=True)
