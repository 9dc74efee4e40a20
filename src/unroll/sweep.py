"""A sweep: every job a process of its own, with its own folder. Killed anywhere, it goes on."""

import fcntl
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from unroll.comparison import shortened
from unroll.composing import CONF, groups, in_one_line, named_packages, write_config
from unroll.errors import UsageError, UserError
from unroll.runs import CONFIG, CONSOLE, FAILURE, PROGRESS, SUMMARY, is_locked, job_command, locked
from unroll.writing import written_whole

ARGUMENTS = "sweep.json"

_TRUST = "UNROLL_SWEEP_TRUST"
"""For the processes of a launcher: set when a sweep goes on, the packages that its jobs may name. Those of a new sweep are
one's own, and may name any code."""
_BETWEEN_LINES = 15.0  # seconds, where there is no terminal
_PATIENCE = 60.0  # seconds for a job to come to its end


class Terminated(BaseException):
    """SIGTERM."""


def prepare_sweep(arguments: list[str]) -> tuple[Path, list[str]]:
    """Where a sweep lies, and what Hydra is to be told.

    Args:
        arguments: of the command line; with `resume=FOLDER` those of that sweep are taken.

    Returns:
        The sweep's folder and the arguments.

    Raises:
        UsageError: nothing else may be given with `resume=`, or the folder holds a sweep already.
        UserError: the folder is no sweep's.
    """
    resumed = [argument for argument in arguments if argument.startswith("resume=")]
    if resumed and resumed[-1] != "resume=null":
        return _resumed(Path(resumed[-1].removeprefix("resume=").strip("'\"")), arguments)
    folder = _sweep_folder(arguments)
    if (folder / ARGUMENTS).exists():
        raise UsageError(
            f"{folder}: holds a sweep already: go on with it by -m resume={folder}, or name another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept = [argument for argument in arguments if not argument.startswith("hydra.sweep.dir=")]
    with written_whole(folder / ARGUMENTS) as unfinished:
        unfinished.write_text(json.dumps({"folder": os.getcwd(), "arguments": kept}, indent=2) + "\n")
    os.environ.pop(_TRUST, None)
    return folder, [*kept, _quoted("hydra.sweep.dir", folder)]


def _resumed(folder: Path, arguments: list[str]) -> tuple[Path, list[str]]:
    others = []
    for argument in arguments:
        if argument.startswith(("resume=", "trust=")) or argument in ("-m", "--multirun"):
            continue
        if not argument.startswith(("launcher=", "hydra.launcher.")):
            raise UsageError(
                f"resume: {argument} cannot be changed in a sweep that goes on; what can: launcher, hydra.launcher.KEY"
            )
        others.append(argument)
    try:
        stored = json.loads((folder / ARGUMENTS).read_text())
        kept, begun_in = [str(argument) for argument in stored["arguments"]], Path(stored["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder}: is no sweep's folder ({ARGUMENTS} is not there, or not whole); without -m, resume= goes on with a run"
        ) from None
    if not named_packages(arguments):
        _check_harmless(kept, folder / ARGUMENTS)
    folder = folder.absolute()
    if begun_in.is_dir():  # what the jobs read by relative paths lies there
        os.chdir(begun_in)
    os.environ[_TRUST] = json.dumps(named_packages(arguments))
    if others:
        kept = [argument for argument in kept if not argument.startswith("launcher=")]
    return folder, [*kept, *others, _quoted("hydra.sweep.dir", folder)]


def _check_harmless(arguments: list[str], source: Path) -> None:
    """A folder may come from somebody else: of what is stored in it nothing is to name code, or configs that could.

    Raises:
        UserError: something does.
    """
    for argument in arguments:
        key, _, value = argument.lstrip("+~").partition("=")
        own = key.startswith("hydra") and not key.startswith(("hydra.sweep.", "hydra.launcher.n_jobs"))
        flag = argument.startswith("-") and argument not in ("-m", "--multirun")
        path = key.partition("@")[0] in groups() and not re.fullmatch(r"[\w, ()-]+", value)
        if own or flag or path:
            raise UserError(
                f"{source}: {argument} is not taken from a file, unless trust=PACKAGE names your own package; or begin anew "
                "with your own command line"
            )


def _quoted(key: str, path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{text}'"


def _sweep_folder(arguments: list[str]) -> Path:
    """What hydra.sweep.dir is for these arguments; of what is swept the first is taken."""
    first = []
    config_dir: list[str] = []
    expects = ""
    for argument in arguments:
        if expects:
            config_dir, expects = [argument], ""
        elif argument in ("--config-dir", "-cd"):
            expects = argument
        elif argument.startswith("--config-dir="):
            config_dir = [argument.partition("=")[2]]
        elif not argument.startswith("-"):
            first.append(argument)
    search = [f"hydra.searchpath=[file://{Path(config_dir[0]).absolute()}]"] if config_dir else []
    chosen = [_first(override) for override in OverridesParser.create().parse_overrides(first)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*search, *chosen], return_hydra_config=True)
    folder = Path(str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["dir"]))  # type: ignore[call-overload,index]
    return Path(str(config.hydra.sweep.dir)) if "${" in str(folder) else folder


def swept(arguments: list[str]) -> dict[str, int | None]:
    """What is swept over, and how many values of it there are; None of a range, which is searched."""
    given = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    return {
        override.get_key_element(): len(list(override.sweep_string_iterator()))
        if override.is_discrete_sweep()
        else None
        for override in OverridesParser.create().parse_overrides(given)
        if override.is_sweep_override()
    }


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    if override.is_discrete_sweep():
        return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    return f"{override.get_key_element()}={interval.start}"


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
        with _share(folder.parent, runtime.launcher.get("n_jobs", 1)) as environment:
            reason = _run(folder, environment)
        if reason:
            (folder / FAILURE).write_text(f"{reason}\n")
            return None
    value = json.loads((folder / SUMMARY).read_text())["metrics"].get(config.watch.metric)
    return float("nan") if value is None else float(value)


@contextmanager
def _share(folder: Path, at_once: int) -> Iterator[dict[str, str]]:
    """What one of several jobs at once is to have of the machine: a part of the cores and, where there are several, a GPU."""
    environment = dict(os.environ)
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


def _run(folder: Path, environment: dict[str, str]) -> str:
    """Run a job's process to its end. Why it failed, if it did."""
    trust = json.loads(os.environ[_TRUST]) if _TRUST in os.environ else None
    with (folder / CONSOLE).open("ab") as console:
        said = console.tell()
        # In a session of its own, so that Ctrl-C reaches it once, from here, and not a second time from the terminal.
        job = subprocess.Popen(
            job_command(folder, trust), stdout=console, stderr=console, start_new_session=True, env=environment
        )
        try:
            code = job.wait()
        except (KeyboardInterrupt, Terminated):
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


@contextmanager
def watched(folder: Path, arguments: list[str]) -> Iterator[None]:
    """Show the jobs of a sweep while they run: one line each.

    Args:
        folder: the sweep's.
        arguments: of the command line.

    Raises:
        UserError: the sweep is at work already, in another process.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with locked(folder, "a sweep"):
            for job in job_folders(folder):
                for left in (FAILURE, PROGRESS):  # of those that are tried again
                    (job / left).unlink(missing_ok=True)
            watch = _Watch(folder, swept(arguments))
            watch.start()
            try:
                yield
            finally:
                watch.stop()
    finally:
        signal.signal(signal.SIGTERM, before)


def job_folders(folder: Path) -> list[Path]:
    """The folders of a sweep's jobs, in their order."""
    found = [path for path in folder.iterdir() if (path / CONFIG).exists() or (path / FAILURE).exists()]
    return sorted(
        found, key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
    )


class _Watch(threading.Thread):
    """Looks at the jobs' folders, whoever runs them, and tells what changes."""

    def __init__(self, folder: Path, keys: dict[str, int | None]) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.keys = keys
        counts = [count for count in keys.values() if count is not None]
        self.count = math.prod(counts) if len(counts) == len(keys) else None
        self.console = Console(highlight=False)
        self._ended = threading.Event()
        self._done: dict[Path, str] = {path: "" for path in job_folders(folder) if (path / SUMMARY).exists()}
        self._kept = len(self._done)
        self._told = 0.0

    def run(self) -> None:
        if self._kept:
            self.console.print(f"{self._kept} jobs are finished, and kept")
        if self.console.is_terminal:
            with Live(console=self.console, auto_refresh=False, transient=True) as live:
                while not self._ended.wait(0.5):
                    running = self._look()
                    live.update(Group(*running, Text(self._counts(len(running)), "dim")), refresh=True)
        else:
            while not self._ended.wait(0.5):
                running = self._look()
                if running and time.monotonic() - self._told > _BETWEEN_LINES:
                    self._told = time.monotonic()
                    for line in running:
                        self.console.print(line, soft_wrap=True)
        self._look()

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _counts(self, running: int) -> str:
        failed = sum(state == "failed" for state in self._done.values())
        parts = [f"{len(self._done) - failed} finished", f"{failed} failed" if failed else "", f"{running} running"]
        left = "" if self.count is None else f"{self.count - len(self._done) - running} to come"
        return f"{self.folder.name}: " + ", ".join(part for part in (*parts, left) if part)

    def _choices(self, job: Path) -> str:
        with suppress(Exception):
            chosen = [str(item) for item in OmegaConf.load(job / ".hydra" / "overrides.yaml")]
            own = [item.partition("=") for item in chosen if item.partition("=")[0] in self.keys]
            return " ".join(f"{key}={shortened(value)}" for key, _, value in own) or " ".join(chosen)
        return ""

    def _look(self) -> list[Text]:
        """Tell of the jobs that have ended; a line for each that runs."""
        running = []
        for job in job_folders(self.folder):
            if job in self._done:
                continue
            title = f"job {job.name}  {self._choices(job)}"
            if (job / SUMMARY).exists():
                self._done[job] = "finished"
                self.console.print(f"{title}  finished: {_result(job)}", soft_wrap=True)
            elif (job / FAILURE).exists():
                self._done[job] = "failed"
                reason = (job / FAILURE).read_text().strip()
                self.console.print(Text(f"{title}  failed: {reason}", "red"), soft_wrap=True)
            else:
                running.append(Text(f"{title}  {_progress(job)}", overflow="ellipsis", no_wrap=True))
        return running


def _result(job: Path) -> str:
    metric = str(OmegaConf.load(job / CONFIG).watch.metric)
    summary = json.loads((job / SUMMARY).read_text())
    value = summary["metrics"].get(metric)
    return f"{metric} {'nan' if value is None else f'{value:.4f}'}, {summary['train_seconds']:.0f} s of training"


def _progress(job: Path) -> str:
    with suppress(OSError):
        return (job / PROGRESS).read_text().strip() or "training"
    return "starting"


def discard_unbegun(folder: Path) -> None:
    """Of a sweep that was refused before its first job nothing stays."""
    if not job_folders(folder):
        for name in (ARGUMENTS, "multirun.yaml"):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def interrupted(folder: Path) -> str:
    """What is said after Ctrl-C."""
    return f"interrupted: `{Path(sys.argv[0]).name} -m resume={folder}` goes on"
