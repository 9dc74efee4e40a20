"""Ctrl-C while libraries are loaded: one line, and not the stack of whichever was being loaded. Loads none itself."""

import os
import signal
from types import FrameType


def until_loaded(said: str) -> None:
    """From here on until `loaded` Ctrl-C ends this process with one line, unless it is ignored, as in the background.

    Args:
        said: the line.
    """
    _line.append(said)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def loaded() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_line: list[str] = []


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"error: {_line[-1]}\n".encode())
    os._exit(128 + number)
