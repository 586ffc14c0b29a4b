"""What the text front ends of both generations give: segments."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.indextts2.text.tokenizer import WORD_START


@dataclass(frozen=True)
class TextSegment:
    """What one run of the GPT speaks. `pieces` is the text as the model reads it, cut as its vocabulary is; one piece
    where that is made of bytes. `warnings` are for the client: nothing in them stops the synthesis. Silence that the
    text itself asks for: `lead_s` before its first word, `pause_after_s` in place of the usual pause. `language_id` is
    the row of the GPT's language table, of a checkpoint that has one."""

    pieces: tuple[str, ...]
    ids: tuple[int, ...]
    ends_paragraph: bool = False
    warnings: tuple[str, ...] = ()
    pause_after_s: float | None = None
    lead_s: float = 0.0
    language_id: int | None = None

    @property
    def text(self) -> str:
        """As the model reads it."""
        return "".join(self.pieces).replace(WORD_START, " ").strip()
