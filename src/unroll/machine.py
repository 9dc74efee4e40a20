"""Settings of the process that cost nothing."""

import ctypes
import subprocess
import sys
from pathlib import Path

# From malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let the C library keep memory that was freed instead of returning it to the system.

    A training step frees and takes the same large blocks again; by default each is mapped anew, and its pages are faulted
    in one by one. That was seen to cost an LSTM up to a third of its time. Peak memory stays what it was.

    Returns:
        Whether this system's C library took it (glibc does).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    taken = [mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, 2**31 - 1), mallopt(_M_TOP_PAD, 64 * 2**20)]
    return all(taken)


def git_commit() -> str | None:
    """The commit of the source tree that this package is run from, with + if files differ; None outside of one."""
    try:
        answers = [
            subprocess.run(
                ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for arguments in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return answers[0] + ("+" if answers[1] else "")
