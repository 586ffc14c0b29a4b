"""A real Prometheus that reads the metrics of one server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster import free_port

READY_S = 60.0


@dataclass(frozen=True)
class Prometheus:
    url: str

    def asked(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its HTTP interface."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def series(self, query: str) -> int:
        """How many lines a panel with this query would have now."""
        return len(self.asked("query", query=query)["result"])


@contextmanager
def prometheus(folder: Path, target: str, rule_groups: list[dict[str, Any]]) -> Iterator[Prometheus]:
    """Ready. `target`: host:port that it asks for /metrics every second."""
    binary = shutil.which("prometheus")
    if not binary:
        pytest.fail("Prometheus is missing; as root `make setup-dev` installs it (Debian: prometheus)")
    rules, config, log = folder / "rules.yaml", folder / "prometheus.yaml", folder / "prometheus.log"
    rules.write_text(yaml.safe_dump({"groups": rule_groups}), encoding="utf-8")
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "voicegraph", "static_configs": [{"targets": [target]}]}],
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with log.open("wb") as told:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={address}"], stdout=told, stderr=told, cwd=folder
        )
    try:
        _wait_until_ready(f"http://{address}", process, log)
        yield Prometheus(f"http://{address}")
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + READY_S
    while True:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < until_s, log.read_text(encoding="utf-8")
        try:
            if httpx.get(f"{url}/-/ready", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
