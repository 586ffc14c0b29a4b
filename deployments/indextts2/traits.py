"""What tells the generations of IndexTTS apart. All the rest of the family asks for a trait, never for a version."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

STYLE_PROJECTION = "spk_emb_proj.weight"  # of gpt.pth: only checkpoints of the second kind have it
VOCABULARY_25 = 60_509  # pieces of the one tiktoken vocabulary that there is


@dataclass(frozen=True, slots=True)
class Traits:
    """indextts2.5-delta.md 0. One of the two below, chosen by `traits_of`."""

    name: str  # for people
    source: str  # that can be pulled: `voicegraph models pull`
    vocabulary: Literal["sentencepiece", "tiktoken"]
    frames_per_code: Fraction  # mel frames; without stretching
    steps_per_code: int  # features that the codec makes of a code: 1 by its embedding, 2 by its whole decoder
    edge_codes: int  # at the end of what is known, whose features are far from final: more codes would change them much
    speaks_latents: bool  # a second pass of the GPT makes latents, which are added to what the codec makes
    prompts_by_codes: bool  # the mel stage takes the codes of the recording; else its features as they are
    speaker_by_style: bool  # one GPT row, projected from the style; else 32, made of the features
    speed_rows: bool  # the GPT has a table for the two rows between speaker and text; else they are zeros
    language_rows: int  # of the GPT's table, one of which is added to every text position; 0: it has none
    stretches: bool  # a duration factor sets how many frames a code becomes


TWO = Traits(
    name="IndexTTS2",
    source="indextts2",
    vocabulary="sentencepiece",
    frames_per_code=Fraction(43, 25),
    steps_per_code=1,
    edge_codes=0,
    speaks_latents=True,
    prompts_by_codes=True,
    speaker_by_style=False,
    speed_rows=True,
    language_rows=0,
    stretches=False,
)
TWO_AND_A_HALF = Traits(
    name="IndexTTS-2.5",
    source="indextts2.5",
    vocabulary="tiktoken",
    frames_per_code=Fraction(86, 25),
    steps_per_code=2,
    edge_codes=4,  # within reach of the decoder's first convolution and its last; the others hardly reach farther
    speaks_latents=False,
    prompts_by_codes=False,
    speaker_by_style=True,
    speed_rows=False,
    language_rows=107,
    stretches=True,
)


def traits_of(*, text_tokens: object, projects_style: bool) -> Traits:
    """By what cannot be wrong in a checkpoint that works; `version` of config.yaml was (indextts2.5-delta.md 1).

    text_tokens: `gpt.number_text_tokens` of config.yaml; projects_style: whether gpt.pth holds STYLE_PROJECTION.
    """
    return TWO_AND_A_HALF if projects_style or text_tokens == VOCABULARY_25 else TWO
