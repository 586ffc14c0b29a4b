"""British and American spellings of one word made equal. Rules work on both sides of a comparison.

So a rule may also touch words that have one spelling only ("promise" becomes "promize" on both sides), as long as it
never makes two different words equal.
"""

from __future__ import annotations

import re

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # colour, neighbours, favourite; not hour, four, your
        (r"(?<=[a-z]{2})our(?=(s|ed|ing|able|ably|ite|ites|ful|less|hood|hoods|ly|er|ers)?$)", "or"),
        # organise, realised; not raise, noise, prise
        (r"(?<=[a-z]{3})is(?=(e|ed|es|er|ers|ing|ation|ations)$)", "iz"),
        (r"(?<=[a-z]{3})ys(?=(e|ed|es|er|ers|ing)$)", "yz"),
        # centre, fibre
        (r"(?<=[a-z]{2})(t|b)re(?=s?$)", r"\1er"),
        # travelled, cancelling, jeweller; not called, spelling
        (r"(?<=[a-z]{3}[aeiou])ll(?=(ed|ing|er|ers)$)", "l"),
        # catalogue; not rogue, vogue
        (r"(?<=[a-z]{4})ogue(?=s?$)", "og"),
    )
)

_ONE_BY_ONE: dict[str, str] = {
    "ageing": "aging",
    "aluminium": "aluminum",
    "axe": "ax",
    "cheque": "check",
    "cheques": "checks",
    "cosy": "cozy",
    "defence": "defense",
    "doughnut": "donut",
    "doughnuts": "donuts",
    "draught": "draft",
    "draughts": "drafts",
    "encyclopaedia": "encyclopedia",
    "enrol": "enroll",
    "fulfil": "fulfill",
    "grey": "gray",
    "instalment": "installment",
    "jewellery": "jewelry",
    "judgement": "judgment",
    "kerb": "curb",
    "licence": "license",
    "manoeuvre": "maneuver",
    "mould": "mold",
    "moustache": "mustache",
    "offence": "offense",
    "ok": "okay",
    "plough": "plow",
    "ploughed": "plowed",
    "practise": "practice",
    "practised": "practiced",
    "pretence": "pretense",
    "programme": "program",
    "programmes": "programs",
    "pyjamas": "pajamas",
    "sceptical": "skeptical",
    "skilful": "skillful",
    "storey": "story",
    "tyre": "tire",
    "tyres": "tires",
}


def american(word: str) -> str:
    """The common form of a lower-case word."""
    if word in _ONE_BY_ONE:
        return _ONE_BY_ONE[word]
    for pattern, replacement in _RULES:
        word = pattern.sub(replacement, word)
    return word
