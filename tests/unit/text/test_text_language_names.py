from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.text.language_names import english_name, language_code

SERVED = ("en", "es", "fr", "hi", "it", "ja", "ko", "pt", "yue", "zh")
WRITTEN = {
    "en": (
        "en",
        "EN",
        "en-US",
        "en_GB",
        "en_US.UTF-8",
        "eng",
        "English",
        "ENGLISH",
        "British English",
        "English (US)",
    ),
    "zh": (
        *("zh", "zh-CN", "zh_Hans", "zh-Hant-TW", "ZH_cn", "cmn", "zho", "chi", "Chinese", "Mandarin"),
        *("Simplified Chinese", "中文", "简体中文", "普通话", "汉语"),
    ),
    "es": ("es-419", "spa", "Spanish", "español", "Español (México)", "castellano"),
    "fr": ("fr-CA", "fra", "fre", "French", "Français"),
    "pt": ("pt-br", "Portuguese", "Brazilian Portuguese", "português"),
    "hi": ("hi-IN", "Hindi", "हिन्दी"),
    "it": ("Italian", "italiano"),
    "ja": ("Japanese", "日本語", "jpn"),
    "ko": ("Korean", "한국어"),
    "yue": ("yue", "YUE", "yue-HK"),
    "de": ("de", "German", "deu"),
}


@pytest.mark.parametrize(
    ("code", "written"), [(code, name) for code, names in WRITTEN.items() for name in names]
)
def test_what_people_write(code: str, written: str) -> None:
    assert language_code(written, SERVED) == code


@pytest.mark.parametrize(
    "written", ["", " ", "auto", "xx", "Klingon", "tlh", "en-", "-", "C", "()", "\x00", "\ud800"]
)
def test_what_names_no_language(written: str) -> None:
    assert language_code(written, SERVED) is None


@given(st.text(max_size=60))
def test_any_text_has_a_code_or_none(written: str) -> None:
    code = language_code(written, SERVED)
    assert code is None or code.isascii()


def test_english_names() -> None:
    assert [english_name(code) for code in ("es", "yue", "q?")] == ["Spanish", "Cantonese", "q?"]
