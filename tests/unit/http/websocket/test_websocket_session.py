"""WS /v1/audio/speech/stream over a fake service."""

from __future__ import annotations

import asyncio
import base64
import io

import av
import numpy as np
import pytest
from http_fakes import make_app
from session_client import Talk, talking
from speaker_fake import SMALL, WORD_S, Speaker

from deployments.text.check import check_text
from deployments.text.pauses import pause_mark

RATE_HZ = 24_000


def seconds(pcm: bytes) -> float:
    return len(pcm) / 2 / RATE_HZ


async def settled(speaker: Speaker) -> bool:
    for _ in range(100):
        if speaker.running == 0:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_an_utterance(talk: Talk, speaker: Speaker) -> None:
    talk.configure(seed=3, instructions="whisper", wishes=1, stream_format="sse", filler=True)
    talk.say("One two ", "three. Fo", "ur five.")
    talk.send("input.done")
    start, audio, done = await talk.utterance()
    assert start == {
        "type": "audio.start",
        "utterance": 0,
        "model": "toy",
        "voice": "anna",
        "sample_rate": RATE_HZ,
        "format": "pcm",
        "media_type": "audio/pcm",
        "route_reason": "test",
        "filler_ms": 0,
        "ignored": ["instructions", "stream_format", "wishes"],
        "warnings": [],
    }
    assert seconds(audio) == pytest.approx(5 * WORD_S + 0.3, abs=0.001)
    assert done == {
        "type": "audio.done",
        "utterance": 0,
        "duration_s": pytest.approx(seconds(audio), abs=0.001),
        "total_bytes": len(audio),
        "cancelled": False,
        "failed": False,
        "warnings": [],
    }
    assert [(request.text, request.seed) for request in speaker.requests] == [
        ("One two three.", 3),
        ("Four five.", 3),
    ]
    assert speaker.requests[1].model == "toy"
    assert not speaker.requests[1].fallback
    assert [request.filler for request in speaker.requests] == [True, False]  # not before every sentence


async def test_audio_comes_before_the_text_is_complete(talk: Talk) -> None:
    talk.configure()
    talk.say("One two three. An")
    start, _ = await talk.until("audio.start")
    assert start["utterance"] == 0
    assert seconds(await talk.next()) > 0
    talk.say("d four.")
    talk.send("input.done")
    await talk.until("audio.done")


async def test_pauses_between_pieces_are_silence_of_the_wanted_length(talk: Talk) -> None:
    talk.configure(pause_ms=500)
    talk.say("One. Two.")
    talk.send("input.done")
    _, audio, _ = await talk.utterance()
    samples = np.frombuffer(audio, dtype="<i2")
    assert len(samples) == round((2 * WORD_S + 0.5) * RATE_HZ)
    assert not samples[round(WORD_S * RATE_HZ) : round((WORD_S + 0.5) * RATE_HZ)].any()
    assert samples[: round(WORD_S * RATE_HZ)].any()


@pytest.mark.parametrize(
    ("granularity", "requests"),
    [
        ("none", ["One two three, four. Five."]),
        ("sentence", ["One two three, four.", "Five."]),
        ("clause", ["One two three,", "four.", "Five."]),
    ],
)
async def test_granularity(talk: Talk, speaker: Speaker, granularity: str, requests: list[str]) -> None:
    talk.configure(split_granularity=granularity)
    talk.say("One two three, four. Five.")
    talk.send("input.done")
    await talk.utterance()
    assert [request.text for request in speaker.requests] == requests


async def test_markup_is_no_piece_of_its_own(talk: Talk, speaker: Speaker) -> None:
    talk.configure()
    talk.say("<speak>\n", "</p>\n<p>\nOne.\n<break time='1s'/>\nTwo", " three.\n```python\n")
    talk.send("input.done")
    *_, done = await talk.utterance()
    assert done["failed"] is False
    cleaned = [check_text(request.text, max_chars=999, cleaning=True) for request in speaker.requests]
    assert cleaned == ["One.", f"{pause_mark(1.0)}\nTwo three."]


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav"])
async def test_an_utterance_is_one_file(talk: Talk, name: str) -> None:
    talk.configure(response_format=name)
    talk.say("One two three four. Five six seven. Eight.")
    talk.send("input.done")
    start, audio, done = await talk.utterance()
    assert start["format"] == name
    with av.open(io.BytesIO(audio)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        assert sum(frame.samples for frame in frames) / stream.rate == pytest.approx(
            done["duration_s"], abs=0.13
        )
    assert done["duration_s"] == pytest.approx(8 * WORD_S + 0.6, abs=0.001)


async def test_base64(talk: Talk) -> None:
    talk.configure(audio_encoding="base64")
    talk.say("One two.")
    talk.send("input.done")
    await talk.until("audio.start")
    audio = b""
    while (message := await talk.next())["type"] == "audio.chunk":
        assert message["utterance"] == 0
        audio += base64.b64decode(message["audio"])
    assert message["type"] == "audio.done"
    assert seconds(audio) == pytest.approx(2 * WORD_S, abs=0.001)


async def test_utterances_wait_for_each_other(talk: Talk, speaker: Speaker) -> None:
    talk.configure()
    for text in ("One slow.", "Two two slow.", "Three."):
        talk.say(text)
        talk.send("input.done")
    numbers = [(await talk.utterance())[0]["utterance"] for _ in range(3)]
    assert numbers == [0, 1, 2]
    assert speaker.most_running == 1


async def test_at_most_two_pieces_are_made_at_a_time(talk: Talk, speaker: Speaker) -> None:
    talk.configure()
    talk.say("slow one. slow two. slow three. slow four. slow five.")
    talk.send("input.done")
    await talk.utterance()
    assert speaker.most_running <= 2
    assert len(speaker.requests) == 5


async def test_another_configuration_for_the_next_utterance(talk: Talk) -> None:
    talk.configure()
    talk.say("One.")
    talk.send("input.done")
    talk.configure(response_format="wav", sample_rate=16_000)
    talk.say("Two.")
    talk.send("input.done")
    assert (await talk.utterance())[0]["format"] == "pcm"
    start, audio, _ = await talk.utterance()
    assert (start["format"], start["sample_rate"]) == ("wav", 16_000)
    assert audio[:4] == b"RIFF"


async def test_cancel_stops_at_once_and_the_session_goes_on(talk: Talk, speaker: Speaker) -> None:
    talk.configure()
    talk.say("slow " * 39)
    talk.send("input.done")
    talk.say("Never heard. Al")
    await talk.until("audio.start")
    talk.send("input.cancel")
    first, _ = await talk.until("audio.done")
    assert speaker.running == 0
    assert (first["utterance"], first["cancelled"]) == (0, True)
    assert first["duration_s"] < 3
    second, audio = await talk.until("audio.done")
    assert (second["utterance"], second["cancelled"], audio) == (1, True, b"")
    assert await talk.silent(0.1)
    talk.say("After that.")
    talk.send("input.done")
    start, audio, done = await talk.utterance()
    assert (start["utterance"], done["cancelled"]) == (2, False)
    assert seconds(audio) == pytest.approx(2 * WORD_S, abs=0.001)
    assert "Never heard." not in [request.text for request in speaker.requests]


async def test_cancel_of_nothing_is_answered(talk: Talk) -> None:
    talk.configure()
    talk.send("input.cancel")
    done, _ = await talk.until("audio.done")
    assert (done["utterance"], done["cancelled"]) == (None, True)


async def test_close_speaks_what_there_is(talk: Talk) -> None:
    talk.configure()
    talk.say("One slow two. Three")
    talk.send("session.close")
    _, audio, done = await talk.utterance()
    assert not done["cancelled"]
    assert seconds(audio) == pytest.approx(4 * WORD_S + 0.3, abs=0.001)
    assert (await talk.next())["type"] == "session.done"
    assert await talk.next() == 1000


async def test_cancel_while_closing(talk: Talk, speaker: Speaker) -> None:
    talk.configure()
    talk.say("slow " * 39)
    talk.send("session.close")
    await talk.until("audio.start")
    talk.say("too late")
    assert (await talk.until("error"))[0]["error"]["param"] == "type"
    talk.send("input.cancel")
    assert (await talk.until("audio.done"))[0]["cancelled"]
    assert (await talk.next())["type"] == "session.done"
    assert await talk.next() == 1000
    assert speaker.running == 0


async def test_a_client_that_leaves_stops_the_work(speaker: Speaker) -> None:
    async with talking(make_app(speaker, SMALL)) as talk:
        talk.configure()
        talk.say("slow " * 30, ". Slow slow. slow")
        await talk.until("audio.start")
        assert speaker.running
    assert await settled(speaker)
    assert speaker.words < 30


async def test_a_registered_voice_is_known(talk: Talk) -> None:
    talk.configure(voice="Ada")
    talk.say("One.")
    talk.send("input.done")
    await talk.utterance()


async def test_a_later_piece_waits_for_its_place(talk: Talk, speaker: Speaker) -> None:
    speaker.refusals = 3
    talk.configure()
    talk.say("One two. full three.")
    talk.send("input.done")
    _, audio, done = await talk.utterance()
    assert not done["failed"]
    assert seconds(audio) == pytest.approx(4 * WORD_S + 0.3, abs=0.001)


async def test_a_voice_nobody_asked_for_gives_way(talk: Talk, speaker: Speaker) -> None:
    talk.configure(voice="alloy")
    talk.say("One. Chinese two.")
    talk.send("input.done")
    _, _, done = await talk.utterance()
    assert not done["failed"]
    assert [request.voice for request in speaker.requests] == ["alloy", "anna", "alloy"]


async def test_sessions_do_not_mix(speaker: Speaker) -> None:
    app = make_app(speaker, SMALL)

    async def one(words: int) -> float:
        async with talking(app) as talk:
            talk.configure()
            talk.say(*["word "] * words)
            talk.send("input.done")
            return seconds((await talk.utterance())[1])

    spoken = await asyncio.gather(*(one(words) for words in range(1, 20)))
    assert spoken == pytest.approx([words * WORD_S for words in range(1, 20)], abs=0.001)


async def test_a_session_that_names_no_voice_does_not_wait_for_voices(talk: Talk, speaker: Speaker) -> None:
    talk.configure(voice=None)
    talk.say("One.")
    talk.send("input.done")
    await talk.utterance()
    assert speaker.voices_listed == 0
