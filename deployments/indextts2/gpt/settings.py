"""What a request may choose about decoding (indextts2-front.md 7.1)."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core.errors import InvalidRequest

MAX_BEAMS = 8
TIES = 16  # candidates looked at beyond those needed: equal scores are ordered by code, not by chance


@dataclass(frozen=True)
class DecodingSettings:
    """Defaults are the reference's. `top_k` 0, `top_p` 1 and `typical_mass` None switch a filter off."""

    do_sample: bool = True
    num_beams: int = 3
    top_k: int = 30
    top_p: float = 0.8
    temperature: float = 0.8
    repetition_penalty: float = 10.0
    length_penalty: float = 0.0
    max_codes: int = 1500
    typical_mass: float | None = None
    allow_start_code: bool = False  # the reference does; the codec cannot look this code up

    def __post_init__(self) -> None:
        _within("num_beams", self.num_beams, 1, MAX_BEAMS)
        _within("top_k", self.top_k, 0, float("inf"))
        _within("top_p", self.top_p, 0.0, 1.0)
        _within("temperature", self.temperature, 0.01, 100.0)
        _within("repetition_penalty", self.repetition_penalty, 1.0, 100.0)
        _within("length_penalty", self.length_penalty, -10.0, 10.0)
        _within("max_codes", self.max_codes, 1, float("inf"))
        if self.typical_mass is not None:
            _within("typical_mass", self.typical_mass, 0.01, 0.999)

    @property
    def keep(self) -> int:
        """Candidates per row that no filter may take away (7.2)."""
        return 2 if self.num_beams > 1 else 1

    @property
    def candidates(self) -> int:
        """Candidates that one step needs over all rows (7.3)."""
        return 2 * self.num_beams if self.num_beams > 1 else 1

    def width(self, vocabulary: int) -> int:
        """Best scores per row that can still matter after all filters: a function of the settings alone."""
        if not self.do_sample:
            needed = self.candidates
        elif self.top_k:
            needed = max(self.top_k, self.keep)
        else:
            needed = vocabulary
        return min(vocabulary, needed + TIES)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        limits = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise InvalidRequest(f"{name} must be {limits}, got {value}", param=name)
