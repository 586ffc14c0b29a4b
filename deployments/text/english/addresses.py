"""E-mail and web addresses, files, versions and IP addresses."""

from __future__ import annotations

import re

from deployments.text.english.codes import letters
from deployments.text.english.numbers import cardinal, code, integer, spell
from deployments.text.english.rules import Rule, alternatives, rule, words

_SAID_AS_WORDS = frozenset(
    words(
        "com org net edu gov mil info biz dev app page blog shop store cloud online site tech news work local test "
        "example gmail yahoo html json yaml toml java ruby rust docs bin exe log zip wav rar tar conf"
    )
)
# What a bare word with a dot ends in where it is an address or a file. Words such as "in" and "it" are not here.
_DOMAINS = words(
    "com org net edu gov mil info biz dev app io ai co uk de fr eu ca au jp cn ch nl se es pt br ru pl tv gg ly "
    "xyz page blog shop store cloud online site tech news wiki"
)
_FILES = words(
    "pdf txt md py js ts jsx tsx html htm css json yaml yml toml csv tsv xml doc docx xls xlsx ppt pptx png jpg "
    "jpeg gif svg webp mp3 mp4 wav flac ogg mkv avi mov zip tar gz exe dmg iso log ini cfg conf sh bat cpp java "
    "rb rs go ipynb onnx safetensors bin net"
)
_SIGNS = {
    ".": "dot",
    "@": "at",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "+": "plus",
    ":": "colon",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "~": "tilde",
}
_PART = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
_SPELLED = re.compile(r"[bcdfghjklmnpqrstvwxz]{2,}|.", re.IGNORECASE)


def _address(match: re.Match[str]) -> str:
    """Part by part; the stop or comma that ends the sentence stays."""
    text = re.sub(r"^https?://", "", match.group(), flags=re.IGNORECASE)
    body = text.rstrip(".,;:!?'\")]")
    ending = text[len(body) :]
    body = body.rstrip("/")
    said = [_part(part) for part in _PART.findall(body)]
    return " ".join(said) + ending


def _part(part: str) -> str:
    if part.isdecimal():
        return code(part) if len(part) <= 4 else spell(part)
    if part in _SIGNS:
        return _SIGNS[part]
    if part.isalpha() and part.isascii():
        lower = part.lower()
        if lower not in _SAID_AS_WORDS and (len(part) <= 2 or _SPELLED.fullmatch(part)):
            return letters(part)
    return part


def _ip(match: re.Match[str]) -> str:
    said = " dot ".join(spell(part) for part in match["ip"].split("."))
    if match["port"]:
        said += f" port {spell(match['port'])}"
    return said + (f" slash {cardinal(int(match['mask']))}" if match["mask"] else "")


def _version(match: re.Match[str]) -> str:
    said = " point ".join(integer(part) for part in match["parts"].split("."))
    if not match["v"]:
        return said
    before = match.string[: match.start()].rstrip().lower()
    return said if before.endswith("version") else f"version {said}"


_BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_TAIL = r"(?::\d{2,5}(?!\d))?(?:[/?#][^\s<>|]*)?"

ADDRESSES: list[Rule] = [
    rule(r"(?<![\w.+-])[\w.+-]{0,63}\w@\w[\w-]{0,62}(?:\.\w[\w-]{0,62}){1,8}", _address),
    rule(r"\b(?:https?|ftp)://[^\s<>|]+", _address, ignore_case=True),
    rule(
        rf"(?<![\w.@])(?P<ip>(?:{_BYTE}\.){{3}}{_BYTE})(?::(?P<port>\d{{1,5}}))?(?:/(?P<mask>\d{{1,2}}))?(?![\w.]*\d)",
        _ip,
    ),
    rule(rf"\bwww\.[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}}{_TAIL}", _address, ignore_case=True),
    rule(
        rf"(?<![\w.@/-])(?:[a-z0-9][\w-]{{0,62}}\.){{1,8}}{alternatives(_DOMAINS)}\b(?!\.\w){_TAIL}", _address
    ),
    rule(rf"(?<![\w.@-])(?:\w[\w-]{{0,62}}\.){{1,8}}{alternatives(_FILES)}\b(?!\.\w)", _address),
    rule(r"(?<!\w)\.(?=(?:NET|net)\b)", "dot "),
    rule(r"\b(?P<v>[vV]\.?\s?)(?P<parts>\d+(?:\.\d+)*)(?![\w]|\.\d)", _version),
    rule(
        r"(?<![\w.,])(?P<v>)(?!\d{1,3}(?:\.\d{3}){2,}(?![\d.]))(?!\d{1,3}\.\d{1,3}\.\d{4}(?![\d.]))"
        r"(?P<parts>\d+(?:\.\d+){2,})(?![\d]|,\d)",
        _version,
    ),
]
