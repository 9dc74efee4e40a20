"""Made-up names."""

import random


def listed(written: str, separator: str = " ") -> tuple[str, ...]:
    """The items of a text."""
    return tuple(item.strip() for item in written.split(separator))


FIRST = listed(
    "Alma Anton Beata Bruno Carla Cyril Dora Edgar Elsa Emil Fania Felix Greta Hugo Irma Ivan Jana Jonas Klara Leon Lydia "
    "Marek Mina Nora Oskar Petra Rosa Silas Tilda Viktor Wanda Yuri"
)
DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")

_ONSETS = listed("b br c ch d dr f g gr h j k kl l m n p pr r s sh st t tr v w z")
_VOWELS = listed("a a e e i o o u ai ea ou")
_CODAS = listed("l m n r s t nd rk lm v x th")


def stem(draw: random.Random) -> str:
    """Some syllables with a capital: there are many thousands."""
    syllables = draw.choice((1, 1, 2))
    opening = "".join(draw.choice(_ONSETS) + draw.choice(_VOWELS) for _ in range(syllables))
    return (opening + draw.choice(_CODAS)).capitalize()
