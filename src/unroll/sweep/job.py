"""One job of a sweep, in a process of its own."""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from unroll.composing import in_one_line, write_config
from unroll.errors import Stopped, UserError, one_line
from unroll.locking import is_locked
from unroll.runs import CONFIG, CONSOLE, FAILURE, SUMMARY, job_command

TRUST = "UNROLL_SWEEPTRUST"
"""For the processes of a launcher: set when a sweep goes on, the packages that its jobs may name. Those of a new sweep are
one's own, and may name any code."""
_PATIENCE = 60.0  # seconds for a job to come to its end


def run_job(config: DictConfig, folder: Path, runtime: Any) -> float | None:
    """Run one job of a sweep, or go on with it, or find that it is done.

    Args:
        config: as composed.
        folder: the job's.
        runtime: Hydra's.

    Returns:
        The watched metric; None of a job that failed, whose folder says why.
    """
    try:
        if not (folder / CONFIG).exists():
            write_config(config, folder, runtime.runtime.choices, runtime.overrides.task, Path(runtime.sweep.dir).name)
    except (UserError, OmegaConfBaseException) as error:
        refusal = error if isinstance(error, UserError) else in_one_line(error)
        (folder / FAILURE).write_text(f"{refusal}\n")
        return None
    while is_locked(folder):  # by a process that the sweep was killed without: it may well come to its end
        time.sleep(1)
    if not (folder / SUMMARY).exists():
        (folder / FAILURE).unlink(missing_ok=True)
        with _share(folder.parent, runtime.launcher.get("n_jobs", 1)) as environment:
            reason = _until_warned(folder, environment)
        if reason:
            (folder / FAILURE).write_text(f"{reason}\n")
            return None
    value = json.loads((folder / SUMMARY).read_text())["metrics"].get(config.watch.metric)
    return float("nan") if value is None else float(value)


@contextmanager
def _share(folder: Path, at_once: int) -> Iterator[dict[str, str]]:
    """What one of several jobs at once is to have of the machine: a part of the cores and, where there are several, a GPU."""
    environment = dict(os.environ)
    if _under_slurm():  # which has started this process, and no other; Lightning would look for a task a device
        environment = {key: value for key, value in environment.items() if not key.startswith("SLURM_")}
    at_once = at_once if at_once > 0 else os.cpu_count() or 1
    if at_once == 1:
        yield environment
        return
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    driver = Path("/proc/driver/nvidia/gpus")
    devices = [str(index) for index in range(len(list(driver.iterdir())))] if driver.is_dir() else []
    devices = [device for device in named.split(",") if device] if named is not None else devices
    with ExitStack() as stack:
        for number in range(at_once):  # the first place that nobody has; who is killed gives it back
            place = stack.enter_context((folder / f".place{number}").open("a"))
            with suppress(OSError):
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if len(devices) > 1:
                    environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
                break
        yield environment


def _under_slurm() -> bool:
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def _until_warned(folder: Path, environment: dict[str, str]) -> str:
    """Run a job's process to its end, or until SLURM warns that the time is up: it saves itself, before submitit leaves, or
    puts it back in the queue. Why it failed, if it did."""
    if not _under_slurm():
        return _run(folder, environment)

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number, "its time is up")

    theirs: Any = signal.signal(signal.SIGUSR2, stop)
    try:
        return _run(folder, environment)
    except Stopped:
        signal.signal(signal.SIGUSR2, theirs)
        try:
            theirs(signal.SIGUSR2, None)  # does not come back where the job is put back
        except Exception as error:  # submitit's UncompletedJobError
            return f"{one_line(error)} What it had done is saved; -m resume= goes on"
        raise
    finally:
        signal.signal(signal.SIGUSR2, theirs)


def _run(folder: Path, environment: dict[str, str]) -> str:
    """Run a job's process to its end. Why it failed, if it did."""
    trust = json.loads(os.environ[TRUST]) if TRUST in os.environ else None
    with (folder / CONSOLE).open("ab") as console:
        said = console.tell()
        # In a session of its own, so that Ctrl-C reaches it once, from here, and not a second time from the terminal.
        job = subprocess.Popen(
            job_command(folder, trust), stdout=console, stderr=console, start_new_session=True, env=environment
        )
        try:
            code = job.wait()
        except (KeyboardInterrupt, Stopped):
            with suppress(ProcessLookupError):
                job.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                job.wait(_PATIENCE)
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            raise
    return _reason(folder / CONSOLE, said, code) if code else ""


def _reason(console: Path, start: int, code: int) -> str:
    """Why a job failed, in one line."""
    with console.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    if told:
        return told[-1].removeprefix("error: ")
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (": was there enough memory?" if name == "SIGKILL" else "")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"ended with exit code {code}")
