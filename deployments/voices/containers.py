"""Which container some bytes are, told from the bytes alone: file names and types are what strangers say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployments.core.errors import InvalidRequest, UnsupportedMedia
from deployments.voices.frames import first_adts_frame, first_mp3_frame
from deployments.voices.wav_file import plain_wav

ALLOWED_FORMATS = "wav, flac, mp3, ogg (opus or vorbis), m4a/mp4 (aac or alac), aac, webm"

# More than 30 s of uncompressed audio at 192 kHz. The demuxer spends about 40 bytes on each.
MAX_MP4_SAMPLES = 6_000_000
# What was left of a download or of a form in front of the recording is shorter.
MAX_JUNK = 1 << 16
ID3_HEADER_BYTES = 10


@dataclass(frozen=True)
class Container:
    name: str
    demuxer: str
    media_type: str
    # Whether the header states a length that is exact, so that a shorter recording must have been cut off.
    states_duration: bool = False


@dataclass(frozen=True)
class Upload:
    """`content` is safe to hand to the demuxer; `missing_bytes` were announced but are not there."""

    container: Container
    content: bytes
    missing_bytes: int


WAV = Container("wav", "wav", "audio/wav")
FLAC = Container("flac", "flac", "audio/flac", states_duration=True)
MP3 = Container("mp3", "mp3", "audio/mpeg")
AAC = Container("aac", "aac", "audio/aac")
OGG = Container("ogg", "ogg", "audio/ogg")
MP4 = Container("mp4", "mov", "audio/mp4", states_duration=True)
WEBM = Container("webm", "matroska", "audio/webm", states_duration=True)

_BEGINNING = re.compile(
    rb"(?:RIFF|RF64).{4}WAVE|fLaC[\0\x80]\0\0\x22|OggS\0[\x02\x06]|\x1a\x45\xdf\xa3|ftyp[\w ]{4}", re.DOTALL
)

_FOREIGN = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"FORM", "an AIFF file"),
    (b"\x30\x26\xb2\x75", "a Windows Media file"),
    (b"#!AMR", "an AMR file"),
    (b"MThd", "a MIDI file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


def sniff(data: bytes, *, param: str) -> Upload:
    """The container of `data`, and the bytes that are safe to hand to its demuxer.

    ID3 tags are taken out: they hold titles and pictures, and their compressed frames may hold gigabytes.
    Raises UnsupportedMedia (415) that names what was found instead of audio, InvalidRequest (400) for a bomb.
    """
    start, container = _beginning(data)
    if container is None:
        raise UnsupportedMedia(
            f"The file is {_describe(data)}, not audio that can be read. Allowed: {ALLOWED_FORMATS}.",
            param=param,
        )
    data = data[start:]
    if container is MP4:
        _refuse_mp4_bombs(data, param)
    if container is AAC and re.search(rb"ID3[\x02-\x04][^\xff].[\x00-\x7f]{4}", data, re.DOTALL):
        raise InvalidRequest(
            "The aac stream holds ID3 tags between its frames. Send it as m4a, wav or flac.", param=param
        )
    missing_bytes = 0
    if container is WAV:
        try:
            data, missing_bytes = plain_wav(data)
        except ValueError as error:
            raise InvalidRequest(
                f"The wav file is damaged: {error}. Export it again.", param=param
            ) from error
    return Upload(container, data, missing_bytes)


def _beginning(data: bytes) -> tuple[int, Container | None]:
    """Where the recording begins and what it is; players skip whatever stands before it, and so do people."""
    tags = _after_id3_tags(data)
    container = _container(data[tags : tags + 16])
    if container is not None and container not in (MP3, AAC):
        return tags, container
    if container is None and not tags and _foreign(data):
        return 0, None
    found = _after_junk(data, tags)
    if found is not None and found[0] == tags:
        return found
    # The length of a tag may be wrong; pictures in it may be longer than what is searched.
    found = _after_junk(data, min(tags, ID3_HEADER_BYTES)) or found
    if found is not None:
        return found
    return tags, container or (MP3 if tags and data[tags:] else None)


def _after_junk(data: bytes, begin: int) -> tuple[int, Container] | None:
    """The first beginning of a recording from `begin` on."""
    found: list[tuple[int, Container]] = []
    if match := _BEGINNING.search(data, begin, begin + MAX_JUNK):
        start = match.start() - (4 if match[0].startswith(b"ftyp") else 0)
        if start >= begin and (container := _container(data[start : start + 16])):
            found.append((start, container))
    for first_frame, container in ((first_mp3_frame, MP3), (first_adts_frame, AAC)):
        if (start_or_none := first_frame(data, begin)) is not None:
            found.append((start_or_none, container))
    return min(found, key=lambda place: place[0], default=None)


def _container(head: bytes) -> Container | None:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return WAV
    for magic, container in ((b"fLaC", FLAC), (b"OggS", OGG), (b"\x1a\x45\xdf\xa3", WEBM)):
        if head.startswith(magic):
            return container
    if head[4:8] == b"ftyp":
        return MP4
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # The two "layer" bits tell AAC in ADTS (0) from MPEG layer III (1); UTF-16 text would be layer I.
        if head[1] & 0xF6 == 0xF0:
            return AAC
        if head[1] & 0x06 == 0x02:
            return MP3
    return None


def _after_id3_tags(data: bytes) -> int:
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:
        flags = data[start + 5]
        a, b, c, d = (byte & 0x7F for byte in data[start + 6 : start + 10])
        start += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if flags & 0x10 else 0)
    return min(start, len(data))


def _refuse_mp4_bombs(data: bytes, param: str) -> None:
    """A box of 20 bytes can announce billions of samples; the demuxer builds an index entry for each."""
    damaged = InvalidRequest(
        "The mp4 file announces more content than it holds. Export it again, best as wav or flac.",
        param=param,
    )
    if b"cmov" in data:
        raise damaged
    announced = 0
    for match in re.finditer(b"stsz|stz2|trun", data):
        at = match.end() + (4 if match[0] == b"trun" else 8)
        announced += int.from_bytes(data[at : at + 4], "big")
    if announced > min(len(data), MAX_MP4_SAMPLES):
        raise damaged


def _foreign(data: bytes) -> str | None:
    return next((name for magic, name in _FOREIGN if data.startswith(magic)), None)


def _describe(data: bytes) -> str:
    if not data.strip(b"\0"):
        return "nothing but zeros"
    if foreign := _foreign(data):
        return foreign
    if data.startswith(b"RIFF"):
        return f"a RIFF file of kind {data[8:12].decode('ascii', 'replace')!r}"
    head = data[:512]
    try:
        text = head.decode("utf-8", "strict" if len(data) <= 512 else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if all(character.isprintable() or character.isspace() for character in text):
        return "text"
    return "of unknown kind"
