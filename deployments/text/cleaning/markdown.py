"""Markdown without its signs: headings, lists, quotes, tables, code, links.

No parser of CommonMark does it: there `2*3*4` is emphasis, a year at the start of a line ("1986. A great year") a list,
and what people and language models write is Markdown only in part.
"""

from __future__ import annotations

import re

from deployments.text.cleaning.emphasis import drop_emphasis
from deployments.text.scripts import HAN, KANA

_FENCE = re.compile(r"^[ \t>]*(?:`{3,}|~{3,})[ \t]*[\w+#.-]*[ \t]*$", re.MULTILINE)
_ESCAPE = re.compile(r"\\(?=[*_~`#\[\](){}<>|!+.-])")
_IMAGE_OR_LINK = re.compile(
    r"!?\[([^\[\]]*)\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+\"[^\"]*\"|\s+'[^']*')?\)"
)
_REFERENCE_LINK = re.compile(r"(?<!\w)\[([^\[\]]+)\]\[[^\[\]]{0,80}\]")
_REFERENCE = re.compile(
    r"^ {0,3}\[[^\[\]\n]+\]:[ \t]*<?https?://\S+(?:[ \t]+\"[^\"\n]*\")?[ \t]*$", re.MULTILINE
)
_FOOTNOTE = re.compile(r"[ \t]?\[\^[\w-]{1,40}\](?::[ \t]*)?")
_WIKI_LINK = re.compile(r"\[\[(?:[^\[\]|\n]*\|)?([^\[\]|\n]*)\]\]")
_APOSTROPHE = re.compile(r"(?<=[A-Za-z])`(?=[A-Za-z])")
_BACKTICKS = re.compile("`+(?:[a-z]+(?=[ \t]*\n))?|`+")

_RULE = re.compile(r"[ \t]*(?:([-*_=~•—–]))[ \t]*(?:\1[ \t]*){2,}$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_CELL = re.compile(r"<[^|<>]+\|[^<>]+>|[^|<]+|<|(\|)")
_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]+|#{2,6}(?=[^\W\d]))")
_QUOTE = re.compile(r"[ \t]*>(?:[ \t]*>)*(?![<=_])[ \t]*")
_BULLETS = "-*+–—•◦▪‣●○■□➜➤►▶→⇒✓✔✅☐☑"
_BULLET = re.compile(rf"[ \t]*([{_BULLETS}])\ufe0f?[ \t]+(?:[{_BULLETS}>]\ufe0f?[ \t]+)*(?:\[[ xX]\][ \t]+)?")
_SIGNS_OF_NUMBERS = frozenset("-+*>")  # "- 5 °C" may be a temperature, "> 18" a comparison
_NUMBERED = re.compile(r"[ \t]*(?:\(?\d{1,3}|[a-z])[.)][ \t]+(?=\S)")
_UNSPACED_END = re.compile(f"[{HAN}{KANA}]$")
_ENDS = frozenset(".!?。！？…;；:：,，、—–")
_CLOSERS = "\"'”’)）]】」』》*_~"


def drop_markdown(text: str) -> str:
    text = _FENCE.sub("", text)
    text = _ESCAPE.sub("", text)
    if "[" in text:
        text = _REFERENCE.sub("", text)
        text = _WIKI_LINK.sub(r"\1", text)
        text = _IMAGE_OR_LINK.sub(r"\1", text)
        text = _REFERENCE_LINK.sub(r"\1", text)
        text = _FOOTNOTE.sub("", text)
    text = _BACKTICKS.sub("", _APOSTROPHE.sub("'", text))
    return _drop_line_signs(drop_emphasis(text))


def sentence(text: str) -> str:
    """With a full stop where it ends without any mark."""
    body = text.rstrip()
    core = body.rstrip(_CLOSERS)
    if not core or core[-1] in _ENDS or not any(char.isalnum() for char in core):
        return text
    return body + ("。" if _UNSPACED_END.search(core) else ".")


def _drop_line_signs(text: str) -> str:
    lines = text.split("\n")
    signs = [_sign(line) for line in lines]
    numbered = sum(_NUMBERED.match(line) is not None for line in lines)
    spoken: list[str] = []
    item = False  # is the last line part of an item, which goes on in the next line?
    for line, sign in zip(lines, signs, strict=True):
        if _RULE.match(line) or ("|" in line and _TABLE_RULE.match(line)):
            cleaned, begins = "", False
        elif (heading := _HEADING.match(line)) is not None:
            cleaned, begins = sentence(line[heading.end() :].rstrip().rstrip("#")), False
        elif sign and (not _may_be_spoken(line, sign) or signs.count(sign) > 1):
            mark = _BULLET.match(line) or _QUOTE.match(line)
            assert mark is not None
            cleaned, begins = line[mark.end() :], sign != ">"
        elif "|" in line:
            cleaned, begins = _row(line), False
        else:
            cleaned, begins = line, numbered > 1 and _NUMBERED.match(line) is not None
        goes_on = item and not begins and cleaned.strip() and (cleaned[0].isspace() or cleaned[0].islower())
        if item and not goes_on:
            spoken[-1] = sentence(spoken[-1])
        item = begins or bool(goes_on)
        spoken.append(cleaned)
    if item:
        spoken[-1] = sentence(spoken[-1])
    return "\n".join(spoken)


def _sign(line: str) -> str:
    """The sign of an item or a quotation at the start of a line."""
    if (bullet := _BULLET.match(line)) is not None:
        return bullet[1]
    return ">" if _QUOTE.match(line) else ""


def _may_be_spoken(line: str, sign: str) -> bool:
    """A lone dash opens direct speech; a lone sign at a number is a minus or a comparison."""
    mark = _BULLET.match(line) or _QUOTE.match(line)
    number = mark is not None and line[mark.end() : mark.end() + 1].isdigit()
    return sign in "–—" or (number and sign in _SIGNS_OF_NUMBERS)


def _row(line: str) -> str:
    """A row of a table is a sentence of its cells; elsewhere a bar between spaces is a pause."""
    table = line.lstrip().startswith("|") and line.count("|") > 1
    if not table and " | " not in line:
        return line
    cells = [""]
    for match in _CELL.finditer(line):
        if match[1] and (table or line[match.start() - 1 : match.end() + 1] == " | "):
            cells.append("")
        else:
            cells[-1] += match.group()
    joined = ", ".join(cell.strip() for cell in cells if cell.strip())
    return sentence(joined) if table else joined
