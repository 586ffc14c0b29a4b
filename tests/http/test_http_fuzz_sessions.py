"""Frames in any order and of any content: a session goes on or is closed, and nothing hangs or crashes.

python -m pytest tests/http/test_http_fuzz_sessions.py --cases 500
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

from cluster import Cluster
from fuzzing import LONGEST_S
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TYPES = (
    "session.config",
    "input.text",
    "input.done",
    "input.cancel",
    "session.close",
    "input.texts",
    "",
    None,
    7,
    [],
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, 1e308, "", "one", "one two. three", "\ud800", "\0", "x" * 5000),
    *(
        [],
        [[]],
        {},
        {"id": "x"},
        "data:audio/wav;base64,AAAA",
        "pcm",
        "wav",
        "clause",
        "base64",
        "auto",
        "nobody",
    ),
)
FIELDS = (
    *("text", "model", "voice", "response_format", "speed", "language", "seed", "split_granularity", "tags"),
    *(
        "audio_encoding",
        "ref_audio",
        "emotion",
        "emo_vector",
        "pause_ms",
        "sample_rate",
        "extra_params",
        "warmth",
    ),
)
ODD = (
    "{",
    "[]",
    "null",
    "NaN",
    "[" * 3000,
    '{"type":' * 3000,
    '{"type": "input.text", "text": NaN}',
    b"\0\xff",
    b"",
    "",
)
ENDS = frozenset(("done", *(f"closed {code}" for code in (1000, 1001, 1008, 1009))))  # 1011 would be a crash


def test_any_frames(cluster: Cluster, cases: int) -> None:
    dice = random.Random(0)
    ends: Counter[str] = Counter()
    url = cluster.small_url.replace("http", "ws", 1) + "/v1/audio/speech/stream"
    for _ in range(cases):
        began_s = time.monotonic()
        with connect(url, max_size=None, close_timeout=LONGEST_S) as session:
            ends[_talk(session, [_frame(dice) for _ in range(dice.randrange(1, 12))])] += 1
        assert time.monotonic() - began_s < LONGEST_S
    assert ends.keys() <= ENDS, ends
    assert ends["done"] > 0
    print(f"{sum(ends.values())} sessions: {dict(ends)}")


def _frame(dice: random.Random) -> str | bytes:
    kind = dice.randrange(10)
    if kind == 0:
        return dice.choice(ODD)
    if kind <= 3:
        return json.dumps({"type": "session.config", "response_format": "pcm"})
    if kind <= 5:
        return json.dumps({"type": "input.text", "text": "one two. "})
    fields = {dice.choice(FIELDS): dice.choice(VALUES) for _ in range(dice.randrange(4))}
    return json.dumps({"type": dice.choice(TYPES), **fields})


def _talk(session: ClientConnection, frames: list[str | bytes]) -> str:
    """How it ended: the server closed it, or it did all that it was told."""
    try:
        for frame in frames:
            session.send(frame)
        session.send(json.dumps({"type": "input.cancel"}))
        session.send(json.dumps({"type": "session.close"}))
        while True:
            message = session.recv(LONGEST_S)
            if isinstance(message, str):
                kind = json.loads(message)["type"]
                if kind == "session.done":
                    return "done"
                if kind == "error":
                    assert json.loads(message)["error"]["type"] != "server_error", message
    except ConnectionClosed as closed:
        return f"closed {closed.rcvd.code}" if closed.rcvd else "broken off"
