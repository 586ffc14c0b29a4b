"""A voice store in a bucket, against a real S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import fsspec
import pytest
from bucket_server import BucketServer

from deployments.core.errors import Conflict, NotFound, Unavailable
from deployments.voices.registered_voice import NewVoice, VoiceChanges
from deployments.voices.store import VoiceStore

pytestmark = pytest.mark.slow

# What another replica, on another machine, does with the store.
REGISTER = """
import json, sys
from deployments.core.errors import SpeechError
from deployments.voices.registered_voice import NewVoice
from deployments.voices.store import VoiceStore
try:
    print(json.dumps(VoiceStore(sys.argv[1]).register(NewVoice(sys.stdin.buffer.read(), sys.argv[2])).id))
except SpeechError as error:
    print(json.dumps(error.status))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    server = BucketServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def url(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of an empty bucket."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    bucket = f"voices-{os.urandom(4).hex()}"
    files.mkdir(bucket)
    return f"s3://{bucket}/here"


def other_replicas(url: str, recording: bytes, *names: str) -> list[str | int]:
    """Ids, or the status of the refusal, of processes that register a voice at the same time."""
    command = [sys.executable, "-c", REGISTER, url]
    pipe = subprocess.PIPE
    started = [subprocess.Popen([*command, name], stdin=pipe, stdout=pipe) for name in names]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(recording)
        process.stdin.close()
    found = []
    for process in started:
        assert process.stdout is not None
        found.append(json.loads(process.stdout.read()))
        assert process.wait() == 0
    return found


def test_a_voice_of_one_replica_is_known_to_the_others(url: str, recording: bytes) -> None:
    store = VoiceStore(url)
    before = store.revision()
    (voice_id,) = other_replicas(url, recording, "Anna")
    assert store.revision() != before
    voice = store.find("anna")
    assert voice.id == voice_id
    assert store.audio(voice) == recording
    assert [each.name for each in store.index().voices] == ["Anna"]
    changed = store.update(voice.id, VoiceChanges(name="Berta"))
    assert VoiceStore(url).find("berta") == changed
    store.delete(voice.id)
    with pytest.raises(NotFound):
        VoiceStore(url).find("berta")
    assert VoiceStore(url).index().voices == ()


def test_a_name_is_given_once_however_many_processes_want_it(url: str, recording: bytes) -> None:
    found = other_replicas(url, recording, "Clara", "Clara", "Clara")
    assert sorted(map(str, found))[:2] == ["409", "409"]
    assert len(VoiceStore(url).index().voices) == 1
    with pytest.raises(Conflict):
        VoiceStore(url).register(NewVoice(recording, "clara"))


def test_a_store_that_is_lost_and_comes_back(url: str, recording: bytes, server: BucketServer) -> None:
    store = VoiceStore(url)
    voice = store.register(NewVoice(recording, "Dora"))
    port = server.port
    server.stop()
    with pytest.raises(Unavailable) as caught:
        store.find("dora")
    assert caught.value.code == "voice_store_unavailable"
    assert "test" not in caught.value.message.split("voice store at")[1].split()[0]  # no key in it
    server.port = port
    server.start()  # moto keeps everything in memory: the bucket is gone, as after a disaster
    with pytest.raises((NotFound, Unavailable)):
        store.find("dora")
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(url.removeprefix("s3://").partition("/")[0])
    again = store.register(NewVoice(recording, "Dora"))
    assert again.id != voice.id
    assert store.find("dora") == again
