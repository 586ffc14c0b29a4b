"""The text front end of a checkpoint: which one its traits ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.indextts2.text.multilingual import MultilingualFrontend
from deployments.indextts2.text.segment import TextSegment


class Frontend(Protocol):
    """May be shared by threads. Texts have passed `check_text`, without pauses that they ask for."""

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1, that it can read here."""

    def language_of(self, text: str) -> str:
        """The language of a text whose request names none. Raises InvalidRequest where it is one that could be spoken
        if packages were installed, naming the command."""

    def published(self, text: str, max_tokens: int, *, language: str) -> list[TextSegment]:
        """Read and cut exactly as the published model does it. Raises InvalidRequest."""

    def iter_segments(self, text: str, max_tokens: int, *, language: str) -> Iterator[TextSegment]:
        """Read as every model here reads it, and cut between words; made while they are consumed. Raises
        InvalidRequest."""


def load_frontend(checkpoint: IndexTTSCheckpoint) -> Frontend:
    """Raises CheckpointError naming the file that is missing or damaged."""
    checkpoint.require("text")
    vocabulary, glossary = checkpoint.path("bpe"), checkpoint.find("glossary")
    if checkpoint.traits.vocabulary == "tiktoken":
        positions = checkpoint.gpt_dims.max_text_tokens
        return MultilingualFrontend(vocabulary, positions, glossary, languages=checkpoint.languages)
    return IndexTextFrontend(vocabulary, glossary, languages=checkpoint.languages)
