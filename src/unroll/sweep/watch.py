"""A sweep's jobs while they run: a line each."""

import json
import math
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from unroll.comparison.run import shortened
from unroll.errors import Stopped
from unroll.locking import locked
from unroll.runs import CONFIG, FAILURE, PROGRESS, SUMMARY, read_overrides
from unroll.sweep.search import database
from unroll.sweep.slurm import cancel

_BETWEEN_LINES = 15.0  # seconds, where there is no terminal


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
        raise Stopped(number, "ended by SIGTERM")

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with locked(folder, "a sweep"):
            cancel(folder)  # what SLURM still has of a sweep that was killed
            is_search = database(folder).exists()
            for job in job_folders(folder):
                (job / PROGRESS).unlink(missing_ok=True)
                if not is_search:  # which does not try again what failed
                    (job / FAILURE).unlink(missing_ok=True)
            watch = _Watch(folder, swept(arguments))
            watch.start()
            try:
                yield
            finally:
                watch.stop()
    finally:
        signal.signal(signal.SIGTERM, before)


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
        self._done: dict[Path, str] = {
            path: "" if (path / SUMMARY).exists() else "failed"
            for path in job_folders(folder)
            if (path / SUMMARY).exists() or (path / FAILURE).exists()
        }
        self._kept = sum(not state for state in self._done.values())
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
        is_search = database(self.folder).exists()  # whose trials are not counted by what they choose from
        left = "" if self.count is None or is_search else f"{self.count - len(self._done) - running} to come"
        return f"{self.folder.name}: " + ", ".join(part for part in (*parts, left) if part)

    def _choices(self, job: Path) -> str:
        chosen = read_overrides(job)
        own = [item.partition("=") for item in chosen if item.partition("=")[0] in self.keys]
        return " ".join(f"{key}={shortened(value)}" for key, _, value in own) or " ".join(chosen)

    def _look(self) -> list[Text]:
        """Tell of the jobs that have ended; a line for each that runs."""
        running = []
        for job in job_folders(self.folder):
            if self._done.get(job) == "failed" and not (job / FAILURE).exists():
                del self._done[job]  # a trial that had not been counted yet is at work again
            if job in self._done:
                continue
            title = f"job {job.name}  {self._choices(job)}"
            if (job / SUMMARY).exists():
                self._done[job] = "finished"
                self.console.print(f"{title}  {_result(job)}", soft_wrap=True)
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
    pruned = summary.get("pruned_at")
    state = "finished" if pruned is None else f"pruned at step {pruned}"
    return (
        f"{state}: {metric} {'nan' if value is None else f'{value:.4f}'}, {summary['train_seconds']:.0f} s of training"
    )


def _progress(job: Path) -> str:
    with suppress(OSError):
        return (job / PROGRESS).read_text().strip() or "training"
    return "starting"
