from __future__ import annotations

import pickle

from deployments.core.catalogue import OPENAI_VOICES, Catalogue, ModelCard, VoiceCard

VOICE = VoiceCard("v", "Vera", "m", "en", aliases=("alloy", "w"))
MODEL = ModelCard("m", "k", 24_000, ("en",), "v", presets=("fast",), parameters={"properties": {"top_k": {}}})


def test_a_voice_is_asked_for_by_its_id_and_aliases() -> None:
    assert VOICE.names == ("v", "alloy", "w")


def test_the_catalogue_crosses_processes() -> None:
    catalogue = Catalogue((MODEL,), (VOICE,), {"tts-1": "fast"}, "m")
    assert pickle.loads(pickle.dumps(catalogue)) == catalogue


def test_the_thirteen_voices_of_openai() -> None:
    assert len(set(OPENAI_VOICES)) == 13
    assert {"alloy", "nova", "shimmer", "verse"} <= set(OPENAI_VOICES)
