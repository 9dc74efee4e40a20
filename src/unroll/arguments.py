"""Numbers on a command line, as types for argparse."""

import argparse
import math
from collections.abc import Callable


def positive(written: str) -> int:
    """A whole number from 1 up."""
    value = int(written)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{written} is not above 0")
    return value


def at_least_zero(written: str) -> float:
    """A number from 0 up."""
    value = float(written)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{written} is not a number from 0 up")
    return value


def share(written: str) -> float:
    """A number above 0, at most 1."""
    value = float(written)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{written} is not above 0 and at most 1")
    return value


def between(least: float, most: float) -> Callable[[str], float]:
    """A number in this range."""

    def number(written: str) -> float:
        value = float(written)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{written} is not from {least:g} to {most:g}")
        return value

    return number


def up_to(most: int) -> Callable[[str], int]:
    """A whole number from 1 up to this."""

    def number(written: str) -> int:
        value = positive(written)
        if value > most:
            raise argparse.ArgumentTypeError(f"{written} is more than {most}")
        return value

    return number


def seed(written: str) -> int:
    """What a random generator takes."""
    value = int(written)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{written} is not from 0 to 2^63 - 1")
    return value
