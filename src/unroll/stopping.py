"""A run that is told to end: by Ctrl-C, by `kill`, by a scheduler before its time is up."""

import os
import signal
import threading
import time
from types import FrameType

from unroll.errors import Stopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # USR2: submitit's before the time is up
_SAME = 1.0  # seconds within which a second signal is an echo of the first: schedulers and terminals send to several at once


def stop_at_once() -> None:
    """From here on SIGTERM, SIGUSR1 and 2 raise `Stopped`, as Ctrl-C raises KeyboardInterrupt: what is half-written goes."""
    for number in _SIGNALS[1:]:
        signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Stopped(number, f"ended by {signal.Signals(number).name}")


class StopRequest:
    """Keeps a signal in mind until it suits; a second one ends at once.

    Attributes:
        number: the signal's; None before there was one.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0

    def listen(self) -> None:
        """Take the signals from whoever has them."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._keep)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            # Not by print: this may come in the middle of one.
            os.write(
                2, f"\n{signal.Signals(number).name}: ends after this update, or validation; again: at once\n".encode()
            )
        elif time.monotonic() - self._since > _SAME:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            _raise(number, frame)
