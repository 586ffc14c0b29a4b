"""Numbers of other languages as words: espeak, which reads those, takes the marks between digits for pauses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from num2words import num2words

MOST_DIGITS = 15  # beyond them digit by digit
_LONGEST_DECIMALS = 3  # read as a number; longer ones digit by digit
_SPACE = "[ \u00a0\u202f\u2009’']"


@dataclass(frozen=True, slots=True)
class NumberWords:
    code: str  # of num2words; empty where it lacks the language, whose digits espeak reads if no mark is in them
    mark: str  # before decimals, as a word
    minus: str
    to: str
    hour: str  # between hours and minutes
    parts: str  # between an amount and its hundredths
    currencies: dict[str, tuple[str, str]]  # sign -> one, many
    decimal: str = ","

    @property
    def group(self) -> str:
        return "." if self.decimal == "," else ","


_LANGUAGES = {
    "es": NumberWords(
        "es", "coma", "menos", "a", "y", "con",
        {"€": ("euro", "euros"), "$": ("dólar", "dólares"), "£": ("libra", "libras"), "¥": ("yen", "yenes")},
    ),
    "fr": NumberWords(
        "fr", "virgule", "moins", "à", "heures", "",
        {"€": ("euro", "euros"), "$": ("dollar", "dollars"), "£": ("livre", "livres"), "¥": ("yen", "yens")},
    ),
    "it": NumberWords(
        "it", "virgola", "meno", "a", "e", "e",
        {"€": ("euro", "euro"), "$": ("dollaro", "dollari"), "£": ("sterlina", "sterline"), "¥": ("yen", "yen")},
    ),
    "pt": NumberWords(
        "pt_BR", "vírgula", "menos", "a", "e", "e",
        {
            "R$": ("real", "reais"),
            "€": ("euro", "euros"),
            "$": ("dólar", "dólares"),
            "£": ("libra", "libras"),
            "¥": ("iene", "ienes"),
        },
    ),
    "hi": NumberWords(
        "", "दशमलव", "ऋण", "से", "", "",
        {"₹": ("रुपया", "रुपये"), "$": ("डॉलर", "डॉलर"), "€": ("यूरो", "यूरो"), "£": ("पाउंड", "पाउंड")},
        decimal=".",
    ),
}  # fmt: skip


def spell_numbers(text: str, language: str) -> str:
    """The text with its plain numbers, amounts, times and ranges in words; `language` is ISO 639-1.

    Other languages come back as they are. Numbers that touch letters stay for the phonemiser.
    """
    words = _LANGUAGES.get(language)
    if words is None or not re.search(r"\d", text):
        return text
    text = "".join(str(int(char)) if char.isdecimal() else char for char in text)
    group, decimal = re.escape(words.group), re.escape(words.decimal)
    number = (
        rf"(?:\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}}(?:{decimal}\d+)?"
        rf"|\d{{1,3}}(?:{_SPACE}\d{{3}})+(?:{decimal}\d+)?"
        rf"|\d{{1,3}}(?:{decimal}\d{{3}}){{2,}}(?:{group}\d+)?"
        rf"|\d+[.,]\d+|\d+)"
    )
    sign = "(?:" + "|".join(map(re.escape, words.currencies)) + ")"
    start, end = r"(?<![^\W_])(?<!\d[.,:/])", r"(?![^\W_]|[.,:/]\d|º|ª|°\w)"
    minus = r"(?P<minus>(?<![\w)])[-\u2212])?"
    said = partial(_amount, words=words)
    for pattern in (
        rf"{minus}(?P<sign>{sign})\s?(?P<number>{number}){end}",
        rf"{minus}{start}(?P<number>{number})\s?(?P<sign>{sign})",
    ):
        text = re.sub(pattern, said, text)
    text = re.sub(
        rf"{start}(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d){end}", partial(_time, words=words), text
    )
    text = re.sub(r"(?<![\w.,/-])(\d+)[-\u2010-\u2013](\d+)(?![-\w/])", rf"\1 {words.to} \2", text)
    return re.sub(
        rf"{minus}{start}(?P<number>{number}){end}",
        lambda match: _signed(match, words) + _number(match["number"], words),
        text,
    )


def _amount(match: re.Match[str], words: NumberWords) -> str:
    one, many = words.currencies[match["sign"]]
    whole, decimals = _parsed(match["number"], words)
    name = one if whole == "1" and not decimals.strip("0") else many
    said = f"{_signed(match, words)}{_integer(whole, words)} {name}"
    if len(decimals) != 2:
        return f"{_signed(match, words)}{_number(match['number'], words)} {name}"
    if not int(decimals):
        return said
    return " ".join(filter(None, (said, words.parts, _integer(decimals.lstrip("0"), words))))


def _time(match: re.Match[str], words: NumberWords) -> str:
    hour, minute = _integer(str(int(match["hour"])), words), int(match["minute"])
    said = [hour]
    if minute or words.code == "fr":
        said.append(words.hour)
    if minute:
        said.append(_integer(str(minute), words))
    return " ".join(filter(None, said))


def _signed(match: re.Match[str], words: NumberWords) -> str:
    return f"{words.minus} " if match["minus"] else ""


def _parsed(number: str, words: NumberWords) -> tuple[str, str]:
    """Whole and decimals. A mark that groups thousands everywhere, or stands several times, is no decimal mark."""
    number = re.sub(_SPACE, "", number)
    marks = re.findall("[.,]", number)
    if not marks:
        return number, ""
    last = marks[-1]
    grouped = len(set(marks)) == 1 and (
        len(marks) > 1 or (last == words.group and len(number.rpartition(last)[2]) == 3 and number[0] != "0")
    )
    if grouped:
        return number.replace(last, ""), ""
    whole, _, decimals = number.rpartition(last)
    return re.sub("[.,]", "", whole), decimals


def _number(number: str, words: NumberWords) -> str:
    whole, decimals = _parsed(number, words)
    said = _integer(whole, words)
    return f"{said} {words.mark} {_decimals(decimals, words)}" if decimals else said


def _decimals(digits: str, words: NumberWords) -> str:
    zeros = len(digits) - len(digits.lstrip("0"))
    if len(digits) > _LONGEST_DECIMALS or zeros == len(digits):
        return _spelled(digits, words)
    return f"{_spelled(digits[:zeros], words)} {_integer(digits[zeros:], words)}".strip()


def _integer(digits: str, words: NumberWords) -> str:
    if len(digits) > MOST_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return _spelled(digits, words)
    return str(num2words(int(digits), lang=words.code)).replace(",", "") if words.code else digits


def _spelled(digits: str, words: NumberWords) -> str:
    return " ".join(_integer(digit, words) for digit in digits)
