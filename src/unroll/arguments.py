"""The options of a command line: mistakes are answered in one line; and numbers, as types for argparse."""

import argparse
import math
import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from unroll.errors import UsageError, did_you_mean

Number = TypeVar("Number", int, float)


class OptionParser(argparse.ArgumentParser):
    """argparse's, with descriptions laid out as they are written."""

    def __init__(self, prog: str, description: str, epilog: str, add_help: bool = True) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=add_help,
        )

    def error(self, message: str) -> NoReturn:
        """Raises: UsageError."""
        unknown = re.match("unrecognized arguments: (-[^ =]*)", message)
        if unknown is None:
            raise UsageError(f"{message} (`python {self.prog} --help` tells more)")
        valid = [name for name in self._option_string_actions if name.startswith("--")]
        raise UsageError(f"{unknown[1]}: there is no such option; {did_you_mean(unknown[1], valid)}")


def positive(written: str) -> int:
    """A whole number from 1 up."""
    return _number(written, int, lambda value: value >= 1, "a whole number from 1 up")


def at_least_zero(written: str) -> float:
    """A number from 0 up."""
    return _number(written, float, lambda value: 0 <= value < math.inf, "a number from 0 up")


def share(written: str) -> float:
    """A number above 0, at most 1."""
    return _number(written, float, lambda value: 0 < value <= 1, "a number above 0, at most 1")


def between(least: float, most: float) -> Callable[[str], float]:
    """A number in this range."""
    return lambda written: _number(
        written, float, lambda value: least <= value <= most, f"a number from {least:g} to {most:g}"
    )


def up_to(most: int) -> Callable[[str], int]:
    """A whole number from 1 up to this."""
    return lambda written: _number(written, int, lambda value: 1 <= value <= most, f"a whole number from 1 to {most}")


def seed(written: str) -> int:
    """What a random generator takes."""
    return _number(written, int, lambda value: 0 <= value < 2**63, "a whole number from 0 to 2^63 - 1")


def _number(written: str, kind: type[Number], is_valid: Callable[[Number], bool], told: str) -> Number:
    try:
        value = kind(written)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{written} is not {told}") from None
    if not is_valid(value):
        raise argparse.ArgumentTypeError(f"{written} is not {told}")
    return value
