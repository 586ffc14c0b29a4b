"""Whose piece is made next: streams that have begun come first, and a newcomer begins when that costs none of them.

Pure functions over what is known of every stream. Work flows: all streams together get one second of it per second. A
stream needs its audio before its listener has heard what is there; earliest deadline first meets all needs that can be
met (Liu and Layland 1973), so it is enough to add up what is needed by every moment that matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from deployments.core.errors import Overloaded

MARGIN = 1.2  # of the work, because lengths and costs are estimates
GRAIN_S = 2.5  # audio comes in pieces: so much earlier than it is heard it must be under way, where pieces are large
LONGEST_WAIT_S = 600.0  # beyond which nobody needs to know how long a wait is


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream that is heard: until `dry_s`, an absolute time, with what is there or is being made."""

    dry_s: float
    rest_s: float  # audio still to be made after that
    under_way_s: float = 0.0  # work left of a piece that is being made


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A stream of which nothing is made yet."""

    work_s: float  # of its first piece
    audio_s: float  # of its first piece
    rest_s: float  # audio after that
    # Until that piece is there, beyond `work_s`, because others are worked on meanwhile.
    alongside_s: float = 0.0


def may_begin(
    now_s: float,
    newcomer: Newcomer,
    begun: Sequence[Begun],
    work_per_audio: float,
    grain_s: float = GRAIN_S,
) -> bool:
    """Whether everybody, the newcomer included, hears what follows without a gap if it is begun now."""
    if all(stream.rest_s <= 0 for stream in begun):
        return True  # nobody needs anything
    heard_s = now_s + newcomer.work_s + newcomer.alongside_s
    streams = [*begun, Begun(heard_s + newcomer.audio_s, newcomer.rest_s)]
    first_s = newcomer.work_s + sum(stream.under_way_s for stream in begun)
    for moment_s in _moments(streams, grain_s):
        needed_s = first_s + sum(_needed_s(stream, moment_s, work_per_audio, grain_s) for stream in streams)
        if needed_s * MARGIN > moment_s - now_s:
            return False
    return True


def _moments(streams: Iterable[Begun], grain_s: float) -> list[float]:
    """Where what is needed grows at once, or stops growing: between these it is a straight line."""
    found = []
    for stream in streams:
        if stream.rest_s > 0:
            found += [stream.dry_s, stream.dry_s + max(0.0, stream.rest_s - grain_s)]
    return found


def _needed_s(stream: Begun, moment_s: float, work_per_audio: float, grain_s: float) -> float:
    """Work for what the stream's listener has begun to hear by then."""
    if moment_s < stream.dry_s:
        return 0.0
    return work_per_audio * min(stream.rest_s, moment_s - stream.dry_s + grain_s)


def next_turn(
    now_s: float,
    waiting: Sequence[Begun | Newcomer],
    working: Sequence[Begun],
    work_per_audio: float,
) -> int | None:
    """Index of the stream of `waiting`, newcomers in the order of their arrival, whose piece is to be made next.

    `working` are begun streams of which a piece is being made. None: whoever waits does better to wait on.
    """
    begun = [stream for stream in waiting if isinstance(stream, Begun)]
    for index, stream in enumerate(waiting):
        if isinstance(stream, Newcomer):
            if may_begin(now_s, stream, [*begun, *working], work_per_audio):
                return index
            break  # whoever came later waits behind
    if not begun:
        return None
    most_urgent = min(begun, key=lambda stream: stream.dry_s)
    return waiting.index(most_urgent)


def wait_s(
    now_s: float, newcomers: Sequence[Newcomer], begun: Sequence[Begun], work_per_audio: float
) -> float:
    """How long the last of `newcomers` will wait for its turn, those before it being served first.

    Time passes in steps in which the most urgent stream is worked on, as `next_turn` would have it.
    """
    streams = list(begun)
    waiting = list(newcomers)
    at_s, step_s = now_s, 0.25
    while at_s - now_s < LONGEST_WAIT_S:
        if may_begin(at_s, waiting[0], streams, work_per_audio):
            first = waiting.pop(0)
            if not waiting:
                return at_s - now_s
            at_s += first.work_s
            streams.append(Begun(at_s + first.audio_s, first.rest_s))
            continue
        at_s += step_s
        left_s = step_s
        for index, stream in enumerate(streams):  # pieces that are being made come to their end first
            spent_s = min(left_s, stream.under_way_s)
            left_s -= spent_s
            streams[index] = replace(stream, under_way_s=stream.under_way_s - spent_s)
        needy = [index for index, stream in enumerate(streams) if stream.rest_s > 0]
        if needy:
            index = min(needy, key=lambda each: streams[each].dry_s)
            stream = streams[index]
            made_s = min(stream.rest_s, left_s / work_per_audio)
            # Who has run dry goes on from now.
            dry_s = max(stream.dry_s, at_s) + made_s
            streams[index] = replace(stream, dry_s=dry_s, rest_s=stream.rest_s - made_s)
        step_s = min(step_s * 1.05, 5.0)
    return LONGEST_WAIT_S


def refuse_long_wait(model: str, wait_s: float, longest_s: float) -> None:
    """Raises Overloaded, with when to come back, where a request would wait longer than it may."""
    if wait_s > longest_s:
        raise Overloaded(
            f"model {model!r} would begin in {wait_s:.0f} s at the present load, and a request may wait "
            f"{longest_s:g} s at most; try again later",
            retry_after_s=math.ceil(wait_s - longest_s),
        )
