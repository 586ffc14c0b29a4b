"""The best place for a breath inside a clause without punctuation."""

from __future__ import annotations

import re
import unicodedata

from deployments.text.scripts import HAN, KANA, is_unspaced

# Before these a speaker pauses most naturally (en, de, fr, es, pt, it).
_CONJUNCTIONS = frozenset(
    " ".join(
        (
            "and but or nor yet so because although though while whereas unless until since if when",
            "whenever where wherever which who whom whose that after before once whether than",
            "und aber oder denn sondern weil obwohl während dass wenn als welche welcher welches bevor",
            "nachdem damit et mais ou donc car parce quand lorsque puisque qui que dont où afin",
            "y e pero o sino porque aunque cuando quien cual donde mientras",
            "mas porém quando onde enquanto embora",
            "ed ma oppure perché mentre dove benché anche",
        )
    ).split()
)
_PREPOSITIONS = frozenset(
    " ".join(
        (
            "of in on at to from with by for about into over under between through during against among",
            "within without toward towards across behind beyond like as near along around",
            "in an auf aus bei mit nach seit von zu für gegen ohne um durch über unter vor hinter neben",
            "zwischen de à dans sur avec pour par sans sous vers chez entre depuis pendant",
            "en con por para sin sobre desde hasta entre hacia",
            "em com sem até di da per tra fra su",
        )
    ).split()
)
# After these a cut tears a phrase apart.
_BOUND = frozenset(
    " ".join(
        (
            "a an the this these those my your his her its our their some any no every each very too more",
            "most is are was were be been am has have had do does did will would can could should may",
            "might must not",
            "der die das den dem des ein eine einen einem einer kein keine le la les un une des du au aux",
            "ce cette ces mon ma mes son sa ses el los las una unos unas lo al del il gli i uno os",
            "as um uma ao",
        )
    ).split()
)
_CONNECTIVE_ZH = re.compile(
    "但是|不过|然而|因为|所以|因此|而且|并且|或者|还是|如果|虽然|尽管|即使|只要|只有|无论|不管|当|于是|然后|接着|同时|以及|和|与|及"
    "|或|而|并|但|却|就|才|也|都|还|又|再|在|从|对|把|被|将|向|跟|给|让|使|为了|关于|由于|直到|除了|そして|しかし|だから|それで"
)
# These lean on the character before them.
_ENCLITIC_ZH = frozenset("的地得了着过吗呢吧啊呀嘛们个只条件次年月日时分秒岁元はがをにでともへやねよか")

_NUMERALS_ZH = frozenset("第零〇一二三四五六七八九十百千万亿两点负")
_PLACE = re.compile(rf"(?<=\s)(?=\S)|(?<=[{HAN}{KANA}])(?=[{HAN}{KANA}A-Za-z])|(?<=[A-Za-z])(?=[{HAN}])")
_NEXT_WORD = re.compile(r"[\w'’]+")
_LAST_WORD = re.compile(r"([\w'’]+)\W*$")
_TIGHT = 3  # rank of a cut that tears a phrase


def cut_places(text: str) -> list[tuple[int, int]]:
    """Every place between words with something to speak on both sides, and its rank: 0 before a conjunction, 1 before a
    preposition, 2 elsewhere, 3 where a phrase is torn."""
    first = next((i for i, char in enumerate(text) if char.isalnum()), len(text))
    last = _last_spoken(text)
    places = (match.start() for match in _PLACE.finditer(text))
    return [(place, _rank(text, place)) for place in places if first < place <= last]


def hard_cut(text: str, high: int) -> int | None:
    """The last place up to `high`, inside a word if it must be, that tears no accent or joined emoji off."""
    for place in range(min(high, _last_spoken(text)), 0, -1):
        joined = unicodedata.combining(text[place]) or "\u200d" in text[place - 1 : place + 1]
        if (
            not joined
            and not 0xFE00 <= ord(text[place]) <= 0xFE0F
            and not 0x1F3FB <= ord(text[place]) <= 0x1F3FF
        ):
            return place
    return None


def _last_spoken(text: str) -> int:
    return next((place for place in range(len(text) - 1, -1, -1) if text[place].isalnum()), 0)


def _rank(text: str, place: int) -> int:
    if is_unspaced(text[place]):
        number = text[place] in _NUMERALS_ZH and text[place - 1] in _NUMERALS_ZH
        if number or text[place] in _ENCLITIC_ZH:
            return _TIGHT
        connective = _CONNECTIVE_ZH.match(text, place)
        return 2 - min(2, len(connective.group())) if connective else 2
    following = _NEXT_WORD.match(text, place)
    before = _LAST_WORD.search(text, max(0, place - 40), place)
    word = following.group().lower() if following else ""
    previous = before.group(1).lower() if before else ""
    if previous in _BOUND or previous in _PREPOSITIONS or (previous[-1:].isdigit() or word[:1].isdigit()):
        return _TIGHT
    if previous in _CONJUNCTIONS:
        return _TIGHT
    if word in _CONJUNCTIONS:
        return 0
    return 1 if word in _PREPOSITIONS else 2
