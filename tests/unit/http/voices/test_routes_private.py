"""Voices that belong to the key that they came with, where the operator says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient, Response
from voices_fake import Clip, VoiceService

from serve_app.config import AuthSettings, Limits
from serve_app.http.application import create_api
from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile

VOICES = "/v1/audio/voices"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[KeyFile, str, str]:
    file = KeyFile(tmp_path / "keys.json")
    texts = []
    for name in ("Ada", "Ben"):
        text, kept = new_key(name)
        file.add(kept)
        texts.append(text)
    return file, *texts


async def clients(
    service: VoiceService, keys: tuple[KeyFile, str, str], private: bool
) -> AsyncIterator[AsyncClient]:
    auth = AuthSettings(keys_file=str(keys[0].path), private_voices=private)
    app = create_api(service, Limits(), auth=auth)
    for key in keys[1:]:
        yield AsyncClient(transport=ASGITransport(app), base_url="http://test", headers={"api-key": key})


async def register(client: AsyncClient, recording: bytes, name: str) -> Response:
    return await client.post(VOICES, data={"name": name}, files={"audio_sample": ("a.wav", recording)})


async def test_nobody_else_sees_or_touches_a_private_voice(
    service: VoiceService, keys: tuple[KeyFile, str, str], clip: Clip
) -> None:
    ada, ben = [client async for client in clients(service, keys, private=True)]
    voice = (await register(ada, clip(), "Mine")).json()
    assert "owner" not in voice
    for client, there in ((ada, True), (ben, False)):
        listed = (await client.get(VOICES)).json()
        assert (voice["id"] in {each["id"] for each in listed["voices"]}) is there
        assert bool(listed["uploaded_voices"]) is there
    for name in ("Mine", voice["id"]):
        for method, path in (
            ("GET", ""), ("GET", "/sample"), ("PATCH", ""), ("POST", "/preload"), ("DELETE", ""),
        ):  # fmt: skip
            answer = await ben.request(method, f"{VOICES}/{name}{path}", json={"description": "stolen"})
            assert answer.status_code == 404, (method, path, answer.text)
            assert answer.json()["error"]["code"] == "voice_not_found"
    assert (await ada.get(f"{VOICES}/Mine/sample")).content == clip()
    assert (await ada.patch(f"{VOICES}/Mine", json={"description": "well"})).json()["description"] == "well"
    await ben.post("/v1/audio/speech", json={"input": "Hi.", "voice": "Mine"})
    assert service.requests[-1].voices_of == keys[2][3:11]
    assert (await ada.delete(f"{VOICES}/Mine")).status_code == 200


async def test_voices_are_everybodys_unless_the_operator_says_otherwise(
    service: VoiceService, keys: tuple[KeyFile, str, str], clip: Clip
) -> None:
    ada, ben = [client async for client in clients(service, keys, private=False)]
    await register(ada, clip(), "Ours")
    assert (await ben.get(f"{VOICES}/Ours")).status_code == 200
    assert (await service.registered_voice("Ours")).owner == keys[1][3:11]
    await ben.post("/v1/audio/speech", json={"input": "Hi.", "voice": "Ours"})
    assert service.requests[-1].voices_of is None
    assert (await ben.delete(f"{VOICES}/Ours")).status_code == 200
