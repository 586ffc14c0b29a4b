"""HTML and SSML: entities decoded, tags dropped, and what they say about sentences and pauses kept."""

from __future__ import annotations

import html
import re

from deployments.text.clauses import Boundary
from deployments.text.cuts import PAUSE_S
from deployments.text.pauses import pause_mark

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#[0]*38|#[xX]0*26);)+")
# No "<" inside: an attempt ends at the next one, so that all of them together read the text once.
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:._-]*)((?:\"[^\"<]*\"|'[^'<]*'|[^<>\"'|])*)>")
_ATTRIBUTE = r"""\s+[A-Za-z_:][A-Za-z0-9_:.-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+)"""
_SWITCH = (
    r"\s+(?:async|autoplay|checked|controls|defer|disabled|hidden|loop|muted|open|readonly|required|reversed)"
)
_ATTRIBUTES = re.compile(rf"(?:{_ATTRIBUTE}|{_SWITCH})*\s*/?\s*")
_VALUE = re.compile(r"""\s([A-Za-z_:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+))""")
_ADDRESS = re.compile(r"<((?:https?://|mailto:)[^\s<>]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>")
_ALIAS = re.compile(r"""<sub\s+alias\s*=\s*(?:"([^"<]*)"|'([^'<]*)')\s*>[^<]*</sub\s*>""", re.IGNORECASE)
_SPELT = re.compile(
    r"""<say-as\s+interpret-as\s*=\s*["'](?:characters|spell-out|verbatim|digits)["'][^<>]*>([^<]*)</say-as\s*>""",
    re.IGNORECASE,
)
_RAISED = re.compile(r"<sup>([0-9+-]{1,9})</sup>", re.IGNORECASE)
_RAISED_SIGNS = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_SECONDS = re.compile(r"\+?(\d{0,6}(?:\.\d{1,6})?)\s*(ms|s)", re.IGNORECASE)

# What stands between these is for machines.
_UNSPOKEN = (
    ("<!--", "-->"),
    ("<?xml", "?>"),
    ("<!doctype", ">"),
    *((f"<{name}", f"</{name}>") for name in ("script", "style", "head", "template")),
)
_BLOCKS = frozenset(
    " ".join(
        (
            "address article aside blockquote body center details dialog div dl fieldset figcaption figure footer",
            "form header hr html main nav ol p paragraph pre section speak summary table tbody tfoot thead ul",
        )
    ).split()
)
_INLINE = frozenset(
    " ".join(
        (
            "a abbr acronym audio b bdi bdo big button canvas cite code col colgroup data datalist del desc dfn em",
            "embed emphasis font i iframe img input ins kbd label lang legend lexicon mark meta metadata meter",
            "noscript object option output param phoneme picture progress prosody q rp rt ruby s samp say-as select",
            "small source span strike strong sub sup svg textarea time title token track tt u var video voice w wbr",
        )
    ).split()
)
# As Markdown, which is read next, writes them. An item of any text is one after "•".
_AS_MARKDOWN = {
    **dict.fromkeys(("li", "dd", "dt"), ("\n• ", "\n")),
    **{f"h{level}": ("\n\n# ", "\n\n") for level in range(1, 7)},
    "tr": ("\n|", "\n"),
    **dict.fromkeys(("td", "th"), ("", "|")),
    "br": ("\n", "\n"),
}
_STRENGTHS_S = {
    "none": 0.0,
    "x-weak": PAUSE_S[Boundary.COMMA],
    "weak": PAUSE_S[Boundary.CLAUSE],
    "medium": PAUSE_S[Boundary.SENTENCE],
    "strong": PAUSE_S[Boundary.PARAGRAPH],
    "x-strong": 2 * PAUSE_S[Boundary.PARAGRAPH],
}


def decode_entities(text: str) -> str:
    """Only those with their semicolon: `?a=1&copy=2` is an address. `&amp;lt;` was encoded twice and becomes "<"."""
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda match: html.unescape(match.group()), _AMPERSANDS.sub("&", text))


def drop_tags(text: str) -> str:
    """The text without tags. What only looks like one (`a < b`, `List<String>`, `<word|reading>`) stays."""
    if "<" not in text:
        return text
    for opening, closing in _UNSPOKEN:
        text = _drop_between(text, opening, closing)
    text = text.replace("<![CDATA[", "").replace("]]>", "")
    text = _ADDRESS.sub(r"\1", text)
    text = _ALIAS.sub(lambda match: match[1] or match[2] or "", text)
    text = _SPELT.sub(lambda match: " ".join("".join(match[1].split())), text)
    text = _RAISED.sub(lambda match: match[1].translate(_RAISED_SIGNS), text)
    closed = {match[2].lower() for match in _TAG.finditer(text) if match[1]}
    sentences = "<speak" in text.lower()  # else <s> is text that is struck out

    def replacement(match: re.Match[str]) -> str:
        closes, name, attributes = bool(match[1]), match[2].lower(), match[3]
        if not _ATTRIBUTES.fullmatch(attributes):
            return match.group()
        if name == "break":
            return pause_mark(_break_s(attributes))
        if name == "s" and sentences:
            return "\n"
        if name in _AS_MARKDOWN:
            return _AS_MARKDOWN[name][closes]
        if name in _BLOCKS:
            return "\n\n"
        if name == "img":
            return _values(attributes).get("alt", "")
        known = name in _INLINE or closes or name in closed or "=" in attributes or attributes.endswith("/")
        return "" if known else match.group()

    return _TAG.sub(replacement, text)


def _drop_between(text: str, opening: str, closing: str) -> str:
    """What opens and is never closed stays."""
    lowered = text.lower()
    if len(lowered) != len(text):  # of a few capital letters, whose small ones are two
        lowered = text
    kept: list[str] = []
    at = 0
    while (start := lowered.find(opening, at)) >= 0 and (
        end := lowered.find(closing, start + len(opening))
    ) >= 0:
        if opening[1:].isalpha() and lowered[start + len(opening)].isalnum():  # <header> is not <head>
            kept.append(text[at : start + len(opening)])
            at = start + len(opening)
            continue
        kept += (text[at:start], "\n")
        at = end + len(closing)
    return "".join([*kept, text[at:]])


def _values(attributes: str) -> dict[str, str]:
    return {match[1].lower(): match[2] or match[3] or match[4] or "" for match in _VALUE.finditer(attributes)}


def _break_s(attributes: str) -> float:
    values = _values(attributes)
    given = _SECONDS.fullmatch(values.get("time", "").strip())
    if given and given[1]:
        return float(given[1]) / (1000 if given[2].lower() == "ms" else 1)
    return _STRENGTHS_S.get(values.get("strength", "").lower(), _STRENGTHS_S["medium"])
