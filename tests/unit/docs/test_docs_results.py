"""Measured figures in README and docs are those of benchmarks/results."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from docs_pages import page, rows, said, section


def test_one_word_in_ten_is_misheard() -> None:
    """Where README says so, the first line of docs/quality.md must."""
    word_errors = float(next(rows(section("docs/quality.md", "## indextts2-nano, text to speech")))[1])
    assert "one word in ten" in page("README.md")
    assert 8 <= word_errors <= 12


@cache
def result(name: str) -> Any:
    return json.loads(page(f"benchmarks/results/{name}.json"))


def look_up(content: Any, place: str) -> float:
    for part in place.split("/"):
        content = content[part]
    return float(content)


RESULTS = (
    (
        "up to six words \\| {} s \\| {} s",
        "kokoro_cpu",
        ("first_audio/six_words/first_audio_s_median", "first_audio/six_words/first_audio_s_max"),
    ),
    (
        "twelve words \\| {} s \\| {} s",
        "kokoro_cpu",
        ("first_audio/twelve_words/first_audio_s_median", "first_audio/twelve_words/first_audio_s_max"),
    ),
    (
        "sixty words \\| {} s \\| {} s \\| {} ",
        "kokoro_cpu",
        tuple(
            f"first_audio/sixty_words/{name}"
            for name in ("first_audio_s_median", "first_audio_s_max", "share_of_request_median")
        ),
    ),
    (
        "concurrency 1: {} to {} ",
        "kokoro_cpu",
        ("first_audio/twelve_words/rtf_median", "first_audio/six_words/rtf_median"),
    ),
    ("median of {} pairs", "kokoro_cpu", ("overhead/pairs",)),
    ("Concurrency 8 makes {} × the codes", "gpt_engine", ("ratios/8 over 1",)),
    (
        "At concurrency 1 the engine makes {} × the codes",
        "gpt_engine",
        ("ratios/1 over plain loop + latents",),
    ),
    ("streamed in chunks of 10: {} ×", "gpt_engine", ("ratios/1 streaming over plain loop + latents",)),
    ("a loop without it that is {} ×", "gpt_engine", ("ratios/1 over plain loop without latents",)),
    ("share of one pass \\| {} \\|", "streaming_cpu", ("first-audio/share",)),
    (
        "first audio, {} codes, {} steps, mid size",
        "streaming_cpu",
        ("first-audio/codes", "first-audio/steps"),
    ),
    ("{} mixed requests at once", "streaming_cpu", ("independence/requests",)),
    ("{} listeners who leave", "streaming_cpu", ("disconnects/disconnects",)),
    (
        "first audio there \\| 100 %; {} s \\(median\\)",
        "streaming_cpu",
        ("rated-load/rated/audio_ttfa_seconds/p50",),
    ),
    ("C100 of {} unseeded requests", "streaming_cpu", ("rated-load/rated/requests_ok_total",)),
    (
        "with no look-ahead {}, 2 codes {}, 4 codes {}, 8 codes {} ",
        "codec_lookahead",
        tuple(f"relative/random, gamma 0.3/{codes}/last" for codes in (0, 2, 4, 8)),
    ),
    ("the log-mel of 2 steps lies {} away", "s2mel_kernels", ("steps_distance/2",)),
    ("nn.Linear × {};", "s2mel_kernels", ("variants/float32, nn.Linear/time",)),
    ("torch.compile × {};", "s2mel_kernels", ("variants/torch.compile, float32/time",)),
    (
        "bfloat16 × {} at a mel distance of {} ",
        "s2mel_kernels",
        ("variants/bfloat16/time", "variants/bfloat16/distance"),
    ),
    (
        "int8 × {} at {}\\.",
        "s2mel_kernels",
        ("variants/int8 linear layers/time", "variants/int8 linear layers/distance"),
    ),
)


@pytest.mark.parametrize(
    ("sentence", "file", "places"), RESULTS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_results_in_sentences(sentence: str, file: str, places: tuple[str, ...]) -> None:
    """Each figure is the measured one, rounded to the digits that are shown."""
    told = said("docs/performance.md", sentence.replace("{}", r"(\d+(?:\.\d+)?)"))
    for figure, place in zip(told, places, strict=True):
        digits = len(figure.partition(".")[2])
        assert figure == f"{look_up(result(file), place):.{digits}f}", place


def test_what_a_burst_does() -> None:
    found = result("scaling")
    deployments = found["deployments"]
    busy = deployments.pop("busy-talker")
    told = said(
        "docs/capacity.md",
        r"had a second replica ([\d.]+) s after the burst began and (\d) at its peak; ([\d.]+) s after its end",
    )
    assert told == (f"{busy['grew_after_s']:.1f}", str(busy["peak"]), f"{busy['back_after_s']:.1f}")
    assert {each["peak"] for name, each in deployments.items() if not name.startswith("rare")} == {1}
    told = said("docs/capacity.md", r"of (\d+) streams (\d+) failed and (\d+) were cut")
    assert told == tuple(str(found[key]) for key in ("streams", "failed", "cut"))
