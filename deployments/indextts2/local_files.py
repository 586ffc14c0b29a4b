"""What the pipeline itself reads of a checkpoint: tokenizer and a few numbers. The weights are the stages' business."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.weights.locate import locate

GRAPH_FILES = ("text", "speaker_encoder", "emotion_matrix", "gpt", "s2mel", "vocoder")


@dataclass(frozen=True, slots=True)
class LocalFiles:
    directory: Path
    frontend: IndexTextFrontend
    sample_rate_hz: int
    max_text_tokens: int  # of a segment
    max_codes: int

    @staticmethod
    def load(checkpoint: str) -> LocalFiles:
        """Raises CheckpointError."""
        files = IndexTTSCheckpoint(locate(checkpoint))
        files.require("text")
        return LocalFiles(
            directory=files.directory,
            frontend=IndexTextFrontend(files.path("bpe"), files.find("glossary")),
            sample_rate_hz=int(files.section("s2mel", "preprocess_params")["sr"]),
            # The published segmentation may repeat a closing quote, which makes a segment one token longer.
            max_text_tokens=files.gpt_dims.max_text_tokens - 1,
            max_codes=files.gpt_dims.max_mel_tokens - 1,
        )


def check_graph_files(checkpoint: str, vocoder: str | None) -> None:
    """Raise one CheckpointError naming all files that the graph needs and lacks, with `vocoder` as its type."""
    IndexTTSCheckpoint(locate(checkpoint), vocoder=vocoder).require(*GRAPH_FILES)
