from __future__ import annotations

import re

import pytest

from serve_app.keys.api_key import id_of, new_key


def test_a_key_opens_and_nothing_of_it_is_kept() -> None:
    text, kept = new_key("Ada")
    assert re.fullmatch(r"vg_[0-9a-f]{8}_[\w-]{43}", text)
    assert id_of(text) == kept.id
    assert kept.opened_by(text)
    assert text.removeprefix(f"vg_{kept.id}_") not in repr(kept)


def test_two_keys_have_nothing_in_common() -> None:
    (one, kept), (other, _) = new_key("Ada"), new_key("Ada")
    assert one != other
    assert not kept.opened_by(other)


def test_a_key_with_another_secret_does_not_open() -> None:
    text, kept = new_key("Ada")
    last = "A" if text[-1] != "A" else "B"
    assert not kept.opened_by(text[:-1] + last)
    assert not kept.opened_by("")
    assert not kept.opened_by("\udcff")


@pytest.mark.parametrize("text", ["", "sk-1234", "vg_", "vg_12345678_", "VG_12345678_" + "a" * 43, "é" * 60])
def test_what_is_no_key_has_no_id(text: str) -> None:
    assert id_of(text) is None
