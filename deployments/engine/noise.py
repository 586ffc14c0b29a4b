"""Counter-based noise: each value is a pure function of (seed, stream, position), asked for in any pieces.

Integers come from Philox-4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"), as numpy
ships it with a guaranteed stream. The way from integers to normals uses only operations that IEEE 754 rounds
exactly (+ - * / sqrt), so the noise has the same bits on every machine; a library's `log` or `cos` would not.
`scipy.special.ndtri` calls such a `log`, and rounded to float32 it differs from this quantile in 2 of the 2^32 values.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

BLOCK = 4  # 64-bit words that one value of the Philox counter yields
CHUNK = 1 << 14  # numbers worked on at a time: the temporaries stay in the cache


def uniforms(seed: int, stream: int | str, start: int, count: int) -> Doubles:
    """Positions start … start+count−1 of a stream of uniforms: (count,) float64, open interval (0, 1)."""
    words = _words(seed, stream, start, count)
    # 52 bits and a half, not 53: the largest value must not round to 1.
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(
    seed: int, stream: int | str, start_frame: int, frames: int, channels: int
) -> npt.NDArray[np.float32]:
    """Frames start_frame … start_frame+frames−1 of standard normal noise: (channels, frames) float32.

    Any window equals the slice of the whole. `channels` is part of the stream: other counts give other noise.
    """
    words_per_frame = (channels + 1) // 2
    words = _words(seed, stream, start_frame * words_per_frame, frames * words_per_frame)
    halves = np.stack([words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)], axis=-1).reshape(-1)
    noise = np.empty(halves.shape, np.float32)
    for first in range(0, len(halves), CHUNK):
        part = halves[first : first + CHUNK]
        noise[first : first + CHUNK] = _normal_quantile((part.astype(np.float64) + 0.5) * 2.0**-32)
    return np.ascontiguousarray(noise.reshape(frames, 2 * words_per_frame)[:, :channels].T)


def _words(seed: int, stream: int | str, start: int, count: int) -> npt.NDArray[np.uint64]:
    if start < 0 or count < 0:
        raise ValueError(f"noise positions start at 0, got start {start} and count {count}")
    block, offset = divmod(start, BLOCK)
    generator = np.random.Philox(key=_key(seed, stream), counter=block)
    return generator.random_raw(offset + count)[offset:]


@lru_cache(maxsize=4096)
def _key(seed: int, stream: int | str) -> int:
    # The type is part of the name: stream 1 and stream "1" are different ones.
    name = f"{seed}|{type(stream).__name__}|{stream}"
    return int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")


# Wichura (1988), algorithm AS 241, PPND16: relative accuracy about 1e-16. Highest power first.
_CENTRE = (
    (
        2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
        1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
        5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0,
    ),
)  # fmt: skip
_TAIL = (
    (
        7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
        1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
        4.63033784615654529590e0, 1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
        1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
        2.05319162663775882187e0, 1.0,
    ),
)  # fmt: skip


def _normal_quantile(p: Doubles) -> Doubles:
    """Inverse normal distribution function for p in [2⁻³³, 1 − 2⁻³³]: sqrt(−log) stays below 5 there."""
    q = p - 0.5
    result = q * _ratio(0.180625 - q * q, _CENTRE)
    tail = np.flatnonzero(np.abs(q) > 0.425)
    side = q[tail]
    r = np.sqrt(-_log(np.where(side < 0, p[tail], 1.0 - p[tail])))
    result[tail] = np.copysign(_ratio(r - 1.6, _TAIL), side)
    return result


def _ratio(x: Doubles, polynomials: tuple[tuple[float, ...], tuple[float, ...]]) -> Doubles:
    above, below = (_polynomial(x, coefficients) for coefficients in polynomials)
    return above / below


def _polynomial(x: Doubles, coefficients: tuple[float, ...]) -> Doubles:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value


_LOG = tuple(2.0 / (2 * k + 1) for k in range(9, -1, -1))  # log m = 2 artanh s, s = (m − 1)/(m + 1)


def _log(x: Doubles) -> Doubles:
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, 2.0 * mantissa, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return s * _polynomial(s * s, _LOG) + (exponent - low) * 0.6931471805599453
