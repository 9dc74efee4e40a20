"""Numbers on a command line, as types for argparse."""

import argparse
import math


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
