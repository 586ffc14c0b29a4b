"""What a listener may miss is said in every kind of answer, and what is known at the start in its headers."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from http_fakes import FakeService, make_app, make_client, speech
from session_client import talking
from speech_answers import SPEECH, ask, sse

from deployments.core.speech import StreamEnd, StreamEvent
from serve_app.http.headers import MAX_HEADER_CHARS, warnings_header

EARLY, LATE = "‘ж’ is not read; it's left out", "segment 2 was mute"
HEADER = "%E2%80%98%D0%B6%E2%80%99 is not read%3B it's left out"


def warned() -> list[StreamEvent]:
    *events, end = speech(0.3, warnings=(EARLY,))
    assert isinstance(end, StreamEnd)
    return [*events, StreamEnd(end.audio_s, warnings=(EARLY, LATE))]


async def test_a_streamed_answer_says_what_is_known_at_its_start() -> None:
    answer = await ask(FakeService(warned()), response_format="pcm")
    assert answer.headers["x-warnings"] == HEADER


async def test_a_whole_answer_says_all() -> None:
    answer = await ask(FakeService(warned()), response_format="pcm", stream=False)
    assert answer.headers["x-warnings"] == f"{HEADER}; {LATE}"
    assert [unquote(each) for each in answer.headers["x-warnings"].split("; ")] == [EARLY, LATE]


async def test_sse_says_all_in_its_last_event() -> None:
    answer = await ask(FakeService(warned()), response_format="pcm", stream_format="sse")
    assert answer.headers["x-warnings"] == HEADER
    assert sse(answer.text)[-1][1]["warnings"] == [EARLY, LATE]


async def test_an_item_of_a_batch() -> None:
    async with make_client(FakeService(warned())) as client:
        body: dict[str, Any] = {"items": [{"input": "Hi."}, {"input": ""}], "response_format": "pcm"}
        spoken, failed = (await client.post(f"{SPEECH}/batch", json=body)).json()["results"]
    assert spoken["warnings"] == [EARLY, LATE]
    assert "warnings" not in failed


async def test_an_utterance_of_a_session() -> None:
    async with talking(make_app(FakeService(warned()))) as talk:
        talk.configure()
        talk.say("One two three. Four five six.")
        talk.send("input.done")
        start, _, done = await talk.utterance()
    assert start["warnings"] == [EARLY]
    assert done["warnings"] == [EARLY, LATE]  # of two pieces, each once


@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_is_said_where_there_is_nothing_to_say(stream: bool) -> None:
    answer = await ask(FakeService(), response_format="pcm", stream=stream)
    assert "x-warnings" not in answer.headers


def test_a_header_fits_through_proxies_and_counts_the_rest() -> None:
    many = [f"warning {number}: {'ж' * 50}" for number in range(100)]
    value = warnings_header(many)["X-Warnings"]
    *shown, rest = value.split("; ")
    assert value.isascii()
    assert len(value) < MAX_HEADER_CHARS + 200
    assert [unquote(each) for each in shown] == many[: len(shown)]
    assert rest.startswith(f"and {100 - len(shown)} more")
    assert warnings_header(["a\r\nb", "\ud800"])["X-Warnings"] == "a%0D%0Ab; ?"
