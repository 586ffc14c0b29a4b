from __future__ import annotations

from typing import Any

import pytest
from kokoro_fakes import RATE_HZ, VOICES, Stage, pipeline, plan, spoken

from deployments.core.errors import InvalidRequest, NotFound


@pytest.mark.parametrize(
    ("text", "fields", "voice"),
    [
        ("Hello.", {}, "af_heart"),
        ("你好。", {}, "zf_xiaobei"),
        ("Hello.", {"voice": "am_adam"}, "am_adam"),
        ("Hello.", {"voice": "ash"}, "am_adam"),
        ("你好。", {"voice": "ash"}, "zm_yunxi"),
        ("你好。", {"voice": "marin"}, "zf_xiaobei"),
        ("你好。", {"voice": "zf_xiaoni"}, "zf_xiaoni"),
        ("Hello.", {"voice": "zf_xiaoni"}, "zf_xiaoni"),
        ("Bonjour.", {"language": "fr"}, "ff_siwis"),
        ("Hallo.", {"language": "de"}, "af_heart"),
        ("Hello my friends, 你好.", {}, "af_heart"),
        ("Bonjour.", {"language": "fr", "voice": "marin"}, "ff_siwis"),
        ("Bonjour.", {"language": "fr", "voice": "ash"}, "ff_siwis"),  # nobody else speaks French here
        ("Hello.", {"language": "zh", "voice": "marin"}, "zf_xiaobei"),
        ("Hello.", {"language": "zh", "voice": "ash"}, "zm_yunxi"),
        ("Hello.", {"language": "en", "voice": "ash"}, "am_adam"),
        ("Bonjour.", {"language": "fr", "voice": "ff_siwis"}, "ff_siwis"),
    ],
)
async def test_the_voice(text: str, fields: dict[str, Any], voice: str) -> None:
    assert (await plan(text, **fields)).voice.id == voice


@pytest.mark.parametrize("voice", ["nobody", "", "nova"])
async def test_a_voice_that_is_not_there(voice: str) -> None:
    if voice == "":
        assert (await plan(voice=voice)).voice.id == "af_heart"
        return
    with pytest.raises(NotFound, match=f"voice '{voice}' does not exist") as caught:
        await plan(voice=voice)
    assert (caught.value.param, caught.value.code) == ("voice", "voice_not_found")


async def test_a_voice_that_does_not_speak_chinese() -> None:
    with pytest.raises(
        InvalidRequest, match=r"'af_heart' does not speak Chinese; voices that do: zf_xiaobei"
    ) as e:
        await plan("你好。", voice="af_heart")
    assert e.value.param == "voice"


@pytest.mark.parametrize(
    ("language", "voice", "said"),
    [
        ("fr", "af_heart", "'af_heart' does not speak French; voices that do: ff_siwis"),
        (
            "en",
            "zf_xiaobei",
            "'zf_xiaobei' does not speak English; voices that do: af_heart, am_adam, bf_emma",
        ),
        ("de", "marin", "'af_heart' does not speak German; voices that do: none"),
    ],
)
async def test_a_voice_that_does_not_speak_the_language(language: str, voice: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await plan(language=language, voice=voice)
    assert said in caught.value.message
    assert caught.value.param == "voice"


@pytest.mark.parametrize("text", ["Привет", "こんにちは", "안녕", "مرحبا", "Hello שלום", "你好ん"])
async def test_scripts_that_it_cannot_speak_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot speak these characters") as caught:
        await plan(text)
    assert (caught.value.param, caught.value.code) == ("input", "unsupported_characters")


@pytest.mark.parametrize(
    "text", ["Größe", "naïve café", "ＡＢＣ", "α and ω", "5 µm", "नमस्ते", "1ª", "😀 yes", "Ⅷ x"]
)
async def test_scripts_that_it_can_speak(text: str) -> None:
    await plan(text)


@pytest.mark.parametrize(
    ("speed", "native", "tempo"),
    [(1.0, 1.0, 1.0), (2.0, 2.0, 1.0), (4.0, 2.0, 2.0), (0.5, 0.5, 1.0), (0.25, 0.5, 0.5)],
)
async def test_the_network_speaks_at_speeds_it_can_and_the_rest_is_a_stretch(
    speed: float, native: float, tempo: float
) -> None:
    assert (await plan(speed=speed)).tempo == tempo
    stage = Stage()
    await spoken(stage, "Hello.", speed=speed)
    assert stage.jobs[0].speed == native


async def test_parameters_it_does_not_have_are_reported() -> None:
    found = await plan(params={"top_k": 5, "alpha": 1}, quality="high")
    assert set(found.ignored) == {"quality", "alpha", "top_k"}


def test_voices_are_listed_with_their_aliases() -> None:
    voices = {voice.id: voice for voice in pipeline().voices}
    assert len(voices) == len(VOICES)
    assert voices["af_heart"].aliases == ("marin",)
    assert (voices["zm_yunxi"].name, voices["zm_yunxi"].language) == ("Yunxi", "zh")


def test_the_card() -> None:
    card = pipeline().card
    assert {"en", "zh", "fr"} <= set(card.languages)
    assert "ja" not in card.languages
    assert (card.sample_rate_hz, card.cloning, card.default_voice) == (RATE_HZ, False, "af_heart")
