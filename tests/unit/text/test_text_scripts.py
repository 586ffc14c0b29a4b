"""Which letters a model may be given."""

from __future__ import annotations

import pytest

from deployments.core.errors import InvalidRequest
from deployments.text.scripts import check_scripts


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("Hello, café №5 π µ ﬁ 🎉", ["en"]),
        ("你好 hello", ["zh", "en"]),
        ("नमस्ते", ["hi"]),
        ("こんにちは 世界", ["ja"]),
    ],
)
def test_letters_of_the_languages_pass(text: str, languages: list[str]) -> None:
    check_scripts(text, "m", languages)


@pytest.mark.parametrize(
    ("text", "languages", "says"),
    [
        ("Сегодня", ["en"], "it speaks Latin script$"),
        ("今天", ["en"], "'今天'; it speaks Latin script$"),
        ("Сегодня", ["zh", "en"], "it speaks Latin script and Chinese$"),
        ("안녕", ["zh", "en", "hi"], "it speaks Latin script, Devanagari script and Chinese$"),
    ],
)
def test_others_are_refused_by_name(text: str, languages: list[str], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        check_scripts(text, "nano", languages)
    assert (caught.value.param, caught.value.code) == ("input", "unsupported_characters")
