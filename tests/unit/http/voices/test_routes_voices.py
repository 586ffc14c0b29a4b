"""Uploaded voices over HTTP."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from http_fakes import body_schema
from httpx import ASGITransport, AsyncClient
from voices_fake import Clip, CloningModel, FixedModel, VoiceService

from serve_app.config import Limits
from serve_app.http.application import create_api

VOICES = "/v1/audio/voices"


async def upload(
    http: AsyncClient, audio: bytes, file_name: str = "voice.wav", **fields: Any
) -> httpx.Response:
    data = {"name": "Berta", **fields}
    return await http.post(VOICES, data=data, files={"audio_sample": (file_name, audio)})


def fault(answer: httpx.Response) -> tuple[int, str | None, str]:
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    return answer.status_code, error["param"], error["message"]


async def test_register_list_use_and_delete(http: AsyncClient, cloner: CloningModel, clip: Clip) -> None:
    audio = clip()
    created = (
        await upload(http, audio, language="en", description="warm", ref_text="hi", aliases="B, Bertha")
    ).json()
    assert created["object"] == "audio.voice"
    assert created["id"].startswith("voice_")
    assert isinstance(created["created_at"], int)
    assert (created["name"], created["description"], created["ref_text"]) == ("Berta", "warm", "hi")
    assert created["aliases"] == ["B", "Bertha"]
    assert (created["models"], created["warnings"]) == (["clone"], [])
    assert (created["duration"], created["sample_rate"]) == (4.0, 24_000)

    listed = (await http.get(VOICES)).json()
    assert [voice["id"] for voice in listed["voices"]] == ["anna", created["id"]]
    assert [voice["id"] for voice in listed["uploaded_voices"]] == [created["id"]]
    of_clone = (await http.get(VOICES, params={"model": "clone"})).json()["voices"]
    assert [(voice["id"], voice["model"]) for voice in of_clone] == [(created["id"], "clone")]
    assert (await http.get(VOICES, params={"model": "fixed"})).json()["uploaded_voices"] == []

    for name in (created["id"], "berta", "BERTHA"):
        assert (await http.get(f"{VOICES}/{name}")).json() == created
    sample = await http.get(f"{VOICES}/Berta/sample")
    assert (sample.content, sample.headers["content-type"]) == (audio, "audio/wav")
    assert sample.headers["x-content-type-options"] == "nosniff"

    for expected in ("miss", "hit-ram"):
        ready = await http.post(f"{VOICES}/Berta/preload")
        assert (ready.json()["id"], ready.json()["models"]) == (created["id"], {"clone": expected})
    assert cloner.encoded == 1

    assert (await http.delete(f"{VOICES}/B")).json() == {
        "object": "audio.voice.deleted",
        "id": created["id"],
        "deleted": True,
    }
    for answer in (await http.get(f"{VOICES}/Berta"), await http.delete(f"{VOICES}/{created['id']}")):
        assert fault(answer)[0] == 404
        assert answer.json()["error"]["code"] == "voice_not_found"
    assert (await http.get(VOICES)).json()["uploaded_voices"] == []


async def test_fixed_voices_are_shown_and_kept(http: AsyncClient) -> None:
    assert (await http.get(f"{VOICES}/alloy")).json()["id"] == "anna"
    for answer in (
        await http.delete(f"{VOICES}/anna"),
        await http.get(f"{VOICES}/anna/sample"),
        await http.patch(f"{VOICES}/anna", json={"name": "x"}),
    ):
        status, _, message = fault(answer)
        assert (status, answer.json()["error"]["code"]) == (400, "voice_fixed")
        assert "voice of a model" in message


@pytest.mark.parametrize("name", ["anna", "ANNA", "alloy", "Verse", "a\u0308nne"])
async def test_names_of_fixed_voices_are_taken(http: AsyncClient, clip: Clip, name: str) -> None:
    for answer in (await upload(http, clip(), name=name), await upload(http, clip(), aliases=f"fine,{name}")):
        assert answer.json()["error"]["code"] == "voice_exists"
        assert fault(answer)[:2] == (409, "name")


async def test_names_of_uploaded_voices_are_taken(http: AsyncClient, clip: Clip) -> None:
    assert (await upload(http, clip(), aliases="Bea")).status_code == 200
    for fields in ({"name": "BERTA"}, {"name": "new", "aliases": "bea"}):
        answer = await upload(http, clip(), **fields)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "voice_exists")


async def test_patch(http: AsyncClient, clip: Clip) -> None:
    voice = (await upload(http, clip(), aliases=["a", "b"])).json()
    changed = await http.patch(f"{VOICES}/Berta", json={"name": "Clara", "language": "de", "aliases": ["c"]})
    assert changed.status_code == 200
    assert changed.json() == {**voice, "name": "Clara", "language": "de", "aliases": ["c"]}
    assert (await http.get(f"{VOICES}/a")).status_code == 404
    assert (await http.get(f"{VOICES}/clara")).json() == changed.json()
    for body, param in (
        ({}, None),
        ({"colour": "red"}, "colour"),
        ({"language": "Klingon"}, "language"),
        ({"name": 3}, "name"),
        ({"name": ""}, "name"),
        ({"aliases": "c"}, "aliases"),
    ):
        status, named, message = fault(await http.patch(f"{VOICES}/clara", json=body))
        assert (status, named) == (400, param)
        assert "function" not in message
    assert fault(await http.patch(f"{VOICES}/clara", json={"name": "Alloy"}))[0] == 409
    assert fault(await http.patch(f"{VOICES}/nobody", json={"name": "x"}))[0] == 404


def nan_wav() -> bytes:
    file = io.BytesIO()
    samples = np.full(48_000, 0.1, np.float32)
    samples[100] = np.nan
    soundfile.write(file, samples, 24_000, subtype="FLOAT", format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (lambda clip: clip(level=0), 400, "silent"),
        (lambda clip: clip(0.1), 400, "0.10 s"),
        (lambda clip: clip(601, 8000), 400, "longer than 600 s"),
        (lambda clip: nan_wav(), 400, "NaN"),
        (lambda clip: clip(format="FLAC")[:300], 400, "damaged or cut off"),
        (lambda clip: b"", 400, "empty"),
        (lambda clip: b"Dear server, this is no recording." * 40, 415, "is text, not audio"),
        (lambda clip: b"\x89PNG" + bytes(1000), 415, "a PNG image"),
        (lambda clip: clip(4, 4000), 400, "4000 Hz"),
        (lambda clip: clip(29, 96_000, 2), 413, "10 MB"),
    ],
    ids=["silent", "short", "long", "nan", "cut", "empty", "text", "png", "4 kHz", "11 MB"],
)
async def test_recordings_that_cannot_serve(
    http: AsyncClient, clip: Clip, make: Any, status: int, words: str
) -> None:
    found, param, message = fault(await upload(http, make(clip)))
    assert (found, param) == (status, "audio_sample")
    assert words in message
    assert (await http.get(VOICES)).json()["uploaded_voices"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 8000}, "only 8000 Hz"),
        ({"level": 3.0}, "clipped"),
        ({"level": 0.005}, "very quiet"),
        ({"duration_s": 2.0}, "only 2.0 s"),
        ({"duration_s": 20.0}, "clone: only 15 s are heard"),
        ({"channels": 2}, ""),
        ({"format": "FLAC"}, ""),
        ({"format": "OGG"}, ""),
    ],
)
async def test_recordings_that_serve_with_a_note(
    http: AsyncClient, clip: Clip, options: dict[str, Any], words: str
) -> None:
    answer = await upload(http, clip(**options))
    assert answer.status_code == 200
    warnings = answer.json()["warnings"]
    assert [words in warning for warning in warnings] == ([True] if words else [])
    assert (await http.get(f"{VOICES}/Berta")).json()["warnings"] == warnings


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"name": ""}, "name", "is missing"),
        ({"name": "x" * 101}, "name", "1 to 100"),
        ({"name": "a\nb"}, "name", "printable"),
        ({"name": ["a", "b"]}, "name", "more than once"),
        ({"language": "Klingon"}, "language", "language: 'Klingon' is no language that is known here"),
        ({"ref_text": "x" * 4097}, "ref_text", "4096"),
        ({"description": "x" * 4097}, "description", "4096"),
        ({"aliases": [f"n{i}" for i in range(17)]}, "aliases", "at most 16"),
    ],
)
async def test_bad_fields(
    http: AsyncClient, clip: Clip, fields: dict[str, Any], param: str, words: str
) -> None:
    status, found, message = fault(await upload(http, clip(), **fields))
    assert (status, found) == (400, param)
    assert words in message


async def test_bad_forms(http: AsyncClient, clip: Clip) -> None:
    assert fault(await http.post(VOICES, json={"name": "x"}))[0] == 415
    assert fault(await http.post(VOICES, data={"name": "x", "audio_sample": "x"}))[0] == 415
    no_file = await http.post(VOICES, data={"name": "x"}, files={"other": b""})
    assert fault(no_file)[:2] == (400, "audio_sample")
    as_text = await http.post(VOICES, files={"name": (None, "x"), "audio_sample": (None, "x")})
    assert "must be a file" in fault(as_text)[2]
    twice = [("audio_sample", ("a.wav", clip())), ("audio_sample", ("b.wav", clip()))]
    assert "more than once" in fault(await http.post(VOICES, data={"name": "x"}, files=twice))[2]
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        unreadable = await http.post(VOICES, content=b"\0" * 100, headers={"content-type": kind})
        assert fault(unreadable)[0] == 400
        assert unreadable.json()["error"]["code"] == "invalid_form"
        assert "multipart body cannot be read" in fault(unreadable)[2]
    assert fault(await upload(http, bytes(12_000_001)))[0] == 413


async def test_unknown_parts_are_reported(http: AsyncClient, clip: Clip) -> None:
    answer = await upload(http, clip(), colour="red")
    assert (answer.status_code, answer.headers["x-ignored-fields"]) == (200, "colour")


async def test_a_store_that_does_not_work(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "place").write_text("a file")
    service = VoiceService(tmp_path / "place", FixedModel("fixed"), CloningModel("clone"))
    app = create_api(service, Limits())
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as http:
        for answer in (
            await upload(http, clip()),
            await http.get(f"{VOICES}/Berta"),
            await http.patch(f"{VOICES}/Berta", json={"name": "x"}),
            await http.delete(f"{VOICES}/Berta"),
            await http.get(f"{VOICES}/Berta/sample"),
            await http.post(f"{VOICES}/Berta/preload"),
        ):
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (503, "voice_store_unavailable")
            assert error["type"] == "server_error"
            assert int(answer.headers["retry-after"]) > 0
        listed = (await http.get(VOICES)).json()
        assert [voice["id"] for voice in listed["voices"]] == ["anna"]
        assert (await http.get(f"{VOICES}/anna")).status_code == 200


async def test_without_a_model_that_clones(tmp_path: Path, clip: Clip) -> None:
    service = VoiceService(tmp_path, FixedModel("fixed"))
    app = create_api(service, Limits())
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as http:
        created = (await upload(http, clip())).json()
        assert (created["model"], created["models"]) == (None, [])
        assert "No model of this server clones" in created["warnings"][0]
        assert fault(await http.post(f"{VOICES}/Berta/preload"))[0] == 400


async def test_the_form_is_documented(http: AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["paths"][VOICES]["post"]["requestBody"]["content"].keys() == {"multipart/form-data"}
    form = body_schema(document, VOICES)
    assert form["properties"]["audio_sample"]["format"] == "binary"
    assert "$defs" not in str(document)


async def test_what_a_browser_makes_of_null_is_absent(http: AsyncClient, clip: Clip) -> None:
    fields = {"description": "null", "language": "undefined", "ref_text": "null", "aliases": "undefined"}
    voice = (await upload(http, clip(), **fields)).json()
    assert (voice["description"], voice["language"], voice["ref_text"], voice["aliases"]) == (
        "",
        "mul",
        "",
        [],
    )
    status, param, message = fault(await upload(http, clip(), name="null"))
    assert (status, param) == (400, "name")
    assert "is missing" in message


@pytest.mark.parametrize(
    ("written", "code"), [("English", "en"), ("zh-CN", "zh"), ("de_DE", "de"), ("auto", "mul")]
)
async def test_the_language_of_a_voice(http: AsyncClient, clip: Clip, written: str, code: str) -> None:
    assert (await upload(http, clip(), language=written)).json()["language"] == code


@pytest.mark.parametrize("name", ["ANNA", "Alloy", "änne"])
async def test_a_voice_of_a_model_is_found_in_any_case(http: AsyncClient, name: str) -> None:
    assert (await http.get(f"{VOICES}/{name}")).json()["id"] == "anna"
