"""One process at a time in a folder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unroll.errors import UserError

LOCK = ".lock"
"""Of a folder where a process is at work."""


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep a second process out of a folder for as long as the block runs; a process that is killed keeps nobody out.

    Args:
        folder: that is written to.
        what: `a run`, `a sweep`; for the message.

    Raises:
        UserError: another process is at work there.
    """
    path = folder / LOCK
    end = time.monotonic() + 1.0  # who only asks whether it is locked holds it for a moment
    while True:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(0.05)
                    continue
                raise UserError(
                    f"{folder}: {what} is at work there, in another process: wait for it, or name another folder"
                ) from None
            except OSError:  # a file system without locks
                yield
                return
            # Its holder may have just taken it away: then what is locked here keeps nobody out.
            try:
                mine = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                mine = False
            if not mine:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_locked(folder: Path) -> bool:
    """Is another process at work in a folder?"""
    try:
        with (folder / LOCK).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
