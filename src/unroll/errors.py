"""What goes wrong by someone's input, told in one line."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches

from unroll.loading import loaded


class UserError(Exception):
    """Something a user can put right: says what is wrong, where, and what to do. A door ends with exit code 1."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        # What it repeats of a file may be a field of megabytes.
        super().__init__(message if len(message) <= 1000 else f"{message[:700]} … {message[-250:]}")


class UsageError(UserError):
    """A wrong option, key or value on the command line or in a config. A door ends with exit code 2."""

    exit_code = 2


class Stopped(BaseException):
    """Ended by a signal; a door ends with the conventional exit code, 128 and the signal's number. Like KeyboardInterrupt it
    is nothing that a library's `except Exception` is to take for an error of its own.

    Args:
        number: the signal's.
        message: in one line.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def did_you_mean(name: str, valid: list[str]) -> str:
    """The tail of an error line: the nearest valid name, if one is near, and all of them."""
    near = get_close_matches(name, valid[:_COMPARED], n=1, cutoff=0.6)
    listed = ", ".join(_shown(one) for one in valid[:_LISTED])
    more = f" and {len(valid) - _LISTED:,} more" if len(valid) > _LISTED else ""
    return (f"did you mean {_shown(near[0])}? " if near else "") + (
        f"Valid: {listed}{more}" if valid else "there are none"
    )


_COMPARED, _LISTED, _LONGEST = 1000, 100, 60  # names may come from a file, and be anything


def _shown(name: str) -> str:
    name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return name if name.isprintable() else repr(name)


_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS} | {
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EIO,
    errno.ENOENT,
}


_NO_MEMORY = ("can't allocate memory", "out of memory")
"""What torch says on a CPU, and on a GPU."""
_ASKED = re.compile(r"ried to allocate ([\d.]+ \w+)")
_LESS = (
    "a smaller data.batch_size, data.batch_tokens, model.hidden_size or truncation.length takes less, and so does "
    "model.recompute=auto"
)


def one_line(error: BaseException) -> str:
    """What a library's error says, for a message of ours."""
    return " ".join(str(error).split()) or type(error).__name__


def door(main: Callable[[], None]) -> None:
    """Run a command line's `main`; end with one line on standard error and an exit code instead of a traceback.

    A defect of our own still shows its traceback: that one is for us.
    """
    loaded()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is to end nothing
    try:
        main()
    except UserError as error:
        sys.exit(_say(str(error), error.exit_code))
    except Stopped as stopped:
        sys.exit(_say(str(stopped), 128 + stopped.number))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", 130))
    except BrokenPipeError:  # the reader of our output (head, less) has gone: not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        sys.exit(_say(f"{error.filename or 'writing'}: {error.strerror}", 1))
    except (MemoryError, RuntimeError) as error:
        told = one_line(error)
        if not isinstance(error, MemoryError) and not any(words in told for words in _NO_MEMORY):
            raise
        asked = _ASKED.search(told)
        sys.exit(_say(f"there is not enough memory{f' for another {asked[1]}' if asked else ''}: {_LESS}", 1))


def _say(message: str, exit_code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return exit_code
