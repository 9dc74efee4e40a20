"""The most memory that a process has had (Linux). `getrusage` would count what its parent had when it was started."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


def peak(process: int | str = "self") -> float:
    """MiB that a process had at most since it began its program; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    named = status.partition("VmHWM:")[2]
    return int(named.split()[0]) / 1024 if named else 0.0


def run_measured(command: list[str], **more: Any) -> tuple[str, float]:
    """What a program prints, and the MiB that it had at most (its children left out); ends this one if it fails.

    Args:
        command: of it.
        more: for `subprocess.Popen`.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    most = 0.0

    def watch() -> None:
        nonlocal most
        while process.poll() is None:
            most = max(most, peak(process.pid))
            time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    said, _ = process.communicate()
    watching.join()
    if process.returncode:
        sys.exit(said[-2000:])
    return said, most
