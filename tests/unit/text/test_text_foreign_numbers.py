"""Numbers of the other languages that espeak speaks, which would read the marks in them as pauses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.kokoro.phonemes import Phonemizer
from deployments.text.foreign_numbers import spell_numbers

READINGS = """
es 10.000 => diez mil
es 1.234.567 => un millón doscientos treinta y cuatro mil quinientos sesenta y siete
es 1 000 000 => un millón
es 3497 => tres mil cuatrocientos noventa y siete
es 3,14 => tres coma catorce
es 3.14 => tres coma catorce
es 0,05 => cero coma cero cinco
es 29,99 € => veintinueve euros con noventa y nueve
es €29,99 => veintinueve euros con noventa y nueve
es 1 € => uno euro
es $5 => cinco dólares
es 1.234,56 € => mil doscientos treinta y cuatro euros con cincuenta y seis
es 1,234,567.5 => un millón doscientos treinta y cuatro mil quinientos sesenta y siete coma cinco
es -5 => menos cinco
es 50 % => cincuenta %
es 10-15 => diez a quince
es 14:30 => catorce y treinta
es 007 => cero cero siete
es 1º => 1º
es A4 => A4
fr 10 000 => dix mille
fr 10.000 => dix mille
fr 3,14 => trois virgule quatorze
fr 1 234 567,8 => un million deux cent trente-quatre mille cinq cent soixante-sept virgule huit
fr 29,99 € => vingt-neuf euros quatre-vingt-dix-neuf
fr 1 € => un euro
fr 500 $ => cinq cents dollars
fr -3 => moins trois
fr 14:30 => quatorze heures trente
fr 8:00 => huit heures
fr 1999 => mille neuf cent quatre-vingt-dix-neuf
fr 10–12 => dix à douze
it 10.000 => diecimila
it 3,14 => tre virgola quattordici
it 0,5 => zero virgola cinque
it 29,99 € => ventinove euro e novantanove
it €10.000 => diecimila euro
it -5 => meno cinque
it 14:30 => quattordici e trenta
it 1999 => millenovecentonovantanove
it 5-10 => cinque a dieci
pt 10.000 => dez mil
pt 3,14 => três vírgula catorze
pt R$ 29,99 => vinte e nove reais e noventa e nove
pt R$ 1 => um real
pt 1.234,56 € => mil duzentos e trinta e quatro euros e cinquenta e seis
pt -5 => menos cinco
pt 14:30 => catorze e trinta
hi 10,000 => 10000
hi 1,00,000 => 100000
hi १०,००० => 10000
hi 3.14 => 3 दशमलव 14
hi ₹1,500 => 1500 रुपये
hi ₹29.50 => 29 रुपये 50
hi -5 => ऋण 5
de 10.000 => 10.000
"""
TABLE = [line.split(" => ") for line in READINGS.strip().splitlines()]


@pytest.mark.parametrize(("text", "words"), TABLE)
def test_readings(text: str, words: str) -> None:
    language, number = text.split(" ", 1)
    assert spell_numbers(f"so {number}.", language) == f"so {words}."


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["es", "fr", "it", "pt", "hi", "zh"]))
def test_no_text_is_too_much(text: str, language: str) -> None:
    spell_numbers(text, language)


def test_no_pause_is_left_in_a_number() -> None:
    phonemizer = Phonemizer()
    for accent, text in (("es", "Hay 10.000 personas"), ("fr-fr", "3,14 mètres"), ("hi", "यह 10,000 है")):
        assert not {",", "."} & set(phonemizer.phonemes(text, accent))
