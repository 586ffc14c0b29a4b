"""WS /v1/audio/speech/stream: what is refused, what fails, and what that does to the session."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from http_fakes import make_app
from session_client import Talk, talking
from speaker_fake import MAX_BYTES, SMALL, WORD_S, Speaker

RATE_HZ = 24_000


def seconds(pcm: bytes) -> float:
    return len(pcm) / 2 / RATE_HZ


@pytest.mark.usefixtures("no_errors_logged")
@pytest.mark.parametrize(
    ("frame", "param", "code"),
    [
        ("{", None, "invalid_json"),
        ("[]", None, "invalid_json"),
        (b"{}", None, "invalid_json"),
        ("{}", "type", None),
        ('{"type": "input.texts"}', "type", None),
        ('{"type": ["input.text"]}', "type", None),
        ('{"type": "input.text"}', "text", None),
        ('{"type": "input.text", "text": 7}', "text", None),
        ('{"type": "input.text", "text": "\\ud800"}', "text", None),
        ('{"type": "input.text", "text": "a\\u0000b"}', "text", None),
        ('{"type": "input.text", "text": "' + "x" * 201 + '"}', "text", "input_too_long"),
        ('{"type": "input.text", "text": "' + "x" * MAX_BYTES + '"}', None, "message_too_large"),
        ('{"type": "input.done"}', "type", "input_empty"),
        ('{"type": "session.config", "speed": 9}', "speed", None),
        ('{"type": "session.config", "split_granularity": "word"}', "split_granularity", None),
    ],
)
async def test_a_bad_message_changes_nothing(
    talk: Talk, frame: str | bytes, param: str | None, code: str | None
) -> None:
    talk.configure()
    talk.send_raw(frame)
    error = (await talk.until("error"))[0]["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert code is None or error["code"] == code
    talk.say("One.")
    talk.send("input.done")
    assert (await talk.utterance())[0]["utterance"] == 0


@pytest.mark.usefixtures("no_errors_logged")
@pytest.mark.parametrize(
    ("config", "param"),
    [
        ({"speed": "fast"}, "speed"),
        ({"model": "gpt-9"}, "model"),
        ({"voice": "nobody"}, "voice"),
        ({"response_format": "ogg"}, "response_format"),
        ({"response_format": "mp3", "sample_rate": 17_000}, "sample_rate"),
        ({"ref_text": "hello"}, "ref_text"),
        ({"ref_audio": "https://example.com/a.wav"}, "ref_audio"),
        ({"audio_encoding": "hex"}, "audio_encoding"),
        ({"split_granularity": "word"}, "split_granularity"),
        ({"language": "Klingon"}, "language"),
        ({"voice": ""}, "voice"),
    ],
)
async def test_a_first_configuration_that_is_wrong_ends_the_session(
    talk: Talk, config: dict[str, Any], param: str
) -> None:
    talk.configure(**config)
    assert (await talk.until("error"))[0]["error"]["param"] == param
    assert (await talk.next())["type"] == "session.done"
    assert await talk.next() == 1008


async def test_text_before_the_configuration_ends_the_session(talk: Talk) -> None:
    talk.say("One.")
    assert "session.config" in (await talk.until("error"))[0]["error"]["message"]
    assert (await talk.next())["type"] == "session.done"
    assert await talk.next() == 1008


async def test_an_open_utterance_keeps_its_configuration(talk: Talk) -> None:
    talk.configure()
    talk.say("One")
    talk.configure(response_format="wav")
    assert (await talk.until("error"))[0]["error"]["param"] == "type"
    talk.send("input.done")
    assert (await talk.utterance())[0]["format"] == "pcm"


async def test_text_without_words(talk: Talk, speaker: Speaker) -> None:
    talk.configure()
    talk.say("?! …", " 😀")
    talk.send("input.done")
    error, _ = await talk.until("error")
    assert (error["error"]["code"], error["utterance"]) == ("input_not_speakable", 0)
    done, _ = await talk.until("audio.done")
    assert done["failed"]
    assert not speaker.requests


async def test_a_long_utterance_goes_on_without_what_was_too_much(talk: Talk) -> None:
    talk.configure()
    talk.say("One.", " x" * 99)
    error, _ = await talk.until("error")
    assert error["error"]["code"] == "input_too_long"
    talk.say(" Two.")
    talk.send("input.done")
    _, audio, _ = await talk.utterance()
    assert seconds(audio) == pytest.approx(2 * WORD_S + 0.3, abs=0.001)


@pytest.mark.parametrize("text", ["One two. broken", "One two. crash"])
async def test_an_utterance_that_fails_in_the_middle(talk: Talk, speaker: Speaker, text: str) -> None:
    talk.configure()
    talk.say(text, " now. ", "More of it")
    await talk.until("audio.start")
    error, _ = await talk.until("error")
    assert error["utterance"] == 0
    assert error["error"]["type"] == "server_error"
    done, _ = await talk.until("audio.done")
    assert (done["failed"], done["cancelled"]) == (True, False)
    talk.say(" and more of the same.")
    talk.send("input.done")
    talk.say("Next.")
    talk.send("input.done")
    start, audio, done = await talk.utterance()
    assert (start["utterance"], done["failed"]) == (1, False)
    assert seconds(audio) == pytest.approx(WORD_S, abs=0.001)


async def test_the_first_piece_is_refused_at_once(talk: Talk, speaker: Speaker) -> None:
    speaker.refusals = 1
    talk.configure()
    talk.say("full house.")
    talk.send("input.done")
    error, _ = await talk.until("error")
    assert error["error"]["code"] == "queue_full"
    assert (await talk.until("audio.done"))[0]["failed"]


async def test_a_voice_that_was_asked_for_does_not(talk: Talk) -> None:
    talk.configure(voice="anna")
    talk.say("One. Chinese two.")
    talk.send("input.done")
    await talk.until("audio.start")
    assert (await talk.until("error"))[0]["error"]["param"] == "voice"


@pytest.mark.slow
async def test_only_so_many_utterances_wait(talk: Talk) -> None:
    talk.configure()
    for _ in range(9):
        talk.say("slow slow slow slow slow")
        talk.send("input.done")
    errors = []
    done = 0
    while done < 8:
        message = await talk.next()
        if isinstance(message, dict):
            done += message["type"] == "audio.done"
            errors += [message["error"]["code"]] if message["type"] == "error" else []
    assert errors == [
        "queue_full",
        "input_empty",
    ]  # the text, and the input.done of an utterance that is not there


@pytest.mark.slow
async def test_silence_ends_a_session_but_speaking_does_not(speaker: Speaker) -> None:
    limits = SMALL.model_copy(update={"session_idle_timeout_s": 0.3})
    async with talking(make_app(speaker, limits)) as talk:
        talk.configure()
        talk.say("slow " * 30)
        talk.send("input.done")
        _, audio, _ = await talk.utterance()
        assert seconds(audio) == pytest.approx(3.0, abs=0.01)
        assert (await talk.until("error"))[0]["error"]["code"] == "idle_timeout"
        assert (await talk.next())["type"] == "session.done"
        assert await talk.next() == 1001


async def test_plain_http_is_told(speaker: Speaker) -> None:
    transport = httpx.ASGITransport(make_app(speaker, SMALL))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/v1/audio/speech/stream")
    assert answer.status_code == 404
    assert answer.json().keys() == {"error"}
