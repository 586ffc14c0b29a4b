"""How the parts of Chinese number readings are made: each function takes the match of a rule (numbers.py)."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_DIGITS = "零一二三四五六七八九"
CURRENCIES = {
    "US$": "美元",
    "HK$": "港元",
    "NT$": "新台币",
    "$": "美元",
    "€": "欧元",
    "£": "英镑",
    "¥": "元",
}
_SCALES = {
    **dict.fromkeys("kK", (1000, "")),
    **dict.fromkeys("mM", (100, "万")),
    **dict.fromkeys(("b", "B", "bn"), (10, "亿")),
}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_ROMAN_PARTS = (
    *((100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X")),
    *((9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)


def digits(text: str, one: str = "一") -> str:
    """Digit by digit, what is no digit left out."""
    return "".join(_DIGITS[int(char)] for char in text if char.isdigit()).replace("一", one)


def phone(match: re.Match[str]) -> str:
    """With a pause between its groups; 1 is called 幺."""
    country = "加" if match.group().startswith("+") else ""
    return country + "，".join(digits(group, "幺") for group in re.findall(r"\d+", match.group()))


def version_part(text: str) -> str:
    """A part of a version: below 100 as a number, else digit by digit."""
    if len(text) > 2 or (len(text) == 2 and text[0] == "0"):
        return digits(text)
    tens, ones = divmod(int(text), 10)
    if not tens:
        return _DIGITS[ones]
    return ("" if tens == 1 else _DIGITS[tens]) + "十" + (_DIGITS[ones] if ones else "")


def _roman(text: str) -> int | None:
    """The value of a Roman numeral below 400; None where it is none, `IIX` included."""
    values = [_ROMAN.get(letter, 0) for letter in text]
    total = sum(-v if v < max(values[i + 1 :], default=0) else v for i, v in enumerate(values))
    written, rest = "", total
    for value, letters in (
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ):
        count, rest = divmod(rest, value)
        written += letters * count
    return total if written == text else None


def roman_number(match: re.Match[str]) -> str:
    value = _roman(match["roman"])
    return match.group() if value is None else match.group().replace(match["roman"], str(value))


def roman_sign(match: re.Match[str]) -> str:
    value = _roman(unicodedata.normalize("NFKC", match.group()))
    return match.group() if value is None else str(value)


def standard(match: re.Match[str]) -> str:
    number = "点".join(digits(part) for part in match[2].split("."))
    return f"{match[1]} {number}杠{digits(match[3])}"


def power(match: re.Match[str]) -> str:
    exponent = "".join(str(SUPERSCRIPTS.index(char)) if char in SUPERSCRIPTS else char for char in match[2])
    return f"{match[1]}的" + {"2": "平方", "3": "立方"}.get(exponent, f"{exponent}次方")


def money(match: re.Match[str]) -> str:
    scale = match["scale"] or ""
    amount = re.sub(r",(?=\d{3})", "", match["amount"]).replace(",", ".")
    times, scale = _SCALES.get(scale, (1, scale))
    if times > 1:
        amount = f"{Decimal(amount) * times:f}"
        amount = amount.rstrip("0").rstrip(".") if "." in amount else amount
    return f"{'负' if match['minus'] else ''}{amount}{scale}{CURRENCIES[match['sign']]}"


def number_range(match: re.Match[str]) -> str:
    """From less to more it is a range, else a difference."""
    rises = Decimal(match[1]) < Decimal(match[2])
    return f"{match[1]}到{match[2]}" if rises else match.group()


def circled(match: re.Match[str]) -> str:
    number = unicodedata.normalize("NFKC", match[1])
    return number + ("、" if match.start() == 0 and match[2] else "") + match[2]


def fraction(match: re.Match[str]) -> str:
    """Of one sign, such as ½, with the whole number before it."""
    whole = match[1] + "又" if match[1] else ""
    return whole + unicodedata.normalize("NFKC", match[2]).replace("⁄", "/")


def date(match: re.Match[str]) -> str:
    return f"{match[1]}年{int(match[2])}月{int(match[3])}日"
