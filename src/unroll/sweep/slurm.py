"""A sweep's jobs in SLURM's queue."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from unroll.runs import FAILURE

_PATIENCE = 120.0  # seconds: SLURM kills 30 after it has asked, unless it is configured otherwise


def cancel(folder: Path) -> None:
    """Take the jobs of a sweep out of SLURM's queue; those that run save themselves, and end.

    Args:
        folder: the sweep's.
    """
    if not (folder / ".submitit").is_dir() or shutil.which("squeue") is None:
        return
    told = set(folder.glob(f"*/{FAILURE}"))
    end = time.monotonic() + _PATIENCE
    asked: set[str] = set()
    while (queued := _queued(folder)) != set():
        if time.monotonic() > end:
            left = (
                f"{len(queued)} jobs of {folder} are still"
                if queued
                else f"squeue does not tell which jobs of {folder} are"
            )
            print(
                f"warning: {left} in SLURM's queue after {_PATIENCE:.0f} s: look there, and scancel them",
                file=sys.stderr,
            )
            break
        if new := (queued or set()) - asked:
            subprocess.run(["scancel", "--quiet", *sorted(new)], capture_output=True, check=False)
            asked |= new
        time.sleep(1)
    for failure in set(folder.glob(f"*/{FAILURE}")) - told:  # interrupted, and nothing else
        failure.unlink(missing_ok=True)


def _queued(folder: Path) -> set[str] | None:
    """One's own jobs whose script lies in the sweep's folder; None where SLURM does not answer."""
    command = ["squeue", "--me", "--noheader", "--format=%F %o"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        return None
    jobs = [line.split(maxsplit=1) for line in answer.stdout.splitlines()]
    scripts = (folder / ".submitit").absolute()
    return {job[0] for job in jobs if len(job) == 2 and Path(job[1]).parent == scripts}
