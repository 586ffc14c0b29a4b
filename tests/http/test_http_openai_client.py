"""openai-python, unmodified, against the running graph."""

from __future__ import annotations

import io
from pathlib import Path

import av
import openai
import pytest
from cluster import SMALL, Cluster


@pytest.fixture
def client(kokoro: Cluster) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{kokoro.url}/v1", api_key="not-needed", max_retries=0)


def test_create_writes_an_mp3(client: openai.OpenAI, tmp_path: Path) -> None:
    target = tmp_path / "speech.mp3"
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="af_heart", input="The quick brown fox."
    ) as answer:
        answer.stream_to_file(target)
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec.name.startswith("mp3")
        assert sum(frame.samples for frame in container.decode(audio=0)) > 20_000


def test_every_openai_voice_and_model_name(client: openai.OpenAI) -> None:
    names = [
        "alloy",
        "ash",
        "ballad",
        "cedar",
        "coral",
        "echo",
        "fable",
        "marin",
        "nova",
        "onyx",
        "sage",
        "shimmer",
        "verse",
    ]
    for number, name in enumerate(names):
        model = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")[number % 3]
        answer = client.audio.speech.create(
            model=model, voice=name, input="Yes.", response_format="pcm", instructions="cheerful"
        )
        assert len(answer.content) > 10_000


def test_streaming_chunks_arrive_one_by_one(client: openai.OpenAI) -> None:
    text = "This is the first sentence. Here is another one, a little longer. And a third, to be sure."
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="nova", input=text, response_format="pcm"
    ) as answer:
        pieces = list(answer.iter_bytes(4096))
    assert len(pieces) > 10
    assert answer.headers["x-model"]


def test_sse(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="nova",
        input="Hello there.",
        stream_format="sse",
        response_format="wav",
    ) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("event:")]
    assert lines[0] == "event: speech.audio.delta"
    assert lines[-1] == "event: speech.audio.done"


def test_voice_object_and_extra_body(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(
        model="kokoro",
        voice={"id": "bf_emma"},
        input="Good evening.",
        response_format="flac",
        extra_body={"stream": False, "some_other_server": {"x": 1}},
    )
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.streams.audio[0].rate == 24_000


def test_models(client: openai.OpenAI) -> None:
    assert {"kokoro", "tts-1"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("kokoro").id == "kokoro"


def test_typed_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.audio.speech.create(model="tts-1", voice="alloy", input="!!!")
    assert bad.value.param == "input"
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.speech.create(model="no-such-model", voice="alloy", input="Hi.")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as voice:
        client.audio.speech.create(model="kokoro", voice="no_such_voice", input="Hi.")
    assert voice.value.code == "voice_not_found"
    with pytest.raises(openai.InternalServerError):
        client.audio.speech.create(
            model="toy", voice="toy-tone", input="down now", extra_body={"fallback": False}
        )


async def test_rate_limit_is_typed_and_retried(cluster: Cluster) -> None:
    """Eight callers for four places: all succeed, because the SDK waits as Retry-After says."""
    import asyncio

    assert cluster.small_url.endswith(SMALL)
    async with openai.AsyncOpenAI(base_url=f"{cluster.small_url}/v1", api_key="x", max_retries=6) as patient:
        answers = await asyncio.gather(
            *(
                patient.audio.speech.create(
                    model="tiny", voice="tiny-tone", input="slow " * 6, response_format="pcm"
                )
                for _ in range(8)
            )
        )
    assert all(len(answer.content) == 6 * 4800 for answer in answers)
