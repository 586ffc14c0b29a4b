"""What the chunk planner does for given stage costs: one segment, no network, no clock.

    python benchmarks/chunk_simulator.py --preset h200
    python benchmarks/chunk_simulator.py --preset cpu-nano --codes 400 --load 1.5 --seeded

Prints each chunk with the time at which it is heard and the listener's buffer at that moment. Presets are round
figures: `a100-trt` from the published times of Faster IndexTTS-2 (arXiv 2607.21042), the others from the operation
counts in indextts2-back.md 8; none is a measurement of this repository.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deployments.indextts2.stream.chunk_planner import ChunkParameters, ChunkPlanner, Progress
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.traits import TWO


@dataclass(frozen=True)
class Costs:
    """What one stream gets of each stage."""

    codes_per_s: float
    s2mel_us: float  # per frame, step and row
    vocoder_us: float  # per frame
    steps: int
    prompt_frames: int = 430  # 5 s
    halo_frames: int = 38
    rows: int = 2
    hop_ms: float = 3.0
    prefix_ms: float = 30.0  # GPT, until it can make the first code
    emit_codes: int = 5
    # Part of a GPT step that each row of it adds. On two CPU cores (benchmarks/results/gpt_engine.json) eight rows
    # together make about three times the codes of one.
    row_share: float = 0.24

    def under(self, load: float) -> Costs:
        """With every stage `load` times slower."""
        return replace(
            self,
            codes_per_s=self.codes_per_s / load,
            s2mel_us=self.s2mel_us * load,
            vocoder_us=self.vocoder_us * load,
            prefix_ms=self.prefix_ms * load,
        )

    @property
    def speeds(self) -> StageSpeeds:
        return StageSpeeds(self.codes_per_s, self.s2mel_us * 1e-6, self.vocoder_us * 1e-6, self.hop_ms * 1e-3)


PRESETS = {
    "h200": Costs(codes_per_s=250, s2mel_us=1.5, vocoder_us=60, steps=12),
    "a100-trt": Costs(codes_per_s=390, s2mel_us=6.7, vocoder_us=105, steps=25),
    "cpu-nano": Costs(
        codes_per_s=160,
        s2mel_us=120,
        vocoder_us=300,
        steps=2,
        rows=1,
        prompt_frames=441,
        halo_frames=23,
    ),
}


@dataclass(frozen=True)
class Event:
    codes: int  # final after this chunk
    started_s: float  # S2Mel
    heard_s: float  # when its audio reaches the listener
    audio_s: float
    slack_s: float  # what the listener still had at that moment; below 0: silence before this chunk


@dataclass(frozen=True)
class SegmentTimeline:
    events: tuple[Event, ...]
    first_audio_s: float
    one_pass_s: float  # first audio without chunks
    min_slack_s: float
    underrun_s: float
    repeated_work: float  # S2Mel's work over that of one pass


def simulate(
    costs: Costs, parameters: ChunkParameters, codes: int, *, seeded: bool = False
) -> SegmentTimeline:
    """One segment of `codes` codes for a listener who plays from the first sample on; `seeded`: sizes by schedule."""
    geometry = Geometry(costs.halo_frames, 256, 22_050, TWO.frames_per_code)
    speeds = costs.speeds
    evaluations = costs.steps * costs.rows
    first_evaluations = min(costs.steps, parameters.first_steps or costs.steps) * costs.rows
    planner = ChunkPlanner(parameters, geometry, speeds, costs.prompt_frames, evaluations)
    last_s = costs.prefix_ms / 1e3 + codes / costs.codes_per_s

    def available(at_s: float) -> int:
        if at_s >= last_s - 1e-9:
            return codes
        made = int(max(0.0, at_s - costs.prefix_ms / 1e3) * costs.codes_per_s + 1e-6)
        return made // costs.emit_codes * costs.emit_codes

    now_s = vocoder_free_s = work = audio_s = began_s = underrun_s = 0.0
    committed = size = sent = jobs_codes = 0
    events: list[Event] = []
    while committed < codes:
        slack_s = began_s + audio_s - now_s if events else 0.0
        there, finished = available(now_s), now_s >= last_s - 1e-9
        progress = Progress(0, len(events), committed, size, there, finished, None if seeded else slack_s)
        chunk = planner.plan(progress)
        if not (finished or there >= chunk.needs):
            now_s = min(last_s, now_s + costs.emit_codes / costs.codes_per_s)
            continue
        count = min(chunk.needs, there)
        started_s = now_s
        if count > jobs_codes:
            frames = costs.prompt_frames + geometry.frames(count)
            made = evaluations if events else first_evaluations
            now_s += speeds.s2mel_s(frames, made)
            work += frames * made
            jobs_codes = count
        end = geometry.frames(chunk.commit) if chunk.final else geometry.audible_frames(chunk.commit)
        heard_s = max(now_s, vocoder_free_s)
        if end > sent:
            heard_s += speeds.vocoder_s(geometry.frames(chunk.commit) - max(0, sent - costs.halo_frames))
        vocoder_free_s = heard_s
        slack_s = began_s + audio_s - heard_s if events else 0.0
        if not events or slack_s < 0:
            began_s = heard_s - audio_s
        underrun_s += max(0.0, -slack_s)
        events.append(Event(chunk.commit, started_s, heard_s, geometry.seconds(end - sent), slack_s))
        audio_s, sent = audio_s + geometry.seconds(end - sent), end
        size, committed = chunk.commit - committed, chunk.commit
    total = geometry.frames(codes)
    one_pass = (costs.prompt_frames + total) * evaluations
    one_pass_s = last_s + speeds.s2mel_s(costs.prompt_frames + total, evaluations) + speeds.vocoder_s(total)
    return SegmentTimeline(
        events=tuple(events),
        first_audio_s=next(event.heard_s for event in events if event.audio_s > 0),
        one_pass_s=one_pass_s,
        min_slack_s=min((event.slack_s for event in events[1:]), default=0.0),
        underrun_s=underrun_s,
        repeated_work=work / one_pass,
    )


def table(timeline: SegmentTimeline) -> str:
    lines = ["chunk  codes  started    heard    audio    slack"]
    for number, event in enumerate(timeline.events):
        seconds = (event.started_s, event.heard_s, event.audio_s, event.slack_s)
        lines.append(f"{number:5}  {event.codes:5}" + "".join(f"  {value:6.3f}s" for value in seconds))
    share = timeline.first_audio_s / timeline.one_pass_s
    return "\n".join(
        [
            *lines,
            f"first audio {timeline.first_audio_s:.3f} s ({share:.0%} of one pass, {timeline.one_pass_s:.3f} s)",
            f"least slack {timeline.min_slack_s:.3f} s, listener dry for {timeline.underrun_s:.3f} s",
            f"S2Mel work {timeline.repeated_work:.2f} x one pass",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="h200")
    parser.add_argument("--codes", type=int, default=250, help="length of the segment; 50 are a second")
    parser.add_argument("--load", type=float, default=1.0, help="how many times slower every stage is")
    parser.add_argument(
        "--seeded", action="store_true", help="sizes by schedule, as for a request with a seed"
    )
    parser.add_argument("--json", action="store_true")
    cost_names, chunk_names = list(Costs.__dataclass_fields__), list(ChunkParameters.model_fields)
    for name in (*cost_names, *chunk_names):
        whole = name.endswith(("codes", "frames", "steps", "rows"))
        parser.add_argument(f"--{name.replace('_', '-')}", type=int if whole else float, default=None)
    options = parser.parse_args(arguments)

    def given(names: Sequence[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(options, name)) is not None}

    costs = replace(PRESETS[options.preset], **given(cost_names)).under(options.load)
    parameters = ChunkParameters(**given(chunk_names))
    timeline = simulate(costs, parameters, options.codes, seeded=options.seeded)
    print(json.dumps(asdict(timeline), indent=1) if options.json else table(timeline))


if __name__ == "__main__":
    main()
