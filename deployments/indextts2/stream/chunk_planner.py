"""How many codes to gather before the next piece of a segment is turned into sound."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from pydantic import Field

from deployments.core.settings import Settings
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.stage_speeds import StageSpeeds

# Where the parameters leave a size open: of speech, so that codes of any length give the same chunks.
FIRST_S, LARGEST_S, LOOKAHEAD_S = 0.24, 4.8, 0.12
HEADROOM = 2.2  # how many times longer than it takes to compute a size must play to count as sustainable


class ChunkParameters(Settings):
    """`chunks` of a model's entry. A second is 50 codes of IndexTTS2 and 25 of IndexTTS-2.5."""

    first_codes: int | None = Field(
        default=None,
        ge=1,
        description=f"heard of the first chunk, and the least of any; halo comes on top; null: those of {FIRST_S} s",
    )
    growth: float = Field(
        default=2.0, ge=1.0, le=16.0, description="how much larger than the last a chunk may be"
    )
    max_codes: int | None = Field(
        default=None, ge=1, description=f"largest chunk; null: those of {LARGEST_S} s"
    )
    lookahead_codes: int | None = Field(
        default=None,
        ge=0,
        description=f"codes beyond a chunk that S2Mel sees as well; null: those of {LOOKAHEAD_S} s, or more where the "
        "codec needs more",
    )
    first_steps: int | None = Field(
        default=None, ge=1, description="flow steps of the very first chunk; null: as the others"
    )
    patience_s: float = Field(
        default=3.0, ge=0, description="longest delay of the first sound for the sake of sound without gaps"
    )
    margin_s: float = Field(
        default=0.2, ge=0, description="how long before the listener runs dry a chunk should be there"
    )


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """In codes, see ChunkParameters."""

    first: int
    largest: int
    lookahead: int

    @classmethod
    def of(cls, parameters: ChunkParameters, geometry: Geometry) -> ChunkSizes:
        def given(codes: int | None, seconds: float, least: int) -> int:
            return max(least, round(seconds / geometry.code_s)) if codes is None else codes

        return cls(
            first=given(parameters.first_codes, FIRST_S, 1),
            largest=given(parameters.max_codes, LARGEST_S, 1),
            lookahead=given(parameters.lookahead_codes, LOOKAHEAD_S, geometry.edge_codes),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """A segment at the moment its next chunk is planned."""

    segment: int  # of the request, from 0
    chunk: int  # of the segment, from 0
    committed: int  # codes whose mel is final
    last_size: int  # of the chunk before; 0 for the first
    available: int  # codes that have arrived
    finished: bool  # no more will arrive
    slack_s: float | None  # until the listener needs this chunk; None: plan by the parameters alone


@dataclass(frozen=True, slots=True)
class Chunk:
    """`commit`: codes of the segment whose mel is final after this chunk. It can start when `needs` have arrived.

    `open_end`: its job ends at the planned codes, not where the speech is known to end. A function of counts alone:
    that the last codes were the last may be known before the job or after it, and must not be heard.
    """

    commit: int
    needs: int
    final: bool = False
    open_end: bool = True


@dataclass(frozen=True, slots=True)
class ChunkPlanner:
    """Pure: the same inputs give the same plan.

    The first chunk is as small as it may be without a gap behind it. Every later one is as large as the buffer permits,
    because each chunk pays for the prompt again and adds a join, and at least so large that it lasts longer than it
    takes to make: smaller ones would fall behind for ever.

    With `slack_s` None sizes follow from the parameters alone. Chunk borders show in the mel, so this is what makes
    the audio of a request with a seed the same at any load.
    """

    parameters: ChunkParameters
    geometry: Geometry
    speeds: StageSpeeds
    prompt_frames: int
    evaluations: int  # flow steps times rows of one job
    sizes: ChunkSizes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", ChunkSizes.of(self.parameters, self.geometry))

    def plan(self, now: Progress) -> Chunk:
        """The next chunk as things stand; ask again when more codes have arrived."""
        size = self._scheduled(now) if now.slack_s is None else self._adapted(now, now.slack_s)
        needs = now.committed + size + self.sizes.lookahead
        if now.finished and needs >= now.available:
            return Chunk(now.available, now.available, final=True, open_end=needs == now.available)
        return Chunk(now.committed + size, needs)

    def ready_s(self, now: Progress, size: int) -> float:
        """Time until a chunk of `size` codes could have become sound."""
        needs = now.committed + size + self.sizes.lookahead
        if now.finished:
            needs = min(needs, now.available)
        missing = max(0, needs - now.available)
        return missing / self.speeds.codes_per_s + self._work_s(now.committed, size)

    def _scheduled(self, now: Progress) -> int:
        power = min(now.segment + now.chunk, 30)  # beyond that every size is far above the largest
        heard = int(self.sizes.first * self.parameters.growth**power)
        return min(self._largest, heard + (self._halo if now.chunk == 0 else 0))

    def _adapted(self, now: Progress, slack_s: float) -> int:
        if now.segment == now.chunk == 0:
            return self._opening(now)
        lowest = max(self._sustainable(now.committed), self._first if now.chunk == 0 else 0)
        highest = max(lowest, self._ceiling(now))
        sizes = range(lowest, highest + 1)
        fitting = bisect_right(
            sizes, slack_s - self.parameters.margin_s, key=lambda size: self.ready_s(now, size)
        )
        return sizes[max(0, fitting - 1)]

    def _ceiling(self, now: Progress) -> int:
        """The largest size that may be planned. Growth is limited because the speeds are estimates."""
        if now.finished:
            # Equal parts: a short rest at the end would pay for the whole prompt again.
            rest = max(1, now.available - now.committed)
            parts = -(-rest // self._largest)
            return -(-rest // parts)
        if now.chunk == 0:
            return self._largest
        return min(self._largest, int(now.last_size * self.parameters.growth))

    def _opening(self, now: Progress) -> int:
        """The smallest first chunk after which the next one is there in time.

        Where there is none within `patience_s`, gaps will be heard: then the largest within it, since larger chunks
        make fewer gaps, and work less. The smallest of all is always permitted.
        """
        best = self._first
        for size in range(self._first, self._largest + 1):
            if size > best and self.ready_s(now, size) > self.parameters.patience_s:
                break
            best = size
            if self._lasts(size):
                break
        return best

    def _lasts(self, size: int) -> bool:
        """Whether a first chunk of `size` plays until the next one is there."""
        following = self._sustainable(size)
        work_s = self._work_s(0, size)
        until_next_s = (
            max(following / self.speeds.codes_per_s, work_s) + self._work_s(size, following) - work_s
        )
        heard_s = self.geometry.seconds(self.geometry.audible_frames(size))
        return heard_s >= HEADROOM * until_next_s + self.parameters.margin_s

    def _sustainable(self, committed: int) -> int:
        """The smallest size that plays well longer than it takes to compute; the largest if none does."""
        sizes = range(min(self.sizes.first, self._largest), self._largest + 1)

        def surplus_s(size: int) -> float:
            frames = self.geometry.frames(committed + size) - self.geometry.frames(committed)
            return self.geometry.seconds(frames) - HEADROOM * self._work_s(committed, size)

        return sizes[min(len(sizes) - 1, bisect_right(sizes, 0.0, key=surplus_s))]

    def _work_s(self, committed: int, size: int) -> float:
        """S2Mel and vocoder for the chunk after `committed` codes, all codes being there."""
        codes = committed + size + self.sizes.lookahead
        frames = self.prompt_frames + self.geometry.frames(codes)
        new = self.geometry.frames(committed + size) - self.geometry.frames(committed)
        windowed = new + 2 * self.geometry.halo_frames
        return self.speeds.s2mel_s(frames, self.evaluations) + self.speeds.vocoder_s(windowed)

    @property
    def _halo(self) -> int:
        """Codes of the first chunk whose sound must wait for the next one."""
        return self.geometry.codes_for(self.geometry.halo_frames)

    @property
    def _first(self) -> int:
        return self.sizes.first + self._halo

    @property
    def _largest(self) -> int:
        return max(self.sizes.largest, self._first)
