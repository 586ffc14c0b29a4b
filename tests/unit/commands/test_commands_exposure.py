from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.commands.exposure import keys_problem, open_to_all
from serve_app.config import AuthSettings
from serve_app.default_configs import config_path
from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile

OPEN = AuthSettings()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
def test_a_server_of_this_machine_alone_needs_no_keys(host: str) -> None:
    assert open_to_all(host, 8000, OPEN) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "10.0.0.1", "tts.example"])
def test_others_are_warned_of(host: str) -> None:
    warning = open_to_all(host, 8000, OPEN)
    assert warning is not None
    assert f"{host}:8000" in warning
    assert open_to_all(host, 8000, AuthSettings(env="KEYS")) is None


def test_keys_that_are_not_there_are_told_of_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    auth = AuthSettings(keys_file=str(file.path))
    assert keys_problem(OPEN) is None
    assert "keys add" in str(keys_problem(auth))
    assert keys_problem(AuthSettings(env="KEYS")) == "auth.env: the environment variable KEYS is not set"
    _, key = new_key("Ada")
    file.add(key)
    assert keys_problem(auth) is None
    monkeypatch.setenv("KEYS", file.path.read_text())
    assert keys_problem(AuthSettings(env="KEYS")) is None
    monkeypatch.setenv("KEYS", "[]")
    assert "is not a file of keys" in str(keys_problem(AuthSettings(env="KEYS")))
    file.revoke(key.id)
    assert "has no keys" in str(keys_problem(auth))


@pytest.mark.parametrize("name", ["cpu", "gpu-24g", "gpu-80g"])
def test_configurations_for_ones_own_machine_listen_there_alone(name: str) -> None:
    assert "  host: 127.0.0.1\n" in config_path(name).read_text("utf-8")
