"""Every fault once, under load: what clients see, and how long it takes until all is as before.

python -m benchmarks.faults --output benchmarks/results/faults.json
python -m benchmarks.faults.report        # docs/reliability.md from that and from benchmarks.soak
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.faults.faults import FAULTS, Fault
from benchmarks.faults.load import ENDS, Users
from benchmarks.faults.server import Server, running_server
from serve_app.bench.machine import describe_machine, git_commit

CONFIG = Path(__file__).parent / "config.yaml"
QUIET_S = 2.0  # of load before a fault
SETTLED_S = 4.0  # of load after which nothing more is expected of it
PROBE = {"input": "one two", "response_format": "pcm"}
GIVE_UP_S = 60.0


async def befallen(server: Server, fault: Fault, users: int) -> dict[str, Any]:
    """What became of the requests that were under way or came while it lasted."""
    load = Users(server.url, users)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(QUIET_S)
    began_s = time.monotonic()
    recovery = asyncio.create_task(_recovered(server, began_s))
    processes = await fault.happen(server, random.Random(3))
    recovered_s = await recovery
    await asyncio.sleep(SETTLED_S)
    load.stop()
    await running
    counts = load.counts(since_s=began_s)
    lost = [
        each.told
        for each in load.outcomes
        if each.end in ("lost", "short", "stuck") and each.ended_s >= began_s
    ]
    return {
        "fault": fault.name,
        "processes": processes,
        "requests": sum(counts.values()),
        "recovered_s": None if recovered_s is None else round(recovered_s, 1),
        "told": sorted(set(lost))[:3],
        **{end: counts[end] for end in ENDS},
    }


async def _recovered(server: Server, began_s: float) -> float | None:
    """Seconds until both models answered by themselves, and went on to for two seconds; None if they never did."""
    well_since_s: float | None = None
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        while time.monotonic() < began_s + GIVE_UP_S:
            asked_s = time.monotonic()
            if all([await _answers(client, model) for model in ("first", "second")]):
                well_since_s = well_since_s or time.monotonic()
                if time.monotonic() - well_since_s > 2:
                    return well_since_s - began_s
            else:
                well_since_s = None
            await asyncio.sleep(max(0.0, asked_s + 0.25 - time.monotonic()))
    return None


async def _answers(client: httpx.AsyncClient, model: str) -> bool:
    try:
        answer = await client.post("/v1/audio/speech", json={**PROBE, "model": model})
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK


def main(
    users: int = 6,
    only: Annotated[
        str, typer.Option(help="a pattern of names; what is known of others in OUTPUT stays")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="a JSON file")] = None,
) -> None:
    async def run(server: Server) -> list[dict[str, Any]]:
        found = []
        for fault in FAULTS:
            if re.search(only, fault.name):
                found.append(await befallen(server, fault, users))
                print(json.dumps(found[-1]), flush=True)
        return found

    with running_server(CONFIG) as server:
        results = asyncio.run(run(server))
    if output is not None:
        known = json.loads(output.read_text("utf-8"))["faults"] if only and output.exists() else []
        by_name = {each["fault"]: each for each in (*known, *results)}
        results = [by_name[fault.name] for fault in FAULTS if fault.name in by_name]
        about = {"machine": asdict(describe_machine()), "commit": git_commit(), "users": users}
        output.write_text(json.dumps({**about, "faults": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
