"""What is heard: Moonshine-base, an English speech recogniser (Jeffries et al. 2024, arXiv 2410.15608; MIT).

Its networks are files inside the package moonshine-cpp. The library of that package is not loaded: it needs AVX-512.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.quality.packages import open_network, weights_of
from serve_app.quality.recording import MEASURE_RATE_HZ, SILENCE_RMS, Wave, rms

PACKAGE = "moonshine_cpp"
FOLDER = "models/base-en"

PAD = MEASURE_RATE_HZ // 4  # words at the very edge of a recording are lost without silence around them
LONGEST = 20 * MEASURE_RATE_HZ  # the network was trained on half a minute at most
SEARCHED = 8 * MEASURE_RATE_HZ  # how far before LONGEST a pause to cut at is looked for
PAUSE = MEASURE_RATE_HZ // 5

BEGIN, END = 1, 2
FIRST_BYTE = 3  # ids below are marks

# The authors stop at 6.5 tokens per second. Short sentences at twice the usual speed were heard rightly with up to 9,
# so there are some more at any length.
TOKENS_PER_S, MORE_TOKENS = 6.5, 12
# From babble the network may fall into a loop that it never leaves. What people repeated 13 times was heard rightly.
LOOP_TOKENS, LOOP_TIMES = 4, 24

# Of speech the network may say at once that it has ended, and then a whole part is lost. So the first token may not be
# END (Radford et al. 2022, arXiv 2212.04356, do the same) where there is sound: in silence it would invent a word.
LEAST_PART = 0.1  # of the whole recording's level


class Recogniser:
    def __init__(self) -> None:
        """EvalError where a file of the network is missing or damaged."""
        self._network = Moonshine()

    def hear(self, wave: Wave) -> str:
        """The words of (n,) at 16 kHz, "" for silence; long recordings are cut at their quietest places."""
        loudness = rms(wave)
        parts = (
            self._network.transcribe(
                np.pad(part, PAD), sounds=rms(part) > max(SILENCE_RMS, LEAST_PART * loudness)
            )
            for part in cut_at_pauses(wave)
        )
        return " ".join(part for part in parts if part)


def cut_at_pauses(wave: Wave) -> list[Wave]:
    """Parts of at most 20 s that together are the wave, cut in the middle of the quietest 0.2 s of the last 8 s."""
    parts: list[Wave] = []
    while len(wave) > LONGEST:
        searched = wave[LONGEST - SEARCHED : LONGEST].astype(np.float64) ** 2
        energy = np.convolve(searched, np.ones(PAUSE), "valid")
        cut = LONGEST - SEARCHED + int(energy.argmin()) + PAUSE // 2
        parts.append(wave[:cut])
        wave = wave[cut:]
    return [*parts, wave]


class Moonshine:
    """The networks, for one wave per call: without a mask, what fills a batch of unequal waves up is heard as well.

    Weights are stored in int8 and computed with in float32, so that every processor hears the same.
    """

    def __init__(self) -> None:
        self._encoder, self._decoder = (
            open_network(PACKAGE, f"{FOLDER}/{name}.ort")
            for name in ("encoder_model", "decoder_model_merged")
        )
        self._pieces = read_pieces(weights_of(PACKAGE, f"{FOLDER}/tokenizer.bin"))
        caches = [each for each in self._decoder.get_inputs() if each.name.startswith("past_key_values.")]
        self._empty: dict[str, NDArray[np.float32]] = {
            each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32) for each in caches
        }

    def transcribe(self, wave: Wave, *, sounds: bool) -> str:
        """(n,) at 16 kHz, at least a quarter of a second and at most half a minute; where it `sounds`, not ""."""
        (heard,) = self._encoder.run(None, {"input_values": wave[None].astype(np.float32)})
        return text_of(self._tokens(heard, most_tokens(len(wave)), sounds=sounds), self._pieces)

    def _tokens(self, heard: NDArray[np.float32], most: int, *, sounds: bool) -> list[int]:
        """The likeliest token at every step, of (1, frames, width); END is left out."""
        tokens: list[int] = []
        logits, cache = self._step(BEGIN, heard, self._empty, first=True)
        if sounds:
            logits[0, -1, END] = -np.inf
        while (token := int(logits[0, -1].argmax())) != END and len(tokens) < most:
            tokens.append(token)
            if loops(tokens):
                break
            logits, changed = self._step(token, heard, cache, first=False)
            cache |= changed
        return tokens

    def _step(
        self, token: int, heard: NDArray[np.float32], cache: dict[str, Any], *, first: bool
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Logits (1, 1, vocabulary), and those keys and values that the step makes: the encoder's only in the first."""
        made = [name for name in cache if first or ".decoder." in name]
        outputs = ["logits", *(name.replace("past_key_values", "present") for name in made)]
        asked = {
            "input_ids": np.array([[token]], np.int64),
            "encoder_hidden_states": heard,
            "use_cache_branch": np.array([not first]),
        }
        logits, *values = self._decoder.run(outputs, {**asked, **cache})
        return logits, dict(zip(made, values, strict=True))


def most_tokens(samples: int) -> int:
    return MORE_TOKENS + int(TOKENS_PER_S * samples / MEASURE_RATE_HZ)


def loops(tokens: list[int]) -> bool:
    """Whether the last one to four tokens were said 24 times running."""
    return len(tokens) >= LOOP_TIMES and any(
        tokens[-LOOP_TIMES * length :] == tokens[-length:] * LOOP_TIMES
        for length in range(1, LOOP_TOKENS + 1)
    )


def read_pieces(path: Path) -> list[bytes]:
    """The text of every token id, in UTF-8 with U+2581 for a space: one after the other, each after its length in a
    byte."""
    stored = path.read_bytes()
    pieces: list[bytes] = []
    at = 0
    while at < len(stored):
        end = at + 1 + stored[at]
        pieces.append(stored[at + 1 : end])
        at = end
    return pieces


def text_of(tokens: list[int], pieces: list[bytes]) -> str:
    """Marks have no text, nor have the ids behind the table."""
    spoken = b"".join(pieces[token] for token in tokens if FIRST_BYTE <= token < len(pieces))
    return spoken.decode("utf-8", errors="replace").replace("\u2581", " ").strip()
