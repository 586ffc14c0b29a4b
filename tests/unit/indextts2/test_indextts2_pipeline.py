"""The whole pipeline over fake stages: what a request becomes, what is heard, what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from call_stack import generators_above
from index_fakes import BANDS, DIM, GEOMETRY, FakeGraph, FakeStages, SharedProfile, dawdle, turns

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest, NotFound, SpeechError, Unavailable
from deployments.core.pipeline import parse_model
from deployments.core.speech import AudioChunk, Emotion, SpeechRequest, StreamEnd
from deployments.indextts2.pipeline import Pipeline
from deployments.indextts2.plan import CheckpointFacts
from deployments.indextts2.settings import IndexTTSSettings
from deployments.indextts2.speaker.emotion import normalize_weights
from deployments.indextts2.stream.segment import MUTE_PAUSE_S, REDRAWN, SegmentStream
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.indextts2.traits import TWO, TWO_AND_A_HALF
from deployments.streaming.admission import SharedStream, StreamAdmission
from deployments.streaming.admitted import AdmittedStreams
from deployments.text.pauses import pause_mark
from deployments.voices.library import VoiceLibrary
from deployments.voices.registered_voice import NewVoice
from deployments.voices.store import VoiceStore

LONG = "One sentence is here. Another one follows it. A third comes after that. The fourth is the last."
PAUSE_S = 0.2
BPE = Path(__file__).parents[2] / "golden" / "indextts2-front" / "ckpt" / "bpe.model"

Recording = Callable[[int], bytes]


@pytest.fixture(scope="session")
def frontend() -> IndexTextFrontend:
    # Any tokenizer would do; the tests count segments, so it must always be the same one.
    return IndexTextFrontend(BPE)


class Bench:
    """A pipeline, its fake graph and its store."""

    def __init__(self, directory: Path, frontend: IndexTextFrontend, recording: Recording) -> None:
        self.voices = directory / "checkpoint" / "voices"
        self.voices.mkdir(parents=True)
        for number, name in enumerate(("anna", "bert")):
            (self.voices / f"{name}.wav").write_bytes(recording(200 + 50 * number))
        self.facts = CheckpointFacts(self.voices.parent, frontend, GEOMETRY.sample_rate_hz, TWO, 89, 119)
        self.store = VoiceStore(str(directory / "store"))
        self.recording = recording
        self.shared: list[str] = []

    def pipeline(self, counts: dict[int, int] | None = None, **settings: Any) -> tuple[Pipeline, FakeGraph]:
        graph = FakeGraph(FakeStages(counts or dict.fromkeys(range(20), 30)))

        def share(profile: Any) -> SharedProfile:
            self.shared.append(profile.key)
            return SharedProfile(profile)

        settings = {"max_text_tokens_per_segment": 20, "chunks": {"first_codes": 4}, **settings}
        pipeline = Pipeline(
            "tts", IndexTTSSettings(**settings), graph.handles(), facts=self.facts, share=share
        )
        pipeline.use_library(VoiceLibrary(self.store))
        return pipeline, graph


@pytest.fixture
def bench(tmp_path: Path, frontend: IndexTextFrontend, recording: Recording) -> Bench:
    return Bench(tmp_path, frontend, recording)


def request(text: str = "Hello there.", **fields: Any) -> SpeechRequest:
    return SpeechRequest(request_id="r", text=text, **fields)


async def heard(pipeline: Pipeline, wanted: SpeechRequest) -> tuple[list[AudioChunk], StreamEnd]:
    events = [event async for event in pipeline.stream(await pipeline.plan(wanted))]
    *chunks, end = events
    assert isinstance(end, StreamEnd)
    assert all(isinstance(chunk, AudioChunk) for chunk in chunks)
    return chunks, end  # type: ignore[return-value]


def joined(chunks: list[AudioChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def expected(stages: FakeStages, segments: int, pause_s: float = PAUSE_S) -> np.ndarray:
    pause = np.zeros(round(pause_s * GEOMETRY.sample_rate_hz), np.float32)
    parts: list[np.ndarray] = []
    for index in range(segments):
        parts += [*([pause] if index else []), stages.expected(index)]
    return np.concatenate(parts)


async def test_audio_passes_few_generators_and_a_request_needs_few_tasks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Router, its client and HTTP have five more generators between the vocoder and a socket."""
    generators: list[int] = []
    tasks: list[int] = []
    received = SegmentStream._received

    async def counted(segment: SegmentStream, window: Any, *, observe: bool) -> Any:
        samples = await received(segment, window, observe=observe)
        generators.append(generators_above())
        tasks.append(len(asyncio.all_tasks()) - 1)
        return samples

    monkeypatch.setattr(SegmentStream, "_received", counted)
    pipeline, _ = bench.pipeline(segments_at_once=2)
    await heard(pipeline, request(LONG))
    assert max(generators) == 2
    assert max(tasks) <= 8


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("at_once", [1, 2, 8])
async def test_segments_come_in_order_with_pauses(
    bench: Bench, stream: bool, seed: int | None, at_once: int
) -> None:
    counts = {index: 61 - 17 * index % 50 for index in range(20)}
    pipeline, graph = bench.pipeline(counts, segments_at_once=at_once)
    chunks, end = await heard(pipeline, request(LONG, stream=stream, seed=seed))
    segments = chunks[-1].segment + 1
    assert segments > 2
    assert np.array_equal(joined(chunks), expected(graph.stages, segments))
    assert end.audio_s == pytest.approx(len(joined(chunks)) / GEOMETRY.sample_rate_hz)
    assert [chunk.segment for chunk in chunks] == sorted(chunk.segment for chunk in chunks)
    assert set(end.stage_s) == {"queue", "spk", "gpt", "s2mel", "voc"}
    assert [job.stream for job in graph.stages.gpt_jobs] == list(range(segments))
    assert graph.stages.open == 0
    assert len(asyncio.all_tasks()) == 1
    jobs = len(graph.stages.mel_jobs)
    assert jobs == segments if not stream else jobs > segments


@pytest.mark.parametrize(("asked", "pause_s"), [(None, 0.2), (0.0, 0.0), (750.0, 0.75)])
async def test_the_pause_may_be_chosen(bench: Bench, asked: float | None, pause_s: float) -> None:
    pipeline, graph = bench.pipeline()
    chunks, _ = await heard(pipeline, request(LONG, pause_ms=asked))
    assert np.array_equal(joined(chunks), expected(graph.stages, chunks[-1].segment + 1, pause_s))


@pytest.mark.parametrize("quality", ["fast", "reference"])
@pytest.mark.parametrize("speed", [1.0, 2.0])
async def test_the_text_may_ask_for_pauses(bench: Bench, quality: str, speed: float) -> None:
    pipeline, graph = bench.pipeline()
    text = f"{pause_mark(0.5)}Wait{pause_mark(1.0)}for it.{pause_mark(2.0)}"
    chunks, end = await heard(pipeline, request(text, pause_ms=300, speed=speed, quality=quality))
    rate_hz, stages = GEOMETRY.sample_rate_hz, graph.stages
    silences = [np.zeros(round(pause_s * speed * rate_hz), np.float32) for pause_s in (0.5, 1.0, 2.0)]
    first, second = stages.expected(0), stages.expected(1)
    assert np.array_equal(
        joined(chunks), np.concatenate([silences[0], first, silences[1], second, silences[2]])
    )
    assert end.audio_s == pytest.approx(len(joined(chunks)) / rate_hz)


@pytest.mark.slow
@pytest.mark.parametrize(("free", "others", "side_by_side"), [(True, 5, 2), (False, 5, 1), (False, 0, 2)])
async def test_segments_are_decoded_at_the_same_time_where_that_costs_nobody_anything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, free: bool, others: int, side_by_side: int
) -> None:
    """Where steps are as long with more rows, or where one listens alone who has enough to listen to."""
    monkeypatch.setattr(StageSpeeds, "rows_are_free", free)
    running = most = 0

    async def pause(place: str) -> None:
        nonlocal running, most
        if place == "gpt":
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    for at_once in (1, 2):
        pipeline, graph = bench.pipeline(dict.fromkeys(range(20), 400), segments_at_once=at_once)
        graph.stages.pause, most = pause, 0
        pipeline._speeds.segments = others
        await heard(pipeline, request(LONG))
        assert most == min(at_once, side_by_side)
        await heard(pipeline, request(LONG, stream=False))  # nobody listens
        assert most == at_once


async def test_only_the_first_segment_may_be_refused_and_has_a_deadline(bench: Bench) -> None:
    pipeline, graph = bench.pipeline()
    deadline = Deadline.after(60)
    await heard(pipeline, request(LONG, deadline=deadline))
    first, *later = graph.stages.gpt_jobs
    assert len(later) > 1
    assert (first.refusable, first.deadline) == (True, deadline)
    assert not any(job.refusable for job in later)
    assert {job.deadline for job in later} == {NEVER}
    assert {job.request_id for job in graph.stages.gpt_jobs + graph.stages.mel_jobs} == {"r"}


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 2),  # one sequence, and one for the latents of a stream
        ({"stream": False}, 1),
        ({"params": {"num_beams": 4}}, 5),
        ({"quality": "reference"}, 3),
    ],
)
async def test_streams_begin_as_long_as_there_are_slots(
    bench: Bench, fields: dict[str, Any], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, int | None]] = []
    has_rows = StreamAdmission._has_rows

    def noted(admission: StreamAdmission, stream: SharedStream) -> bool:
        taken.append((stream.rows, admission._rows()))
        return has_rows(admission, stream)

    monkeypatch.setattr(StreamAdmission, "_has_rows", noted)
    pipeline, _ = bench.pipeline(gpt={"slots": 12})
    await heard(pipeline, request(**fields))
    assert taken[-1] == (rows, 12)
    await heard(pipeline, request(**fields))
    assert taken[-1] == (rows, 8)  # as the one replica says that was heard of
    with pytest.raises(InvalidRequest):
        await pipeline.plan(request(params={"num_beams": 99}))


async def test_weights_replaced_in_place_get_profiles_of_their_own(bench: Bench) -> None:
    """The version that is known here is older than the replica that encodes: what counts is who encoded."""
    pipeline, graph = bench.pipeline()
    assert (await pipeline.plan(request())).voice_cache == "miss"
    graph.version = "v2"
    plan = await pipeline.plan(request(voice="bert"))
    old = await pipeline.plan(request(voice="bert"))
    assert (plan.voice_cache, old.voice_cache) == ("miss", "hit")
    assert plan.shared_voice.key == old.shared_voice.key
    again, later = bench.pipeline()
    later.version = "v2"
    assert (await again.plan(request(voice="bert"))).voice_cache == "hit"
    assert (await again.plan(request(voice="anna"))).voice_cache == "miss"


async def test_the_card_tells_parameters_with_the_limits_of_the_checkpoint(bench: Bench) -> None:
    pipeline, _ = bench.pipeline(quality="fast", presets={"fast": {"top_k": 7}})
    card = pipeline.card
    assert card.presets == ("fast", "balanced", "reference")
    properties = card.parameters["properties"]
    assert properties["top_k"]["default"] == 7
    assert properties["diffusion_steps"]["default"] == 6
    assert properties["max_codes"]["maximum"] == properties["max_codes"]["default"] == 119
    whole = [kind for kind in properties["max_text_tokens_per_segment"]["anyOf"] if "maximum" in kind]
    assert [kind["maximum"] for kind in whole] == [89]


async def test_a_script_that_the_checkpoint_does_not_speak_is_refused(bench: Bench) -> None:
    pipeline, _ = bench.pipeline()
    assert pipeline.card.languages == ("zh", "en")
    with pytest.raises(InvalidRequest, match="model 'tts' cannot speak these characters"):
        await pipeline.plan(request("Сегодня хорошая погода"))
    english = dataclasses.replace(bench.facts, frontend=IndexTextFrontend(BPE, languages=("en",)))
    bench.facts = english
    pipeline, _ = bench.pipeline()
    assert pipeline.card.languages == ("en",)
    with pytest.raises(InvalidRequest, match="it speaks Latin script"):
        await pipeline.plan(request("今天天气很好"))


async def test_reference_quality_is_one_pass_over_the_published_segments(bench: Bench) -> None:
    pipeline, graph = bench.pipeline()
    text = "One sentence\nwith a line break. And one more."
    await heard(pipeline, request(text, quality="reference", stream=True))
    published = bench.facts.frontend.segments(text, 20)
    assert [job.text_ids for job in graph.stages.gpt_jobs] == [segment.ids for segment in published]
    assert {job.emit_codes for job in graph.stages.gpt_jobs} == {0}
    assert {(job.euler_steps, job.params.guidance) for job in graph.stages.mel_jobs} == {(25, 0.7)}
    params = graph.stages.gpt_jobs[0].params
    assert (params.num_beams, params.top_k, params.top_p, params.temperature) == (3, 30, 0.8, 0.8)
    assert (params.repetition_penalty, params.length_penalty, params.samples) == (10.0, 0.0, True)
    assert params.max_codes == 119  # this checkpoint has no more


async def test_parameters_override_the_preset(bench: Bench) -> None:
    pipeline, graph = bench.pipeline(presets={"fast": {"diffusion_steps": 3}})
    await heard(pipeline, request(quality="fast"))
    assert graph.stages.mel_jobs[-1].euler_steps == 3
    params = {"diffusion_steps": 9, "guidance": 0, "num_beams": 2, "temperature": 0, "top_k": 5.0, "swing": 1}
    plan = await pipeline.plan(request(quality="fast", params=params))
    assert (plan.params.diffusion_steps, plan.params.guidance, plan.params.network_rows) == (9, 0, 1)
    assert (plan.params.num_beams, plan.params.samples, plan.params.top_k) == (2, False, 5)
    assert plan.ignored == ("swing",)
    with pytest.raises(ValueError, match=r"presets\.slow"):
        parse_model("tts", {"kind": "indextts2", "presets": {"slow": {}}})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"quality": "best"}, "quality"),
        ({"params": {"diffusion_steps": 0}}, "diffusion_steps"),
        ({"params": {"diffusion_steps": 2.5}}, "diffusion_steps"),
        ({"params": {"guidance": float("nan")}}, "guidance"),
        ({"params": {"guidance": "much"}}, "guidance"),
        ({"params": {"top_k": True}}, "top_k"),
        ({"params": {"temperature": 0.001}}, "temperature"),
        ({"params": {"max_codes": 120}}, "max_codes"),
        ({"params": {"max_text_tokens_per_segment": 90}}, "max_text_tokens_per_segment"),
        ({"emotion": Emotion(vector=(1.0,) * 7)}, "emotion"),
        ({"emotion": Emotion(vector=(1.3, *[0.0] * 7))}, "emotion"),
        ({"emotion": Emotion(text="sad", audio=b"x")}, "emotion"),
        ({"emotion": Emotion(text="sad", alpha=2)}, "emotion"),
        ({"emotion": Emotion(text=" ")}, "emotion"),
        ({"emotion": Emotion(audio=b"x", random=True)}, "emotion"),
        ({"emotion": Emotion(audio=b"no audio")}, "emotion"),
        ({"reference_audio": b"no audio"}, "ref_audio"),
        ({"voice": "nobody"}, "voice"),
    ],
)
async def test_bad_requests_are_refused_with_the_field(
    bench: Bench, fields: dict[str, Any], param: str
) -> None:
    pipeline, _ = bench.pipeline()
    with pytest.raises(SpeechError) as error:
        await pipeline.plan(request(**fields))
    assert error.value.param == param
    assert error.value.status < 500


async def test_a_text_without_tokens_is_refused(bench: Bench) -> None:
    pipeline, graph = bench.pipeline()
    plan = await pipeline.plan(request(" "))
    with pytest.raises(InvalidRequest, match="nothing to speak"):
        await anext(pipeline.stream(plan))
    assert graph.stages.open == 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("mute", [{1}, {2}, {3}, {1, 2}, {0}, {0, 1}, {0, 1, 2}], ids=str)
async def test_a_mute_segment_is_a_pause_and_a_warning(bench: Bench, stream: bool, mute: set[int]) -> None:
    counts = {index: 0 if index in mute else 20 for index in range(4)}
    counts |= {REDRAWN + index: 0 for index in mute}
    pipeline, graph = bench.pipeline(counts)
    chunks, end = await heard(pipeline, request(LONG, stream=stream, seed=3))
    spoken = [index for index in range(4) if index not in mute]
    parts: list[np.ndarray] = []
    for index in range(spoken[0], 4):
        pause = np.zeros(round(PAUSE_S * GEOMETRY.sample_rate_hz), np.float32)
        gap = np.zeros(round(MUTE_PAUSE_S * GEOMETRY.sample_rate_hz), np.float32)
        parts += [*([pause] if parts else []), gap if index in mute else graph.stages.expected(index)]
    assert np.array_equal(joined(chunks), np.concatenate(parts)), "nothing is played for what begins a text"
    assert [warning for warning in end.warnings if "nothing to say" in warning] == [
        f"the model had nothing to say for segment {index + 1}, which is left out: {text!r}"
        for index, text in enumerate(sentences(LONG))
        if index in mute
    ]
    assert end.audio_s == pytest.approx(len(joined(chunks)) / GEOMETRY.sample_rate_hz)
    assert graph.stages.open == 0
    assert len(asyncio.all_tasks()) == 1


def sentences(text: str) -> list[str]:
    return [f"{sentence.strip().rstrip('.').upper()}." for sentence in text.split(". ")]


@pytest.mark.parametrize("text", ["7" * 4096, "a" * 4096, "ha" * 2000, "1/" * 2048])
async def test_what_would_be_spoken_for_minutes_is_refused_before_anything_is_made(
    bench: Bench, text: str
) -> None:
    pipeline, graph = bench.pipeline()
    with pytest.raises(InvalidRequest, match="at most 900 s are allowed") as caught:
        await anext(pipeline.stream(await pipeline.plan(request(text))))
    assert caught.value.code == "input_too_long"
    assert graph.stages.gpt_jobs == []


async def test_a_text_that_is_mute_throughout_is_an_error(bench: Bench) -> None:
    pipeline, graph = bench.pipeline(dict.fromkeys([*range(4), *range(REDRAWN, REDRAWN + 4)], 0))
    with pytest.raises(Unavailable, match="nothing to say for any part") as caught:
        await anext(pipeline.stream(await pipeline.plan(request(LONG))))
    assert caught.value.code == "segment_not_spoken"
    await turns()
    assert graph.stages.open == 0
    assert len(asyncio.all_tasks()) == 1


async def test_voices_of_the_checkpoint_aliases_and_the_default(bench: Bench) -> None:
    pipeline, graph = bench.pipeline()
    assert [voice.id for voice in pipeline.voices] == ["anna", "bert"]
    assert pipeline.card.default_voice == "anna"
    assert (await pipeline.plan(request())).voice.id == "anna"
    assert (await pipeline.plan(request(voice="bert"))).voice.id == "bert"
    assert (await pipeline.plan(request(voice="ash"))).voice.id == "bert"  # every second OpenAI name
    assert len(graph.encoded) == 2
    own, _ = bench.pipeline(voice_aliases={"nova": "bert"}, default_voice="bert")
    assert (await own.plan(request(voice="nova"))).voice.id == "bert"
    with pytest.raises(NotFound):
        await own.plan(request(voice="ash"))


async def test_a_registered_voice_comes_before_an_alias(bench: Bench, recording: Recording) -> None:
    pipeline, graph = bench.pipeline()
    voice = bench.store.register(NewVoice(recording(330), "verse"))
    plan = await pipeline.plan(request(voice="Verse"))
    assert (plan.voice.id, plan.voice.uploaded, plan.voice_cache) == (voice.id, True, "miss")
    assert (await pipeline.plan(request(voice=voice.id))).voice_cache == "hit"
    assert len(graph.encoded) == 1
    assert await pipeline.prepare_voice(voice) == "hit-ram"


async def test_a_profile_is_encoded_and_shared_once(bench: Bench, recording: Recording) -> None:
    pipeline, graph = bench.pipeline()
    one_off = request(reference_audio=recording(400))
    plans = await asyncio.gather(*(pipeline.plan(one_off) for _ in range(5)), pipeline.plan(request()))
    assert len(graph.encoded) == len(bench.shared) == 2
    assert len({id(plan.shared_voice) for plan in plans}) == 2
    assert plans[0].voice.id == "reference-audio"
    assert (await plans[0].shared_voice.profile).key == plans[0].shared_voice.key
    assert plans[0].prompt_frames == 10
    assert plans[0].synthesis.mel_bands == BANDS


async def test_a_stock_voice_is_not_encoded_again_after_a_restart_but_a_one_off_leaves_nothing(
    bench: Bench, recording: Recording
) -> None:
    first, _ = bench.pipeline()
    await first.plan(request())
    await first.plan(request(reference_audio=recording(400)))
    again, graph = bench.pipeline()
    assert (await again.plan(request())).voice_cache == "hit"
    assert graph.encoded == []
    assert (await again.plan(request(reference_audio=recording(400)))).voice_cache == "miss"


async def test_emotion_reaches_the_gpt(bench: Bench, recording: Recording) -> None:
    pipeline, graph = bench.pipeline()
    speaker, own = np.zeros(DIM), np.ones(DIM)

    async def vector(**fields: Any) -> np.ndarray:
        return (await pipeline.plan(request(**fields))).emotion

    def weighted(weights: list[float], rows: list[int]) -> np.ndarray:
        values = graph.matrix().values[np.arange(0, 16, 2) + rows]
        return (np.array(weights)[:, None] * values).sum(axis=0) + (1 - sum(weights)) * own

    nearest = [0] * 8
    assert np.allclose(await vector(), own)
    half = Emotion(audio=recording(500), alpha=0.5)
    assert np.allclose(await vector(emotion=half), speaker + 0.5 * 3)
    asked = (0.0, 1.0, 0, 0, 0, 0, 0, 0.5)
    assert np.allclose(
        await vector(emotion=Emotion(vector=asked)), weighted(normalize_weights(asked), nearest)
    )
    scores = [0.25, 0, 0, 0, 0, 0, 0, 0.125]  # the classifier's weights are not tamed, but scaled by alpha
    assert np.allclose(await vector(emotion=Emotion(text="joy", alpha=0.5)), weighted(scores, nearest))
    assert np.allclose(await vector(instructions="joy"), weighted([0.5, 0, 0, 0, 0, 0, 0, 0.25], nearest))
    assert graph.asked == ["audio", "joy"]  # instructions of the same words cost nothing
    wild = Emotion(vector=(0.1,) * 8, random=True)
    first, second = await vector(emotion=wild, seed=1), await vector(emotion=wild, seed=1)
    assert np.array_equal(first, second)
    assert len({(await vector(emotion=wild, seed=seed)).tobytes() for seed in range(6)}) > 1
    plan = await pipeline.plan(request(emotion=half))
    await heard(pipeline, request(emotion=half))
    assert np.array_equal(graph.stages.gpt_jobs[-1].emotion, plan.emotion)


async def test_instructions_that_cannot_be_used_are_ignored_but_an_emotion_text_is_not(bench: Bench) -> None:
    pipeline, graph = bench.pipeline()

    def unavailable(text: str) -> list[float]:
        raise InvalidRequest("no classifier", param="emotion", code="emotion_text_unavailable")

    graph.scores = unavailable
    plan = await pipeline.plan(request(instructions="cheerfully"))
    assert plan.ignored == ("instructions",)
    with pytest.raises(InvalidRequest, match="no classifier"):
        await pipeline.plan(request(emotion=Emotion(text="cheerful")))
    both = await pipeline.plan(
        request(instructions="loud", emotion=Emotion(vector=(0.1,) * 8), reference_text="a")
    )
    assert both.ignored == ("instructions", "ref_text")


async def test_a_seed_decides_draws_and_chunk_sizes(bench: Bench) -> None:
    pipeline, _ = bench.pipeline()
    seeded = await pipeline.plan(request(seed=7))
    assert (seeded.seed, seeded.synthesis.by_deadline) == (7, False)
    free = [await pipeline.plan(request()) for _ in range(2)]
    assert free[0].seed != free[1].seed
    assert free[0].synthesis.by_deadline
    fixed, _ = bench.pipeline(seed=3)
    assert (await fixed.plan(request())).seed == 3
    assert (await fixed.plan(request(seed=0))).seed == 0


async def test_what_the_client_should_know_is_told_once(bench: Bench, recording: Recording) -> None:
    pipeline, graph = bench.pipeline()
    graph.stages.limit_reached = True
    _, end = await heard(
        pipeline, request("Greek is ξενία here. And ξενία again.", reference_audio=recording(200))
    )
    unknown = [warning for warning in end.warnings if "no reading for" in warning]
    assert len(unknown) == 1
    assert "Ξ" in unknown[0].upper()
    assert any("limit of codes" in warning for warning in end.warnings)
    assert pipeline.reference_warnings(20.0)
    assert not pipeline.reference_warnings(5.0)


@pytest.mark.parametrize("place", ["gpt", "gpt-end", "s2mel", "vocoder"])
async def test_an_error_in_any_stage_of_any_segment_stops_everything(bench: Bench, place: str) -> None:
    for number in (1, 3):
        pipeline, graph = bench.pipeline()
        stages = graph.stages

        def trouble(here: str, visit: int, number: int = number) -> None:
            if (here, visit) == (place, number):
                raise Unavailable(f"{place} is gone")

        stages.trouble, stages.pause = trouble, dawdle
        with pytest.raises(Unavailable, match="is gone"):
            await heard(pipeline, request(LONG))
        await turns()
        assert stages.open == 0
        assert len(asyncio.all_tasks()) == 1


@pytest.mark.slow
async def test_nothing_is_left_running_wherever_the_client_leaves(bench: Bench) -> None:
    """After every few turns of the event loop until the request is through, and after every event."""
    pipeline, graph = bench.pipeline(dict.fromkeys(range(9), 12))
    graph.stages.pause = dawdle
    plan = await pipeline.plan(request(LONG, seed=1))

    async def listen() -> None:
        async with contextlib.aclosing(pipeline.stream(plan)) as events:
            async for _ in events:
                pass

    for count in range(0, 2000, 7):
        graph.stages.places.clear()
        task = asyncio.ensure_future(listen())
        while not graph.stages.places and count:  # the text front end works in a thread
            await asyncio.sleep(0.0005)
        await turns(count)
        done = task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await turns()
        assert graph.stages.open == 0, count
        assert len(asyncio.all_tasks()) == 1, count
        if done:
            break
    assert done
    assert count > 100

    for wanted in range(6):
        events = pipeline.stream(plan)
        for _ in range(wanted):
            await anext(events)
        await events.aclose()
        await turns()
        assert graph.stages.open == 0
        assert len(asyncio.all_tasks()) == 1


async def test_leaving_while_the_voice_is_encoded_does_not_stop_it_for_others(bench: Bench) -> None:
    pipeline, graph = bench.pipeline()
    encoding = asyncio.Event()

    async def slow() -> None:
        encoding.set()
        await asyncio.sleep(0.05)

    graph.encode_pause = slow
    first = asyncio.ensure_future(pipeline.plan(request()))
    await encoding.wait()
    second = asyncio.ensure_future(pipeline.plan(request()))
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second).voice.id == "anna"
    assert len(graph.encoded) == 1


async def test_ready_asks_all_four_stages(bench: Bench) -> None:
    pipeline, graph = bench.pipeline()
    assert await pipeline.ready()
    assert graph.stages.open == 0
    assert pipeline.card.cloning
    assert pipeline.card.emotion


def test_the_four_deployments_are_named_after_the_model() -> None:
    kind, settings = parse_model("clone", {"kind": "indextts2", "device": "cpu", "gpt": {"slots": 4}})
    bound = kind.deployments("clone", settings)
    assert list(bound) == ["speaker", "gpt", "s2mel", "vocoder"]
    names = [application._bound_deployment.name for application in bound.values()]
    assert names == ["clone-speaker", "clone-gpt", "clone-s2mel", "clone-vocoder"]
    with pytest.raises(ValueError, match=r"gpt\.slotz"):
        parse_model("clone", {"kind": "indextts2", "gpt": {"slotz": 4}})


@pytest.mark.parametrize(
    ("speed", "factor", "tempo"),
    [(1.0, 1.0, 1.0), (1.25, 0.8, 1.0), (2.0, 0.5, 1.0), (0.5, 2.0, 1.0), (4.0, 0.5, 2.0), (0.25, 2.0, 0.5)],
)
async def test_what_a_model_can_of_a_speed_it_does_itself(
    bench: Bench, speed: float, factor: float, tempo: float
) -> None:
    bench.facts = dataclasses.replace(bench.facts, traits=TWO_AND_A_HALF)
    plan = await bench.pipeline()[0].plan(request(speed=speed))
    assert (plan.geometry.duration_factor, plan.tempo) == (factor, tempo)


async def test_a_model_that_cannot_stretch_leaves_the_speed_to_a_time_stretch(bench: Bench) -> None:
    plan = await bench.pipeline()[0].plan(request(speed=1.5))
    assert (plan.geometry.duration_factor, plan.tempo) == (1.0, 1.5)


async def test_a_model_without_latents_holds_no_slot_for_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def nothing() -> AsyncGenerator[StreamEnd, None]:
        yield StreamEnd(0.0, {}, ())

    def seen(streams: AdmittedStreams, *given: Any, rows: int, **more: Any) -> Any:
        asked.append(rows)
        return nothing()

    monkeypatch.setattr(AdmittedStreams, "events", seen)
    for traits in (TWO, TWO_AND_A_HALF):
        bench.facts = dataclasses.replace(bench.facts, traits=traits)
        await heard(bench.pipeline()[0], request())
    assert asked == [2, 1]
