"""Abbreviations whose full stop does not end a sentence."""

from __future__ import annotations

import re

# Without their last full stop, lower-case.
_ALWAYS = frozenset(
    " ".join(
        (
            # English
            "mr mrs ms mx dr prof rev fr hon pres gov sen rep gen col maj capt cpt lt sgt cmdr adm st mt ft",
            "ave blvd rd vs viz cf al approx dept dist est govt assn univ vol ed eds trans misc tel ext",
            # German
            "bzw evtl ggf usw inkl exkl zzgl vgl str hr fr dipl ing geb gest bspw sog allg",
            # French, Spanish, Portuguese, Italian
            "mme mmes mlle ste av env sra srta dña d.ª ud uds vd pág núm ej ee.uu avda dna sig dott avv ecc",
        )
    ).split()
)
_BEFORE_NUMBERS = frozenset(
    " ".join(
        (
            "no nos nr núm art fig figs p pp ch sec eq vol op jan feb mar apr jun jul aug sep sept oct nov",
            "dec",
            "mon tue wed thu fri sat sun",
        )
    ).split()
)
# These may also close a sentence: a capital letter after them decides.
_MAY_END = frozenset(
    ("etc", "a.m", "p.m", "inc", "ltd", "co", "corp", "jr", "sr", "phd", "ph.d", "b.c", "a.d", "ca", "d.c")
)
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")


def stop_ends_sentence(word: str, following: str, *, opens_paragraph: bool) -> bool:
    """Does the full stop between `word` and `following`, the next visible character, end a sentence?"""
    lowered = word.lower()
    if lowered in _MAY_END:
        return following.isupper() or not following
    if lowered in _ALWAYS or _DOTTED.fullmatch(word):
        return False
    if lowered in _BEFORE_NUMBERS:
        return not following.isdigit()
    if word.isdigit():  # "1. Milk" opens a list item, "3. mai" is a date
        return not opens_paragraph and not following.islower()
    return not (len(word) == 1 and word.isupper() and word != "I")  # the initial of a name
