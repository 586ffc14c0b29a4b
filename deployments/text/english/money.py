"""Amounts of money: the sign or code before or after, suffixes such as M and bn, ranges, rates."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployments.text.english.numbers import (
    DASH,
    NUMBER,
    SCALES,
    cardinal,
    integer,
    is_one,
    number,
    scaled,
)
from deployments.text.english.rules import Rule, alternatives, rule, words


@dataclass(frozen=True, slots=True)
class Currency:
    one: str
    many: str
    one_part: str = ""  # the hundredth, where people name it
    parts: str = ""


_DOLLAR = ("cent", "cents")
_PENNY = ("penny", "pence")


def _dollars(country: str) -> Currency:
    return Currency(f"{country} dollar", f"{country} dollars", *_DOLLAR)


_SIGNS = {
    "$": Currency("dollar", "dollars", *_DOLLAR),
    "US$": _dollars("U S"),
    "A$": _dollars("Australian"),
    "AU$": _dollars("Australian"),
    "C$": _dollars("Canadian"),
    "CA$": _dollars("Canadian"),
    "HK$": _dollars("Hong Kong"),
    "NZ$": _dollars("New Zealand"),
    "S$": _dollars("Singapore"),
    "R$": Currency("real", "reais", "centavo", "centavos"),
    "€": Currency("euro", "euros", *_DOLLAR),
    "£": Currency("pound", "pounds", *_PENNY),
    "¥": Currency("yen", "yen"),
    "₹": Currency("rupee", "rupees", "paisa", "paise"),
    "₽": Currency("ruble", "rubles", "kopeck", "kopecks"),
    "₩": Currency("won", "won"),
    "₿": Currency("bitcoin", "bitcoins"),
    "₺": Currency("lira", "lira"),
    "₪": Currency("shekel", "shekels"),
    "₴": Currency("hryvnia", "hryvnias"),
    "₦": Currency("naira", "naira"),
    "₱": Currency("peso", "pesos"),
    "฿": Currency("baht", "baht"),
    "₫": Currency("dong", "dong"),
}
_CODES = {
    "USD": _dollars("U S"),
    "CAD": _dollars("Canadian"),
    "AUD": _dollars("Australian"),
    "NZD": _dollars("New Zealand"),
    "HKD": _dollars("Hong Kong"),
    "SGD": _dollars("Singapore"),
    "EUR": _SIGNS["€"],
    "GBP": _SIGNS["£"],
    "JPY": _SIGNS["¥"],
    "CNY": Currency("yuan", "yuan"),
    "RMB": Currency("yuan", "yuan"),
    "INR": _SIGNS["₹"],
    "RUB": _SIGNS["₽"],
    "KRW": _SIGNS["₩"],
    "BRL": _SIGNS["R$"],
    "MXN": Currency("Mexican peso", "Mexican pesos", "centavo", "centavos"),
    "CHF": Currency("Swiss franc", "Swiss francs", "centime", "centimes"),
    "SEK": Currency("Swedish krona", "Swedish kronor"),
    "NOK": Currency("Norwegian krone", "Norwegian kroner"),
    "DKK": Currency("Danish krone", "Danish kroner"),
    "PLN": Currency("zloty", "zlotys"),
    "BTC": _SIGNS["₿"],
}
_CURRENCIES = {**_SIGNS, **_CODES}
_SIGN = alternatives(_SIGNS)
_CODE = alternatives(_CODES)
_SCALE = rf"(?:[\s-]?(?P<scale>{alternatives(SCALES)})(?![\w/])(?!['’]))"
_SCALE_TO = _SCALE.replace("<scale>", "<scale_to>")
_SCALE_AFTER = rf"(?:\s?(?P<scale>{alternatives(SCALES)})(?!\w))"
# What a price is often one of, in the singular: a $5 bill.
_THING = (
    r"(?=[ -](?:bill|note|coin|fine|fee|ticket|deal|gift card|discount|prize|question|check|cheque|voucher|budget|loan"
    r"|house|tip)s?\b)"
)
_UNTIL = rf"{DASH}(?P<sign_to>{_SIGN})?(?P<to>{NUMBER})(?![\d/]|[.,]\d){_SCALE_TO}?"
_PER = {
    "mo": "month",
    "yr": "year",
    "hr": "hour",
    "h": "hour",
    "wk": "week",
    "d": "day",
    "kg": "kilogram",
    "lb": "pound",
    "gal": "gallon",
    "l": "liter",
    "L": "liter",
    "kWh": "kilowatt hour",
    "GB": "gigabyte",
    "sq ft": "square foot",
    **{
        word: word
        for word in words("month year hour week day night person user unit share barrel ounce ton mile piece")
    },
}


def _money(currency: Currency, amount: str, scale: str | None, *, one_of: bool = False) -> str:
    """`one_of` asks for the singular."""
    minus, amount = _split_minus(amount)
    if scale:
        return f"{minus}{scaled(amount, scale)} {currency.one if one_of else currency.many}"
    whole, _, part = amount.partition(".")
    if len(part) == 2 and currency.parts and int(part):
        hundredths = f"{cardinal(int(part))} {currency.one_part if int(part) == 1 else currency.parts}"
        if not int((whole or "0").replace(",", "")):
            return minus + hundredths
        return f"{minus}{_whole(currency, whole, one_of=one_of)} and {hundredths}"
    if not part.strip("0"):
        return minus + _whole(currency, whole or "0", one_of=one_of)
    return f"{minus}{number(amount)} {currency.many}"


def _whole(currency: Currency, whole: str, *, one_of: bool) -> str:
    return f"{integer(whole)} {currency.one if one_of or is_one(whole) else currency.many}"


def _split_minus(amount: str) -> tuple[str, str]:
    return ("", amount) if amount[0] in ".0123456789" else ("minus ", amount[1:])


def _sign_before(match: re.Match[str]) -> str:
    amount = match["minus"] + match["amount"] if match["minus"] else match["amount"]
    currency = _CURRENCIES[match["sign"]]
    if not match["to"]:
        return _money(currency, amount, match["scale"], one_of=match["thing"] is not None)
    scale_to = match["scale_to"]
    last = _money(currency, match["to"], scale_to)
    if (
        match["sign_to"]
        and not match["scale"]
        and scale_to
        and float(match["amount"].replace(",", "")) >= 1000
    ):
        return f"{_money(currency, amount, None)} to {last}"
    first = scaled(match["amount"], match["scale"])
    # $5-10M: both are millions.
    return (
        f"{first} {SCALES[scale_to]} to {last}" if scale_to and not match["scale"] else f"{first} to {last}"
    )


def _sign_after(match: re.Match[str]) -> str:
    amount = match["minus"] + match["amount"] if match["minus"] else match["amount"]
    said = _money(_CURRENCIES[match["sign"]], amount, match["scale"])
    return f"{number(match['first'])} to {said}" if match["first"] else said


def _cents(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} cent" + ("" if is_one(match["amount"]) else "s")


MONEY: list[Rule] = [
    rule(
        rf"(?:(?P<minus>(?<![\w.,%)])[-\u2010-\u2013\u2212])\s?)?(?<![A-Za-z$€£])(?P<sign>{_SIGN})\s?"
        rf"(?P<amount>[-\u2212]?{NUMBER}){_SCALE}?(?:{_UNTIL})?(?P<thing>{_THING})?",
        _sign_before,
    ),
    rule(
        rf"(?P<minus>)\b(?P<sign>{_CODE})\s?(?P<amount>{NUMBER}){_SCALE}?(?:{_UNTIL})?(?P<thing>{_THING})?",
        _sign_before,
    ),
    rule(
        rf"(?<![\w.,])(?:(?P<first>{NUMBER}){DASH})?(?P<minus>(?<![\w.,%)])[-\u2010-\u2013\u2212])?"
        rf"(?P<amount>{NUMBER}){_SCALE_AFTER}?\s?(?P<sign>{_SIGN}(?!\d)|{_CODE}\b)",
        _sign_after,
    ),
    rule(rf"(?<![\w.,])(?P<amount>{NUMBER})\s?¢", _cents),
    rule(
        rf"(?P<money>\b(?:dollars?|euros?|pounds?|cents?|pence|yen|rupees?|yuan|francs?|million|billion))\s?/\s?"
        rf"(?P<per>{alternatives(_PER)})\b",
        lambda m: f"{m['money']} per {_PER[m['per']]}",
    ),
]
