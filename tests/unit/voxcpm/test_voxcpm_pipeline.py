"""The whole pipeline over fake stages: what a request becomes, what is heard, what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_voxcpm import STOCK_VOICE, TRANSCRIPT, VOICE_RATE_HZ, made_up_speech
from vox_fakes import PATCH_SAMPLES, PATCHES, FakeVoxCPM, expected

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest, NotFound, SpeechError, Unavailable
from deployments.core.speech import AudioChunk, Emotion, SpeechRequest, StreamEnd
from deployments.text.pauses import pause_mark
from deployments.voices.library import VoiceLibrary
from deployments.voices.registered_voice import NewVoice
from deployments.voices.store import VoiceStore
from deployments.voxcpm.pipeline import Pipeline
from deployments.voxcpm.plan import RANDOM_VOICE, VoxCPMFacts
from deployments.voxcpm.settings import VoxCPMSettings

TEXT = "hello world."
LONG = "the low voice. the engine test. the low world. stream the latency."
PAUSE_S = 0.2

Make = Callable[..., tuple[Pipeline, FakeVoxCPM]]


def recording(pitch_hz: float = 200.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, made_up_speech(pitch_hz), VOICE_RATE_HZ, format="WAV")
    return file.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore(str(tmp_path / "store"))


@pytest.fixture
def make(tiny_15: Path, tiny_2: Path, store: VoiceStore) -> Make:
    facts = {version: VoxCPMFacts.read(f"{place}/") for version, place in ((1, tiny_15), (2, tiny_2))}

    def pipeline(
        version: int = 2, fake: FakeVoxCPM | None = None, **settings: Any
    ) -> tuple[Pipeline, FakeVoxCPM]:
        fake = fake or FakeVoxCPM()
        fake.version_2 = version == 2
        settings = {"max_segment_chars": 20, **settings}
        made = Pipeline("vox", VoxCPMSettings(**settings), fake.handles(), facts=facts[version])
        made.use_library(VoiceLibrary(store))
        return made, fake

    return pipeline


def request(text: str = TEXT, **fields: Any) -> SpeechRequest:
    return SpeechRequest(request_id="r", text=text, **fields)


async def heard(pipeline: Pipeline, wanted: SpeechRequest) -> tuple[list[AudioChunk], StreamEnd]:
    events = [event async for event in pipeline.stream(await pipeline.plan(wanted))]
    *chunks, end = events
    assert isinstance(end, StreamEnd)
    assert all(isinstance(chunk, AudioChunk) for chunk in chunks)
    return chunks, end  # type: ignore[return-value]


def joined(chunks: list[AudioChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def rate(pipeline: Pipeline) -> int:
    return pipeline.card.sample_rate_hz


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stream", [True, False])
async def test_segments_come_in_order_with_pauses(make: Make, version: int, stream: bool) -> None:
    pipeline, fake = make(version)
    chunks, end = await heard(pipeline, request(LONG, stream=stream))
    segments = len(fake.jobs)
    assert segments > 2
    pause = np.zeros(round(PAUSE_S * rate(pipeline)), np.float32)
    parts = [part for index in range(segments) for part in ([pause] if index else []) + [expected(index)]]
    assert np.array_equal(joined(chunks), np.concatenate(parts))
    assert end.audio_s == pytest.approx(len(joined(chunks)) / rate(pipeline))
    assert [chunk.segment for chunk in chunks] == sorted(chunk.segment for chunk in chunks)
    assert set(end.stage_s) == {"queue", "encoder", "engine"}
    assert end.warnings == ()
    assert [job.stream for job in fake.jobs] == list(range(segments))
    assert fake.open == 0
    assert len(asyncio.all_tasks()) == 1


async def test_every_patch_is_sent_at_once(make: Make) -> None:
    chunks, _ = await heard(make()[0], request())
    assert [len(chunk.samples) for chunk in chunks] == [PATCH_SAMPLES] * PATCHES


async def test_the_whole_text_is_said_whatever_it_is_cut_into(make: Make) -> None:
    pipeline, fake = make()
    tokenizer = VoxCPMFacts.read(f"{pipeline._facts.directory}/").frontend
    await heard(pipeline, request(LONG, voice=STOCK_VOICE))
    before = tokenizer.ids(TRANSCRIPT)
    said = [job.text_ids[len(before) :] for job in fake.jobs]
    assert all(job.text_ids[: len(before)] == before for job in fake.jobs)
    assert tuple(chain.from_iterable(said)) == tokenizer.ids(LONG)
    assert [job.target_tokens for job in fake.jobs] == [len(ids) for ids in said]


@pytest.mark.parametrize(("asked", "pause_s"), [(None, 0.2), (0.0, 0.0), (750.0, 0.75)])
async def test_the_pause_may_be_chosen(make: Make, asked: float | None, pause_s: float) -> None:
    pipeline, fake = make()
    chunks, _ = await heard(pipeline, request(LONG, pause_ms=asked))
    silent = len(joined(chunks)) - PATCHES * PATCH_SAMPLES * len(fake.jobs)
    assert silent == round(pause_s * rate(pipeline)) * (len(fake.jobs) - 1)


async def test_pauses_that_the_text_asks_for(make: Make) -> None:
    pipeline, _ = make()
    text = f"{pause_mark(0.3)}hello{pause_mark(0.5)}world{pause_mark(0.1)}"
    chunks, _ = await heard(pipeline, request(text))
    silence = {s: np.zeros(round(s * rate(pipeline)), np.float32) for s in (0.1, 0.3, 0.5)}
    parts = [silence[0.3], expected(0), silence[0.5], expected(1), silence[0.1]]
    assert np.array_equal(joined(chunks), np.concatenate(parts))


async def test_what_cannot_be_said_is_left_out_and_told(make: Make) -> None:
    pipeline, fake = make()
    chunks, end = await heard(pipeline, request(f"hello Ω.{pause_mark(0.4)}ΩΩ{pause_mark(0.3)}world."))
    assert len(fake.jobs) == 2
    assert "the model has no reading for Ω" in end.warnings
    assert "nothing in 'ΩΩ' can be said; it is left out" in end.warnings
    silent = len(joined(chunks)) - 2 * PATCHES * PATCH_SAMPLES
    assert silent == round(0.7 * rate(pipeline))
    with pytest.raises(InvalidRequest) as refused:
        await heard(pipeline, request("ΩΩ"))
    assert refused.value.code == "input_not_speakable"


async def test_a_segment_that_runs_away_is_told(make: Make) -> None:
    pipeline, fake = make(fake=FakeVoxCPM(limited=frozenset({1})))
    _, end = await heard(pipeline, request(LONG))
    assert len(fake.jobs) > 2
    assert [warning[:9] for warning in end.warnings] == ["segment 2"]
    assert "limit" in end.warnings[0]


async def test_parameters_reach_the_engine(make: Make) -> None:
    pipeline, fake = make(
        params={"inference_timesteps": 8}, engine={"first_patch_steps": 4, "max_length": 2048}
    )
    given = {"cfg_value": 1.5, "min_len": 4, "max_len": 99, "nonsense": 1}
    plan = await pipeline.plan(
        request(LONG, params=given, seed=5, quality="fast", emotion=Emotion(text="sad"))
    )
    assert set(plan.ignored) == {"nonsense", "quality", "emotion"}
    async for _ in pipeline.stream(plan):
        pass
    first, second = fake.jobs[:2]
    assert (first.guidance, first.euler_steps, first.min_patches, first.max_patches) == (1.5, 8, 4, 99)
    assert (first.first_euler_steps, second.first_euler_steps) == (4, None)
    assert (first.seed, second.seed) == (5, 5)
    assert (first.refusable, second.refusable) == (True, False)


@pytest.mark.parametrize(
    "params",
    [
        {"cfg_value": -1},
        {"cfg_value": float("nan")},
        {"inference_timesteps": 0},
        {"inference_timesteps": 51},
        {"min_len": -1},
        {"max_len": 0},
        {"cloning": "whole"},
    ],
)
async def test_bad_parameters_are_refused(make: Make, params: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await make()[0].plan(request(params=params))
    assert refused.value.param == next(iter(params))


async def test_only_the_first_segment_has_a_deadline(make: Make) -> None:
    pipeline, fake = make()
    await heard(pipeline, request(LONG, deadline=Deadline.after(60)))
    assert fake.jobs[0].deadline is not NEVER
    assert all(job.deadline is NEVER for job in fake.jobs[1:])


async def test_a_voice_that_comes_with_the_model(make: Make) -> None:
    pipeline, fake = make()
    assert [card.id for card in pipeline.voices] == [STOCK_VOICE, RANDOM_VOICE]
    assert pipeline.card.default_voice == STOCK_VOICE
    await heard(pipeline, request())
    await heard(pipeline, request(voice=STOCK_VOICE))
    assert len(fake.encoded) == 1
    for job in fake.jobs:
        assert job.prompt is not None
        assert job.reference is not None
        assert not job.emit_patches


@pytest.mark.parametrize(
    ("fields", "prompt", "reference"),
    [
        ({"reference_text": "the low voice"}, True, True),
        ({}, False, True),
        ({"reference_text": "the low voice", "params": {"cloning": "prompt"}}, True, False),
        ({"reference_text": "the low voice", "params": {"cloning": "reference"}}, False, True),
        ({"reference_text": "the low voice", "instructions": "low"}, False, True),
    ],
)
async def test_what_is_taken_of_a_recording(
    make: Make, fields: dict[str, Any], prompt: bool, reference: bool
) -> None:
    pipeline, fake = make(2)
    plan = await pipeline.plan(request(reference_audio=recording(), **fields))
    assert plan.ignored == ()
    async for _ in pipeline.stream(plan):
        pass
    (job,) = fake.jobs
    assert ((job.prompt is not None), (job.reference is not None)) == (prompt, reference)
    ids = pipeline._facts.frontend.ids
    said = "the low voice. hello world." if prompt else TEXT
    assert job.text_ids == ids(f"(low){said}" if "instructions" in fields else said)


async def test_without_its_transcript_a_recording_is_of_no_use_to_the_first_versions(
    make: Make, store: VoiceStore
) -> None:
    pipeline, fake = make(1)
    with pytest.raises(InvalidRequest, match="send the transcript of `ref_audio` as `ref_text`") as refused:
        await pipeline.plan(request(reference_audio=recording()))
    assert (refused.value.param, refused.value.code) == ("ref_text", "transcript_missing")
    store.register(NewVoice(recording(), "Ada"))
    with pytest.raises(InvalidRequest, match="voice 'Ada' has no transcript: register it again"):
        await pipeline.plan(request(voice="Ada"))
    with pytest.raises(InvalidRequest, match="nothing but `prompt`"):
        await pipeline.plan(request(params={"cloning": "reference"}))
    assert fake.encoded == []
    await heard(pipeline, request(reference_audio=recording(), reference_text="the low voice"))
    assert fake.jobs[-1].prompt is not None
    assert fake.jobs[-1].reference is None


async def test_an_asked_for_prompt_needs_a_transcript_in_version_2(make: Make) -> None:
    with pytest.raises(InvalidRequest, match="ref_text"):
        await make(2)[0].plan(request(reference_audio=recording(), params={"cloning": "both"}))


async def test_a_registered_voice_is_encoded_once(make: Make, store: VoiceStore) -> None:
    pipeline, fake = make()
    voice = store.register(NewVoice(recording(), "Ada", reference_text="the low voice"))
    assert await pipeline.prepare_voice(voice) == "miss"
    assert await pipeline.prepare_voice(voice) == "hit-ram"
    plan = await pipeline.plan(request(voice="Ada"))
    assert plan.voice_cache == "hit"
    other, same_fake = make(fake=fake)
    assert (await other.plan(request(voice="Ada"))).voice_cache == "hit"
    assert len(same_fake.encoded) == 1


async def test_unknown_voices_are_not_found(make: Make) -> None:
    with pytest.raises(NotFound):
        await make()[0].plan(request(voice="nobody"))


async def test_a_random_voice_stays_the_same_through_a_text(make: Make) -> None:
    pipeline, fake = make()
    await heard(pipeline, request(LONG, voice=RANDOM_VOICE))
    first, *others = fake.jobs
    assert first.prompt is None
    assert first.emit_patches
    for job in others:
        assert job.prompt is not None
        assert job.prompt[:, 0, 0].tolist() == [0, 1, 2, 3, 4]  # of the first segment
        assert job.text_ids[: len(first.text_ids)] == first.text_ids
        assert not job.emit_patches


async def test_names_may_stand_for_the_random_voice(make: Make) -> None:
    pipeline, fake = make(voice_aliases={"alloy": RANDOM_VOICE, "echo": STOCK_VOICE})
    for name in ("alloy", "echo"):
        await heard(pipeline, request(voice=name))
    assert [job.prompt is None for job in fake.jobs] == [True, False]
    assert {card.id: card.aliases for card in pipeline.voices} == {
        STOCK_VOICE: ("echo",),
        RANDOM_VOICE: ("alloy",),
    }


async def test_a_first_segment_that_ran_away_is_no_voice_for_the_others(make: Make) -> None:
    pipeline, fake = make(fake=FakeVoxCPM(limited=frozenset({0})))
    await heard(pipeline, request(LONG, voice=RANDOM_VOICE))
    assert fake.jobs[1].prompt is None
    assert fake.jobs[2].prompt is not None
    assert fake.jobs[2].prompt[0, 0, 0] == 10


async def test_segments_may_continue_each_other(make: Make) -> None:
    pipeline, fake = make(engine={"max_length": 2048})
    await heard(pipeline, request(LONG, params={"continue_segments": True}))
    first, second, third = fake.jobs[:3]
    ids = pipeline._facts.frontend.ids
    assert first.prompt is not None
    assert second.prompt is not None
    assert third.prompt is not None
    voice = first.prompt[:, 0, 0].tolist()
    assert second.prompt[:, 0, 0].tolist() == [*voice, 0, 1, 2, 3, 4]
    assert third.prompt[:, 0, 0].tolist() == [*voice, 10, 11, 12, 13, 14]
    assert list(ids(LONG))[: len(second.text_ids) - len(ids(TRANSCRIPT))] == list(
        second.text_ids[len(ids(TRANSCRIPT)) :]
    )
    assert len(third.text_ids) < len(ids(TRANSCRIPT)) + len(ids(LONG))


async def test_a_segment_continues_the_voice_alone_where_there_is_no_room_for_more(make: Make) -> None:
    pipeline, fake = make(engine={"max_length": 64}, max_segment_chars=45)
    await heard(pipeline, request(LONG, params={"continue_segments": True, "max_len": 50}))
    lengths = {len(job.prompt) for job in fake.jobs if job.prompt is not None}
    assert lengths == {3}


@pytest.mark.parametrize(
    ("text", "instructions", "said"),
    [
        ("(low voice) hello world.", None, "(low voice)hello world."),
        ("hello world.", "low", "(low)hello world."),
        ("(low)hello world.", "the voice", "(the voice, low)hello world."),
        ("hello (low) world.", None, "hello (low) world."),
        ("(hello world.)", None, "(hello world.)"),
    ],
)
async def test_a_voice_may_be_described(make: Make, text: str, instructions: str | None, said: str) -> None:
    pipeline, fake = make(max_segment_chars=200)
    await heard(pipeline, request(text, voice=RANDOM_VOICE, instructions=instructions))
    (job,) = fake.jobs
    assert job.text_ids == pipeline._facts.frontend.ids(said)


async def test_a_description_holds_for_all_segments(make: Make) -> None:
    pipeline, fake = make()
    await heard(pipeline, request(LONG, reference_audio=recording(), instructions="low"))
    opening = pipeline._facts.frontend.ids("(low)")
    assert len(fake.jobs) > 2
    assert all(job.text_ids[: len(opening)] == opening for job in fake.jobs)


async def test_the_first_versions_take_no_description(make: Make) -> None:
    pipeline, fake = make(1)
    plan = await pipeline.plan(request("(low) hello world.", instructions="low"))
    assert plan.ignored == ("instructions",)
    async for _ in pipeline.stream(plan):
        pass
    ids = pipeline._facts.frontend.ids
    assert sum(job.target_tokens for job in fake.jobs) == len(ids("(low) hello world."))


async def test_a_description_has_no_place_beside_a_prompt(make: Make) -> None:
    plan = await make(2)[0].plan(
        request("(low) hello.", voice=STOCK_VOICE, instructions="low", params={"cloning": "both"})
    )
    assert plan.ignored == ("instructions",)
    assert plan.text == "(low) hello."
    with pytest.raises(InvalidRequest, match="instructions have 501"):
        await make(2)[0].plan(request(instructions="a" * 501))


async def test_scripts_that_no_language_has_are_refused(make: Make) -> None:
    with pytest.raises(InvalidRequest, match="cannot speak these characters"):
        await make(1)[0].plan(request("привет"))
    assert (await make(2)[0].plan(request("สวัสดี"))).language == ""


async def test_a_text_that_takes_too_long_is_refused(make: Make) -> None:
    with pytest.raises(InvalidRequest, match="at most 10 s"):
        await heard(make(longest_audio_s=10)[0], request("hello world. " * 30))


async def test_an_engine_that_fails_fails_the_request(make: Make) -> None:
    def trouble(patch: int) -> None:
        if patch == PATCHES + 2:
            raise Unavailable("the engine failed")

    pipeline, fake = make(fake=FakeVoxCPM(trouble=trouble))
    with pytest.raises(SpeechError, match="the engine failed"):
        await heard(pipeline, request(LONG))
    assert fake.open == 0
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("taken", [0, 1, 7])
async def test_leaving_stops_everything(make: Make, taken: int) -> None:
    async def dawdle(place: str) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    pipeline, fake = make(fake=FakeVoxCPM(pause=dawdle))
    events = pipeline.stream(await pipeline.plan(request(LONG)))
    if taken:
        for _ in range(taken):
            await anext(events)
    else:
        task = asyncio.ensure_future(anext(events))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await events.aclose()
    for _ in range(4):
        await asyncio.sleep(0)
    assert fake.open == 0
    assert len(asyncio.all_tasks()) == 1


async def test_warm_up_measures_the_engine_alone_and_in_company(make: Make) -> None:
    pipeline, fake = make()
    await pipeline.warm_up()
    assert len({job.request_id for job in fake.jobs}) == 4
    assert fake.encoded == []
    assert await pipeline.ready()
    assert pipeline.forecast().first_audio_s > 0


def test_the_card_says_what_the_version_can(make: Make) -> None:
    first, second = make(1)[0].card, make(2)[0].card
    assert first.languages == ("zh", "en")
    assert len(second.languages) == 30
    assert (first.sample_rate_hz, second.sample_rate_hz) == (44_100, 48_000)
    assert first.cloning
    assert second.parameters["properties"]["cfg_value"]["default"] == 2.0
