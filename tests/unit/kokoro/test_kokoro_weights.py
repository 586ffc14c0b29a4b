"""With the real weights: the phonemizers' symbols are the network's, and speech has a plausible length."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deployments.kokoro.job import SAMPLE_RATE_HZ, KokoroJob
from deployments.kokoro.model import KokoroModel
from deployments.kokoro.phonemes import Phonemizer
from deployments.weights.registry import find_model

pytestmark = pytest.mark.weights


@pytest.mark.parametrize(
    ("accent", "text"),
    [
        (
            "en-us",
            "Hello from Voicegraph, where 25% of £3.50 — that's it — isn't much; right? Well: “yes”! 北京 (too)…",
        ),
        ("en-gb", "The tomato in the bath, rather unusually, was measured and judged by the Church."),
        ("zh", "你好，世界！我用 Python 写代码：版本3.11。“真的吗？”他问（笑）；儿子女儿学中文、旅行去了。"),
        ("fr-fr", "Bonjour le monde, ça va bien ?"),
        ("es", "Hola, ¿qué tal? El niño corre."),
        ("it", "Ciao, gli gnocchi sono buoni."),
        ("pt-br", "Olá, não há problema amanhã."),
        ("hi", "नमस्ते दुनिया, आप कैसे हैं?"),
    ],
)
def test_the_network_knows_every_symbol(accent: str, text: str) -> None:
    vocabulary = json.loads((find_model("kokoro") / "tokenizer.json").read_text(encoding="utf-8"))["model"][
        "vocab"
    ]
    phonemes = Phonemizer().phonemes(text, accent)
    assert set(phonemes) - vocabulary.keys() <= set("¿")


def test_speech() -> None:
    model = KokoroModel(find_model("kokoro"), threads=1)
    samples = model.speak(KokoroJob("Ready.", "af_heart")).samples
    assert 0.4 < len(samples) / SAMPLE_RATE_HZ < 2
    assert 0.05 < np.abs(samples).max() <= 1
    assert np.array_equal(model.speak(KokoroJob("Ready.", "af_heart")).samples, samples)
    faster = model.speak(KokoroJob("Ready.", "af_heart", speed=2.0)).samples
    assert len(faster) < 0.8 * len(samples)
