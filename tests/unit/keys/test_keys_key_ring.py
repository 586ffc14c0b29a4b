from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.config import AuthSettings
from serve_app.keys import key_ring
from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile
from serve_app.keys.key_ring import KeyRing


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def ring(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    monkeypatch.setattr(key_ring, "LOOK_EVERY_S", 0.0)
    return KeyRing(AuthSettings(keys_file=str(file.path)))


def test_without_a_file_nothing_opens(ring: KeyRing) -> None:
    assert ring.find(new_key("Ada")[0]) is None


def test_changes_hold_without_a_restart(ring: KeyRing, file: KeyFile) -> None:
    text, ada = new_key("Ada")
    file.add(ada)
    assert ring.find(text) == ada
    other, ben = new_key("Ben")
    file.add(ben)
    assert (ring.find(text), ring.find(other)) == (ada, ben)
    file.revoke(ada.id)
    assert (ring.find(text), ring.find(other)) == (None, ben)
    assert ring.with_id(ada.id) is None


def test_a_file_that_goes_bad_changes_nothing(ring: KeyRing, file: KeyFile) -> None:
    text, ada = new_key("Ada")
    file.add(ada)
    assert ring.find(text) == ada
    file.path.write_text("{")
    assert ring.find(text) == ada
    file.path.unlink()
    assert ring.find(text) == ada
    file.add(new_key("Ben")[1])
    assert ring.find(text) is None


def test_the_file_is_looked_at_once_a_second(file: KeyFile) -> None:
    ring = KeyRing(AuthSettings(keys_file=str(file.path)))
    text, ada = new_key("Ada")
    assert ring.find(text) is None
    file.add(ada)
    assert ring.find(text) is None


def test_keys_from_the_environment(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    text, ada = new_key("Ada")
    file.add(ada)
    monkeypatch.setenv("TTS_KEYS", file.path.read_text())
    assert KeyRing(AuthSettings(env="TTS_KEYS")).find(text) == ada
    for content in ("", "{"):
        monkeypatch.setenv("TTS_KEYS", content)
        assert KeyRing(AuthSettings(env="TTS_KEYS")).find(text) is None
    assert KeyRing(AuthSettings(env="NOT_SET")).find(text) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"keys_file": "/a", "env": "B"}, "name one"),
        ({"private_voices": True}, "belong to keys"),
        ({"keys_file": "keys.json"}, "is relative"),
    ],
)
def test_settings_that_say_nothing_clear(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AuthSettings(**fields)  # type: ignore[arg-type]


def test_no_keys_unless_a_place_is_named() -> None:
    assert not AuthSettings().on
    assert AuthSettings(env="A").on
    assert AuthSettings(keys_file="~/keys.json").keys_path == Path("~/keys.json").expanduser()
