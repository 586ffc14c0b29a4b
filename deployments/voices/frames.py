"""The first frame of mp3 and aac streams, which have no header: found by the frames that follow it."""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_JUNK = 1 << 20  # bytes in which a first frame is looked for
CHAIN = 4  # frames in a row that are no accident
_MP3 = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xeb]", re.DOTALL)
_ADTS = re.compile(rb"\xff[\xf0\xf1\xf8\xf9].{4}", re.DOTALL)
# Layer III, kbit/s by index from 1: MPEG 1, and MPEG 2 and 2.5.
_MPEG_1_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = (44_100, 48_000, 32_000)  # of MPEG 1; half and a quarter of them for the others

FrameBytes = Callable[[bytes, int], int]


def first_mp3_frame(data: bytes, begin: int = 0) -> int | None:
    """Where the first of several mp3 frames in a row begins; None where there is none within the first megabyte."""
    return _first(data, begin, _MP3, _mp3_frame_bytes)


def first_adts_frame(data: bytes, begin: int = 0) -> int | None:
    """The same for aac."""
    return _first(data, begin, _ADTS, _adts_frame_bytes)


def _first(data: bytes, begin: int, header: re.Pattern[bytes], frame_bytes: FrameBytes) -> int | None:
    for match in header.finditer(data, begin, begin + MAX_JUNK):
        if _in_a_row(data, match.start(), frame_bytes):
            return match.start()
    return None


def _in_a_row(data: bytes, at: int, frame_bytes: FrameBytes) -> bool:
    """Whether frames of one kind follow each other from `at` on: four of them, or two up to the end."""
    kind = data[at : at + 2]
    for count in range(CHAIN):
        if at >= len(data) and count >= 2:
            return True
        size = frame_bytes(data, at) if data[at : at + 2] == kind else 0
        if size == 0:
            return False
        at += size
    return True


def _mp3_frame_bytes(data: bytes, at: int) -> int:
    """Of the frame whose header is there; 0: there is none."""
    if not _MP3.match(data, at):
        return 0
    version, index = data[at + 1] >> 3 & 3, data[at + 2]
    bits, rate, padding = index >> 4, index >> 2 & 3, index >> 1 & 1
    if version == 1 or rate == 3 or not 1 <= bits <= 14:
        return 0
    kbps = (_MPEG_1_KBPS if version == 3 else _MPEG_2_KBPS)[bits - 1]
    rate_hz = _RATES_HZ[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144_000 if version == 3 else 72_000) * kbps // rate_hz + padding


def _adts_frame_bytes(data: bytes, at: int) -> int:
    if not _ADTS.match(data, at) or data[at + 2] >> 2 & 15 > 12:
        return 0
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return size if size > 7 else 0
