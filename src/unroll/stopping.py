"""A run that is told to end: by Ctrl-C, by `kill`, by a scheduler before its time is up."""

import os
import signal
import threading
import time
from types import FrameType

from unroll.errors import Stopped

# HUP: the terminal is gone; USR2: submitit's before the time is up.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_SAME = 1.0  # seconds within which a second signal is an echo of the first: schedulers and terminals send to several at once


def stop_at_once() -> None:
    """From here on these signals raise `Stopped`, as Ctrl-C raises KeyboardInterrupt: what is half-written goes."""
    for number in _SIGNALS[1:]:
        if not _is_without_terminal(number):
            signal.signal(number, _raise)


def _is_without_terminal(number: int) -> bool:
    """Is it the end of a terminal that this process is to outlive, as nohup has it?"""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def _leave_terminal() -> None:
    """To write to one that is gone would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in _terminals:
        os.dup2(nowhere, stream)
    os.close(nowhere)


_terminals = [stream for stream in (1, 2) if os.isatty(stream)]


def _raise(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _leave_terminal()
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
                if not _is_without_terminal(number):
                    signal.signal(number, self._keep)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number, self._since = number, time.monotonic()
            if number == signal.SIGHUP:
                _leave_terminal()
            # Not by print: this may come in the middle of one.
            os.write(
                2, f"\n{signal.Signals(number).name}: ends after this update, or validation; again: at once\n".encode()
            )
        elif time.monotonic() - self._since > _SAME:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            _raise(number, frame)
