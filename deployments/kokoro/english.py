"""English text to Kokoro's phonemes: misaki's lexicon with a small rule-based tagger, espeak for unknown words.

misaki wants spaCy's English model, which no package registry carries. What it needs of it are Penn tags of function
words, punctuation, numbers, and a guess for words that are pronounced differently as noun and verb.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deployments.text.english.normalizer import normalize_english


@contextlib.contextmanager
def _torch_hidden() -> Iterator[None]:
    """spaCy imports torch wherever it finds it: seconds and 200 MB, for tensors that a blank pipeline does not have."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torch"]


with _torch_hidden():
    import spacy
    from misaki.en import G2P, Lexicon
    from spacy.language import Language

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

FUNCTION_TAGS = {
    tag: words.split()
    for tag, words in {
        "DT": "a an the this that these those each every some any no another",
        "TO": "to",
        "IN": "in on at of for with by from about into over after before under between through",
        "PRP": "i you he she it we they me him her us them",
        "PRP$": "my your his its our their",
        "MD": "will would can could shall should may might must 'll 'd",
        "CC": "and or but nor",
    }.items()
}
TAG_OF_WORD = {word: tag for tag, words in FUNCTION_TAGS.items() for word in words}
TAG_OF_MARK = {
    **dict.fromkeys(".!?", "."),
    ",": ",",
    **dict.fromkeys([";", ":", "-", "–", "—", "...", "…", "--"], ":"),
    **dict.fromkeys("([{", "-LRB-"),
    **dict.fromkeys(")]}", "-RRB-"),
    "“": "``",
    "‘": "``",
    "”": "''",
    '"': "''",
    **dict.fromkeys("$€£¥", "$"),
    # Unicode counts these as punctuation, which misaki drops; under these tags it has words for them.
    "%": "NN",
    "&": "CC",
    "@": "IN",
}
HAVE = frozenset(["have", "has", "had", "'ve", "having"])
BE = frozenset(["am", "is", "are", "was", "were", "be", "been", "being", "'s", "'re", "'m", "got", "get"])
DO = frozenset(["do", "does", "did", "don't", "doesn't", "didn't", "not", "n't", "let", "please"])
SUBJECTS = frozenset(["i", "you", "we", "they", "who"])


@Language.component("voicegraph_rule_tagger")
def rule_tagger(doc: Doc) -> Doc:
    """Give every token a Penn tag, from a closed list or from the word before it."""
    previous: Token | None = None
    for token in doc:
        token.tag_ = _tag(token, previous)
        if not token.is_space and token.lower_ not in {"never", "always", "often", "also", "just", "only"}:
            previous = token
    return doc


def _tag(token: Token, previous: Token | None) -> str:
    word = token.lower_
    if word in TAG_OF_MARK:
        return TAG_OF_MARK[word]
    if token.is_punct:
        return "NFP"
    if token.like_num:
        return "CD"
    if token.text == "A" and _is_letter(token.doc, token.i + 1):  # of a word that is spelled
        return "NN"
    if word == "a" and token.text == "A" and previous is not None and not token.is_sent_start:
        return "DT" if previous.tag_ in {".", ":", "''", "``"} else "NN"
    if token.text == "US":
        return "NNP"
    if word in TAG_OF_WORD:
        return TAG_OF_WORD[word]
    before, before_tag = (previous.lower_, previous.tag_) if previous is not None else ("", "")
    if before_tag in {"TO", "MD"} or before in DO:
        return "VB"
    if before in HAVE or before in BE:
        return "VBG" if word.endswith("ing") else "VBN" if word.endswith("ed") or before in HAVE else "JJ"
    if before in SUBJECTS:
        return "VBP"
    if before_tag in {"DT", "PRP$", "IN", "JJ", "CD"}:
        return "NN"
    return "NN" if word.endswith(("tion", "ness", "ment", "ity")) else "XX"


def _is_letter(doc: Doc, index: int) -> bool:
    return index < len(doc) and len(doc[index]) == 1 and doc[index].text.isupper()


class EnglishG2P(G2P):
    """misaki's English grapheme-to-phoneme conversion on a blank spaCy pipeline; `british` chooses the lexicon."""

    def __init__(self, *, british: bool) -> None:
        from misaki.espeak import EspeakFallback  # noqa: PLC0415  (loads the espeak library)
        from phonemizer.backend import EspeakBackend  # noqa: PLC0415

        self.version = None
        self.british = british
        self.nlp = spacy.blank("en")
        self.nlp.add_pipe("voicegraph_rule_tagger")
        self.lexicon = Lexicon(british)
        self.fallback = EspeakFallback(british=british)
        # A word that espeak takes for another language would otherwise come with the names of both, spoken.
        self.fallback.backend = EspeakBackend(
            language=f"en-{'gb' if british else 'us'}",
            preserve_punctuation=True,
            with_stress=True,
            tie="^",
            language_switch="remove-flags",
        )
        self.unk = ""

    def phonemes(self, text: str) -> str:
        # misaki reads `[word](/phonemes/)` as markup; in a user's text brackets are just brackets.
        return str(self(normalize_english(text), preprocess=False)[0])
