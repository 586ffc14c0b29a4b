"""What is compared of a text: its words, whatever the spelling. `NORMALISATION` says it to readers of results."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from serve_app.quality.spelling import american

NORMALISATION = (
    "lower case without accents and punctuation; hyphens separate words; contractions are written out where only one "
    "reading exists (can't, it's, we're), other apostrophes vanish; digits, times, amounts and years become words, "
    "without the `and` inside a number; British spellings become American."
)
NORMALISER_VERSION = 1

_REWRITTEN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"\b(can't|cannot)\b", "can not"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'ve\b", " have"),
        (r"'ll\b", " will"),
        (r"'m\b", " am"),
        (r"\blet's\b", "let us"),
        (r"\b(it|that|what|there|here|he|she|who|where|how)'s\b", r"\1 is"),
        (r"%|\bper cent\b", " percent "),
        (r"&", " and "),
        (r"\bmr\b", "mister"),
        (r"\bmrs\b", "missus"),
        (r"\bdr\b", "doctor"),
        (r"\ball right\b", "alright"),
        (r"\be[- ]mail", "email"),
        (r"\bto-(day|night|morrow)\b", r"to\1"),
    )
)
_LARGE = {"hundred", "thousand", "million", "billion"}
_SMALL = {num2words(number) for number in (*range(1, 20), *range(20, 100, 10))}

# A recogniser writes either form of a number; words are the form that speech has.
_CLOCK = re.compile(r"\b(\d{1,2}):(\d{2})\b")
_MONEY = re.compile(r"([$£€])\s?(\d[\d,]*(?:\.\d+)?)((?: (?:hundred|thousand|million|billion|trillion))*)")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}\b)")
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<ending>st|nd|rd|th|s)?(?![\d])")
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}
_YEAR = re.compile(r"1[1-9]\d\d|20[1-9]\d")
_LONGEST_QUANTITY = 6  # more digits, or a leading zero, are a telephone number or a code: read one by one


def plain_words(text: str) -> list[str]:
    """The words of an English text in the form described by NORMALISATION; may be empty."""
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("‘", "'"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    text = _spell_numbers(text).replace("'", "")
    words = re.sub(r"[^a-z]+", " ", text).split()
    return [american(word) for index, word in enumerate(words) if not _joins_a_number(words, index)]


def _joins_a_number(words: list[str], index: int) -> bool:
    """Whether this is the `and` of "two hundred and five", which Americans leave out."""
    inside = 0 < index < len(words) - 1
    return inside and words[index] == "and" and words[index - 1] in _LARGE and words[index + 1] in _SMALL


def _spell_numbers(text: str) -> str:
    """Lower-case text with every digit spelled out; four digits from 1100 on are taken for a year."""
    text = _CLOCK.sub(_clock, text)
    text = _MONEY.sub(lambda found: f"{found[2]}{found[3]} {_CURRENCIES[found[1]]}", text)
    text = _GROUPED.sub("", text)
    return _NUMBER.sub(lambda found: f" {_spoken(found['number'], found['ending'] or '')} ", text)


def _clock(found: re.Match[str]) -> str:
    hours, minutes = int(found[1]), found[2]
    if minutes == "00":
        return f"{hours} o'clock"
    return f"{hours} oh {minutes[1]}" if minutes[0] == "0" else f"{hours} {minutes}"


def _spoken(number: str, ending: str) -> str:
    if "." in number:
        return str(num2words(number)) + ending
    if (number[0] == "0" and len(number) > 1) or len(number) > _LONGEST_QUANTITY:
        return " ".join(str(num2words(int(digit))) for digit in number) + ending
    if ending in ("st", "nd", "rd", "th"):
        return str(num2words(int(number), to="ordinal"))
    words = str(num2words(int(number), to="year" if _YEAR.fullmatch(number) else "cardinal"))
    if ending == "s":
        return words[:-1] + "ies" if words.endswith("y") else words + "s"
    return words
