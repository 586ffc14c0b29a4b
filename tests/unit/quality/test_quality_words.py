from __future__ import annotations

import pytest

from serve_app.quality.plain_words import plain_words
from serve_app.quality.sentences import ENGLISH
from serve_app.quality.spelling import american


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("It's a well-known café.", "it is a well known cafe"),
        ("We can't, and they won't.", "we cannot and they will not"),
        ("The dogs' owner and the cat’s bed", "the dogs owner and the cats bed"),
        ("At 8:45 the train leaves.", "at eight forty-five the train leaves"),
        ("It closes at 7:00.", "it closes at seven o'clock"),
        ("Two hundred and five people", "205 people"),
        ("He paid $3,500 for it.", "he paid three thousand five hundred dollars for it"),
        ("It cost $5 million.", "it cost five million dollars"),
        ("Prices rose by 2.4%.", "prices rose by two point four percent"),
        ("In 1994, on the 2nd of May", "in nineteen ninety-four on the second of may"),
        ("Songs of the 1990s", "songs of the nineteen nineties"),
        ("Call 0171 now", "call zero one seven one now"),
        ("The neighbours' grey theatre", "the neighbors gray theater"),
        ("They organised a travelling programme.", "They organized a traveling program."),
        ("To-day or tomorrow", "today or to-morrow"),
        ("Mr. Brown and Dr. Green", "mister brown and doctor green"),
    ],
)
def test_spellings_of_the_same_words_are_equal(said: str, heard: str) -> None:
    assert plain_words(said) == plain_words(heard)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("four hours", "for ours"),
        ("bread and butter", "bread butter"),
        ("a hundred and more", "a hundred more"),
    ],
)
def test_different_words_stay_different(said: str, heard: str) -> None:
    assert plain_words(said) != plain_words(heard)


def test_words_that_look_british_but_are_not() -> None:
    for word in ("hour", "your", "four", "noise", "raise", "called", "there", "rogue", "acre"):
        assert american(word) == word


def test_nothing_to_compare_gives_no_words() -> None:
    assert plain_words("… — !") == []


def test_the_built_in_set_is_large_distinct_and_free_of_digits() -> None:
    assert len(ENGLISH) >= 100
    assert len({" ".join(plain_words(text)) for text in ENGLISH}) == len(ENGLISH)
    assert 1000 <= sum(len(plain_words(text)) for text in ENGLISH) <= 1300
    assert not any(letter.isdigit() for text in ENGLISH for letter in text)
