"""Spoiled recordings with strange names, as voices and as one-off references: a voice or a refusal, never a crash.

python -m pytest tests/http/test_http_fuzz_uploads.py --cases 2000
"""

from __future__ import annotations

import base64
import random
import uuid
from collections import Counter

import httpx
from cluster import Cluster
from fuzzing import LONGEST_S, check
from spoiled_audio import FORMATS, recording, spoiled

NAMES = (
    "",
    " ",
    "../../etc/passwd",
    "a/b",
    "..",
    "a\0b",
    "a\nb",
    "名",
    "é" * 99,
    "x" * 101,
    "%2e%2e%2f",
    "<img>",
    "null",
)
FILES = ("a.wav", "../../a.wav", 'a"b.wav', "", "x" * 300, "con.mp3", "a.pt", "语.flac")
TYPES = ("audio/wav", "audio/flac", "text/html", "application/x-pickle", "", "a/b/c", "x" * 200)
PICKLE = b"\x80\x04cposix\nsystem\n(X\x08\x00\x00\x00touch /xtR."
HTML = b"<script>alert(1)</script>"


def test_spoiled_uploads(cluster: Cluster, cases: int) -> None:
    dice = random.Random(0)
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=cluster.small_url, timeout=LONGEST_S) as client:
        for number in range(cases):
            data = _content(dice)
            answer = _speech(client, data, dice) if number % 4 == 3 else _upload(client, data, dice)
            check(answer)
            statuses[answer.status_code] += 1
            if answer.status_code == httpx.codes.OK and number % 4 != 3:
                assert client.delete(f"/v1/audio/voices/{answer.json()['id']}").status_code == httpx.codes.OK
        assert client.get("/readyz").status_code == httpx.codes.OK
    assert {200, 400} <= statuses.keys()
    print(f"{sum(statuses.values())} uploads: {dict(sorted(statuses.items()))}")


def _content(dice: random.Random) -> bytes:
    kind = dice.randrange(12)
    if kind == 0:
        return dice.randbytes(dice.randrange(3000))
    if kind == 1:
        return dice.choice((b"", PICKLE, HTML, b"RIFF", b"\0" * 5000))
    return spoiled(recording(*dice.choice(FORMATS)), dice)


def _upload(client: httpx.Client, data: bytes, dice: random.Random) -> httpx.Response:
    strange = dice.randrange(3) == 0
    name = dice.choice(NAMES) if strange else uuid.UUID(int=dice.getrandbits(128)).hex
    fields: dict[str, str | list[str]] = {"name": name}
    if strange:
        fields |= {"language": dice.choice(("en", "xx", "\0", "null")), "aliases": [dice.choice(NAMES), "b"]}
        fields |= {"ref_text": dice.choice(("", "Hello.", "x" * 5000)), dice.choice(NAMES) or "x": "y"}
    file = (dice.choice(FILES), data, dice.choice(TYPES)) if strange else ("a.wav", data)
    return client.post("/v1/audio/voices", data=fields, files={"audio_sample": file})  # type: ignore[arg-type]


def _speech(client: httpx.Client, data: bytes, dice: random.Random) -> httpx.Response:
    text = base64.b64encode(data).decode()
    kind = dice.choice(("audio/wav", "audio/x", "image/png", "", "application/octet-stream"))
    url = dice.choice(
        (
            *(f"data:{kind};base64,{text}",) * 6,
            f"data:{kind},{text}",
            f"data:{kind};base64,{text[1:]}",
            f"data:{kind};base64,%{text}",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "/etc/passwd",
        )
    )
    field = dice.choice(("ref_audio", "emo_audio"))
    return client.post("/v1/audio/speech", json={"input": "Hello.", "response_format": "pcm", field: url})
