"""Serves a config file on a cluster of processes until its standard input ends, for programs that must not join it.

    python -m benchmarks.scaling.remote CONFIG '{"group": "gpt"}' '{"group": "mel"}'

One line of JSON on standard output says where the graph is. A line `replicas` on standard input is answered with the
number of running replicas of each deployment; `kill NAME` ends one replica of a deployment, and `kill-node N` a worker.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.scaling.nodes import Worker
from benchmarks.scaling.serving import Served, kill_replica, serving


def main() -> None:
    config, *labels = sys.argv[1:]
    workers = [Worker(json.loads(each), gpus=8) for each in labels]
    with serving(Path(config), workers) as served:
        _tell({"url": served.url})
        for line in sys.stdin:
            _tell(_answer(served, line.split()))


def _answer(served: Served, words: list[str]) -> Any:
    match words:
        case ["replicas"]:
            return served.replicas()
        case ["kill", deployment]:
            return kill_replica(served.application, deployment)
        case ["kill-node", number]:
            served.cluster.nodes[int(number)].kill()
            return number
    raise ValueError(f"unknown command: {words}")


def _tell(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
