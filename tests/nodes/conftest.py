"""Graphs on several nodes, each started once for the tests that use it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from nodes_graph import REQUESTS_PER_MINUTE, NodesGraph, graph_on_nodes

from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def clip() -> bytes:
    """Three seconds that can be cloned."""
    time_s = np.arange(3 * 24_000) / 24_000
    wave = 0.3 * np.sin(2 * np.pi * 220 * time_s) * (1 + 0.3 * np.sin(2 * np.pi * 3 * time_s))
    file = io.BytesIO()
    soundfile.write(file, wave.astype(np.float32), 24_000, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def routers(tmp_path_factory: pytest.TempPathFactory, clip: bytes) -> Iterator[NodesGraph]:
    """three-routers.yaml, with a voice store, a stock voice and keys of its own."""
    folder = tmp_path_factory.mktemp("routers")
    (folder / "stock").mkdir()
    (folder / "stock" / "anna.wav").write_bytes(clip)
    content = yaml.safe_load((HERE / "three-routers.yaml").read_text("utf-8"))
    args = content["applications"][0]["args"]
    args["models"]["bells"]["voices"] = str(folder / "stock")
    args["voices"] = {"url": str(folder / "voices")}
    args["auth"] = {"keys_file": str(folder / "keys.json")}
    keys = {
        "anybody": new_key("anybody"),
        "few-requests": new_key("few-requests", requests_per_minute=REQUESTS_PER_MINUTE),
    }
    for _, kept in keys.values():
        KeyFile(folder / "keys.json").add(kept)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(content), "utf-8")
    with graph_on_nodes(config, {"node": "a"}, {"node": "b"}) as graph:
        yield replace(graph, api_keys={name: text for name, (text, _) in keys.items()})
