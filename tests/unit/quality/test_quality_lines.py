from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serve_app.quality import EvalError
from serve_app.quality.lines import Line, LineSet, built_in, cast, read_set, recordings
from serve_app.quality.server import check_fields, request_body


def write_set(folder: Path, *rows: dict[str, Any] | str) -> Path:
    path = folder / "set.jsonl"
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8"
    )
    return path


def test_a_set_with_own_voices_and_references(tmp_path: Path) -> None:
    (tmp_path / "anna.wav").write_bytes(b"sound")
    path = write_set(
        tmp_path, {"text": "One."}, {"id": "b", "text": "Two.", "voice": "anna", "reference": "anna.wav"}, ""
    )
    assert read_set(path).lines == (
        Line("001", "One."),
        Line("b", "Two.", voice="anna", reference=tmp_path / "anna.wav"),
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"txt": "One."}, "text"),
        ("no json", "line 2"),
        ({"text": "…"}, "no word"),
        ({"text": "One.", "reference": "gone.wav"}, "gone.wav"),
        ({"text": "One.", "clone": True}, "needs a reference"),
        ({"text": "One.", "id": "001"}, "more than one line has the id 001"),
        ({"text": "One.", "speed": 2}, "speed"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: dict[str, Any] | str, said: str) -> None:
    with pytest.raises(EvalError, match=said):
        read_set(write_set(tmp_path, {"text": "First."}, row))


def test_an_empty_set_and_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="has no line"):
        read_set(write_set(tmp_path, ""))
    with pytest.raises(EvalError, match="cannot read"):
        read_set(tmp_path / "gone")


def test_voices_take_turns_and_get_their_recordings(tmp_path: Path) -> None:
    known = {"a": tmp_path / "a.wav", "b": tmp_path / "b.wav"}
    own = LineSet("own", (Line("1", "x"), Line("2", "x"), Line("3", "x"), Line("4", "x", voice="b")))
    spoken = cast(own, ["a", "c"], known).lines
    assert [line.voice for line in spoken] == ["a", "c", "a", "b"]
    assert [line.reference for line in spoken] == [known["a"], None, known["a"], known["b"]]
    assert not any(line.clone for line in spoken)


def test_cloning_takes_all_recordings_in_turn(tmp_path: Path) -> None:
    for name in ("b.wav", "a.flac", "notes.txt"):
        (tmp_path / name).write_bytes(b"sound")
    known = recordings(tmp_path)
    assert list(known) == ["a", "b"]
    spoken = cast(built_in().first(3), known=known, clone=True).lines
    assert [line.voice for line in spoken] == ["a", "b", "a"]
    assert all(line.clone for line in spoken)
    with pytest.raises(EvalError, match="no recording of c"):
        cast(built_in(), ["c"], known, clone=True)


def test_the_digest_is_of_ids_and_texts_only() -> None:
    one = LineSet("one", (Line("1", "x"),))
    assert one.sha256 == LineSet("other", (Line("1", "x", voice="a"),)).sha256
    assert one.sha256 != LineSet("one", (Line("1", "y"),)).sha256


def test_a_clone_is_sent_along_instead_of_a_voice(tmp_path: Path) -> None:
    reference = tmp_path / "a.wav"
    reference.write_bytes(b"sound")
    body = request_body("m", Line("1", "x", "a", reference, clone=True), {"speed": 2.0, "stream": False})
    assert body["ref_audio"] == "data:audio/wav;base64,c291bmQ="
    assert "voice" not in body
    assert (body["speed"], body["stream"], body["fallback"], body["seed"]) == (2.0, False, False, 0)
    assert request_body("m", Line("1", "x", "a", reference), {})["voice"] == "a"
    assert "voice" not in request_body("m", Line("1", "x"), {})


def test_a_setting_may_be_another_model() -> None:
    assert request_body("m", Line("1", "x"), {"model": "other"})["model"] == "other"


def test_fields_that_are_not_a_setting_are_refused() -> None:
    with pytest.raises(EvalError, match="voice"):
        check_fields({"voice": "a"})
    with pytest.raises(EvalError, match="ulaw"):
        check_fields({"response_format": "ulaw"})
