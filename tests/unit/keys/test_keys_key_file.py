from __future__ import annotations

import json
import stat
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile, KeysError, parse_keys


def test_keys_are_added_and_revoked(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "deep" / "keys.json")
    text, ada = new_key("Ada", requests_per_minute=5, streams=2, characters_per_day=1000, speech_only=True)
    _, ben = new_key("Ben")
    file.add(ada)
    file.add(ben)
    assert file.read() == (ada, ben)
    assert text not in file.path.read_text()
    assert file.revoke(ada.id) == ada
    assert file.read() == (ben,)
    with pytest.raises(KeysError, match="has no key"):
        file.revoke(ada.id)


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.add(new_key("Ada")[1])
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_changes_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    keys = [new_key(f"user {number}")[1] for number in range(16)]
    with ThreadPool(8) as threads:
        threads.map(lambda key: KeyFile(tmp_path / "keys.json").add(key), keys)
    assert set(KeyFile(tmp_path / "keys.json").read()) == set(keys)


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="voicegraph keys add"):
        KeyFile(tmp_path / "keys.json").read()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysError, match="cannot be written"):
        KeyFile(tmp_path / "file" / "keys.json").add(new_key("Ada")[1])


GOOD = {"id": "0123abcd", "name": "Ada", "sha256": "0" * 64, "created_at": 1}


def test_fields_of_a_later_version_are_passed_over() -> None:
    (key,) = parse_keys(json.dumps({"keys": [{**GOOD, "colour": "red"}], "version": 9}), "here")
    assert (key.id, key.streams) == ("0123abcd", None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "null",
        "\x00",
        '{"keys": {}}',
        *(
            json.dumps({"keys": [{**GOOD, **change}]})
            for change in ({"id": "x"}, {"sha256": "0" * 63}, {"streams": 0}, {"name": ""}, {"name": "a\nb"})
        ),
        json.dumps({"keys": [GOOD, GOOD]}),
    ],
)
def test_a_damaged_file_is_refused_and_not_shown(content: str) -> None:
    with pytest.raises(KeysError) as raised:
        parse_keys(content, "here")
    assert str(raised.value).startswith("here")
    assert "0" * 63 not in str(raised.value)
