"""What it costs Kokoro that a server is there: the same pieces by the bare model on a machine without a server, and
through the server.

    python -m benchmarks.kokoro_beside --rounds 3

A B A B: each round starts a process of its own for the bare model, then a server, and ends both. Texts are of one
piece each, so that both sides make the same audio. Nothing else should be running.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.kokoro_cpu import SIX_WORDS, TWELVE_WORDS, VOICE, LocalKokoro, Server, first_audio
from serve_app.bench.client import Target

TEXTS = SIX_WORDS + TWELVE_WORDS
SETTLED_S = 10.0  # after Ready: the models have warmed up


def bare_s() -> float:
    """Median over the texts, in this process."""
    model = LocalKokoro()
    model.speak(TEXTS[0], VOICE)
    took_s = []
    for text in TEXTS:
        began_s = time.monotonic()
        model.speak(text, VOICE)
        took_s.append(time.monotonic() - began_s)
    return statistics.median(took_s)


def bare_in_a_process_s() -> float:
    command = [sys.executable, "-c", "from benchmarks.kokoro_beside import bare_s; print(bare_s())"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(shown.stdout.splitlines()[-1])


def served_s(port: int) -> float:
    """Median over the texts, by HTTP from a server that was started for it."""
    server = Server(port)
    try:
        server.wait()
        time.sleep(SETTLED_S)
        target = Target(base_url=server.url, model="kokoro", voice=VOICE)
        return asyncio.run(first_audio(target, TEXTS, 1))["first_audio_s_median"]
    finally:
        server.stop()


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    port: Annotated[int, typer.Option(help="of the server that is started")] = 8797,
) -> None:
    """Measure in turn, and print the medians and their ratio as JSON."""
    bare, served = [], []
    for _ in range(rounds):
        bare.append(bare_in_a_process_s())
        served.append(served_s(port))
    found = {
        "bare_s": bare,
        "served_s": served,
        "ratio": statistics.median(served) / statistics.median(bare),
    }
    Console().print_json(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
