"""The chosen measures, taken of one answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serve_app.quality.packages import check_measures
from serve_app.quality.plain_words import plain_words
from serve_app.quality.recording import Wave, is_audible, read_recording

if TYPE_CHECKING:
    from serve_app.quality.dnsmos import Dnsmos
    from serve_app.quality.recogniser import Recogniser
    from serve_app.quality.speaker import SpeakerEncoder


class Listener:
    """Waves are (n,) at 16 kHz. `references` are the recordings that answers will be compared with.

    EvalError where a measure is unknown, its packages are missing or damaged, or a recording cannot be read.
    """

    def __init__(self, measures: Collection[str], references: Iterable[Path] = ()) -> None:
        check_measures(measures)
        self._recogniser: Recogniser | None = None
        self._speakers: SpeakerEncoder | None = None
        self._dnsmos: Dnsmos | None = None
        if "wer" in measures:
            from serve_app.quality.recogniser import Recogniser  # noqa: PLC0415  (each loads a network)

            self._recogniser = Recogniser()
        if "similarity" in measures:
            from serve_app.quality.speaker import SpeakerEncoder  # noqa: PLC0415

            self._speakers = SpeakerEncoder()
        if "dnsmos" in measures:
            from serve_app.quality.dnsmos import Dnsmos  # noqa: PLC0415

            self._dnsmos = Dnsmos()
        self._voices: dict[Path, NDArray[np.float32]] = {}
        if self._speakers is not None:
            self._voices = {path: self._speakers.embed(read_recording(path)) for path in set(references)}

    def measure(self, text: str, wave: Wave, reference: Path | None) -> dict[str, Any]:
        """Fields of ItemResult. A wave without sound has heard "" and no similarity or DNSMOS."""
        sound = is_audible(wave)
        found: dict[str, Any] = {}
        # Every network computes in one thread, without Python's lock; hearing fits into the time that DNSMOS takes.
        with ThreadPoolExecutor(1) as beside:
            heard = (
                beside.submit(self._recogniser.hear, wave) if self._recogniser is not None and sound else None
            )
            if self._speakers is not None and sound and reference is not None:
                found["similarity"] = round(float(self._speakers.embed(wave) @ self._voices[reference]), 4)
            if self._dnsmos is not None and sound:
                found["dnsmos_ovrl"], found["dnsmos_p808"] = (
                    round(score, 4) for score in self._dnsmos.score(wave)
                )
        if self._recogniser is not None:
            found |= word_errors(text, "" if heard is None else heard.result())
        return found


def word_errors(text: str, heard: str) -> dict[str, Any]:
    """`words` and `chars` of the text, and how many would have to be replaced, deleted or inserted in what was heard.

    Both in plain words. The text must have a word.
    """
    import jiwer  # noqa: PLC0415  (of the extra `quality`)

    said, understood = " ".join(plain_words(text)), " ".join(plain_words(heard))
    words, chars = jiwer.process_words(said, understood), jiwer.process_characters(said, understood)
    return {
        "heard": heard,
        "words": len(said.split()),
        "errors": words.substitutions + words.deletions + words.insertions,
        "chars": len(said),
        "char_errors": chars.substitutions + chars.deletions + chars.insertions,
    }
