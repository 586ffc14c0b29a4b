"""How well generated codes say their text, judged by the phones of the codes alone (recipe.md 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deployments.indextts2.gpt.generation import generate
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.sampling import Params
from training.nano.gpt_data import GptData

CHECKED = 16
MAX_GENERATED = 500
_RUN = 2  # a phone counts when it lasts this many frames


def phones_in(track: Sequence[int]) -> list[int]:
    """Phones of a track, runs of at least two codes, silence dropped."""
    found: list[int] = []
    first = 0
    for index in range(1, len(track) + 1):
        if index == len(track) or track[index] != track[first]:
            if track[first] and index - first >= _RUN and (not found or found[-1] != track[first]):
                found.append(track[first])
            first = index
    return found


def edits(a: Sequence[int], b: Sequence[int]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


def phone_error(
    gpt: SpeechGpt, latents: Callable[[Tensor], Tensor], names: Sequence[int], data: GptData
) -> tuple[float, float]:
    """Phone error of generated codes against what was said, and their relative length; `names`: the phone of a code."""
    params = Params(num_beams=1, repetition_penalty=1.0, max_codes=MAX_GENERATED)
    wrong = total = made = true = 0
    for index in range(min(CHECKED, len(data.rows))):
        batch = data.batch([index])
        sentence = batch.sentences[0]
        zero = torch.zeros(gpt.dims.model_dim, device=gpt.device)
        prefix = gpt.prefix(latents(batch.features)[0], zero, sentence.ids)
        codes = list(generate(gpt, prefix, params, seed=index).codes)
        said = phones_in(sentence.phones.tolist())
        wrong += edits(said, phones_in([names[code] for code in codes]))
        total += len(said)
        made += len(codes)
        true += len(sentence.codes)
    return wrong / max(1, total), made / max(1, true)
