"""Runs that are ended by a signal at a chosen moment, go on, and are held against one that was left alone.

    PYTHONPATH=tests python tests/faults/moments.py --moments 50 [--task char_lm --task sentiment] [--seed 1]

prints how many runs of each task survived: the table of docs/reliability.md. The short form is test_moments.py.
"""

import argparse
import csv
import json
import math
import mmap
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conftest import composed
from test_tasks import TASKS, small

import unroll.job
from unroll.checkpoint import AtomicCheckpointIO, read_checkpoint
from unroll.data.base import Data
from unroll.errors import door
from unroll.insight.samples import Samples
from unroll.stopping import stop_at_once
from unroll.tasks.base import Task

PHASES = ("starting", "preparing data", "training", "validating", "writing samples", "saving", "finishing")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
EXIT_CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138}
_PLACES: list[tuple[Any, str, str]] = [
    (Data, "prepare_data", "preparing data"),
    (Task, "training_step", "training"),
    (Task, "_evaluation_step", "validating"),
    (Samples, "on_validation_end", "writing samples"),
    (AtomicCheckpointIO, "save_checkpoint", "saving"),
    (unroll.job, "finish", "finishing"),
]


class Run:
    """A run in a process of its own, begun without the seconds that imports take; it tells what it is at.

    Args:
        folder: with its config.yaml.
        log: for what it says; by default beside the folder.
    """

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self.folder = folder
        self.log = log or folder.parent / f"{folder.name}.log"
        self._told = mmap.mmap(-1, 2)  # the phase, and a count of changes
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                code = self._begin()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def _begin(self) -> int:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115  not pytest's
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop_at_once()
        for owner, name, phase in _PLACES:
            self._tell(owner, name, PHASES.index(phase))
        try:
            door(lambda: unroll.job.run(self.folder))
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            return 71
        return 0

    def _tell(self, owner: Any, name: str, phase: int) -> None:
        plain = getattr(owner, name)

        def told(*arguments: Any, **options: Any) -> Any:
            before, self._told[0] = self._told[0], phase
            self._told[1] = (self._told[1] + 1) % 256
            try:
                return plain(*arguments, **options)
            finally:
                self._told[0] = before

        setattr(owner, name, told)

    @property
    def phase(self) -> str:
        """What it is at."""
        return PHASES[self._told[0]]

    def wait_for(self, phase: str, times: int) -> None:
        """Until it is at a phase for the so-manieth time, or has ended."""
        seen, last = 0, -1
        while not self.ended():
            if self.phase == phase and self._told[1] != last:
                seen, last = seen + 1, self._told[1]
                if seen >= times:
                    return
            time.sleep(0.0002)

    def ended(self) -> bool:
        """Has it?"""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self, number: int) -> tuple[str, int]:
        """Send it a signal. Returns what it was at, and its exit code."""
        phase = self.phase
        os.kill(self.pid, number)
        return phase, self.wait()

    def wait(self) -> int:
        """Its exit code, when it has ended; a signal's number with a minus."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Trial:
    """A task's small run, whole, to hold others against.

    Args:
        task: its name.
        folder: to work in.
        *more: overrides of it.
    """

    def __init__(self, task: str, folder: Path, *more: str) -> None:
        self.folder = folder
        self.overrides = [*small(task), *more]
        self.whole = self.begin("whole")
        start = time.monotonic()
        code = Run(self.whole).wait()
        self.seconds = time.monotonic() - start
        assert code == 0, (folder / "whole.log").read_text()
        self.steps = read_checkpoint(self.whole / "checkpoints/last.ckpt")["global_step"]

    def begin(self, name: str) -> Path:
        """A folder of a run that is to begin."""
        path = self.folder / name
        config = composed(*self.overrides)
        more = [f"data.cache_dir={self.folder}/cache-{name}"] if "cache_dir" in config["data"] else []
        composed(*self.overrides, *more, folder=path)
        return path

    def survive(self, name: str, wait: Callable[[Run], None], number: int) -> tuple[str, str]:
        """End a run, and let it go on to its end.

        Args:
            name: of its folder.
            wait: until the moment.
            number: the signal.

        Returns:
            What it was at, and what is wrong with how it came to its end: nothing, if all is well.
        """
        folder = self.begin(name)
        run = Run(folder)
        wait(run)
        phase, code = run.end(number)
        log = self.folder / f"{name}.log"
        if code not in (0, EXIT_CODES[signal.Signals(number)]):
            return phase, f"ended with {code}: {log.read_text()[-2000:]}"
        # In a callback of its own Python drops what a signal raises: the run goes on.
        if "Traceback" in log.read_text() and "Exception ignored in" not in log.read_text():
            return phase, log.read_text()[-2000:]
        if Run(folder).wait() != 0:
            return phase, f"did not go on: {log.read_text()[-2000:]}"
        return phase, self.difference(folder)

    def difference(self, folder: Path) -> str:
        """What sets a run apart from the one that was left alone; nothing, if bits and figures are the same."""
        for checkpoint in ("last", "best"):
            ours, theirs = (read_checkpoint(path / f"checkpoints/{checkpoint}.ckpt") for path in (folder, self.whole))
            for kind in {"state_dict", "current_model_state"} & theirs.keys():
                for name, weight in theirs[kind].items():
                    if not torch.equal(ours[kind][name], weight):
                        return f"{checkpoint}.ckpt: {name} is another"
        ours, theirs = (_rows(path / "metrics.csv") for path in (folder, self.whole))
        if ours != theirs:
            return "metrics.csv is another"
        ours, theirs = (json.loads((path / "summary.json").read_text())["metrics"] for path in (folder, self.whole))
        if not all(ours[key] == value or math.isnan(value) for key, value in theirs.items()):
            return f"summary.json: {ours} instead of {theirs}"
        for text in (self.whole / "samples").glob("*"):
            if (folder / "samples" / text.name).read_text() != text.read_text():
                return f"samples/{text.name} is another"
        files = [{str(path.relative_to(at)) for path in at.rglob("*")} for at in (folder, self.whole)]
        if files[0] != files[1]:
            return f"files: {sorted(files[0] ^ files[1])}"
        left = [path.name for path in self.folder.rglob("*unfinished*")]
        return f"left behind: {left}" if left else ""


def _rows(path: Path) -> list[dict[str, str]]:
    """Without what a clock says."""
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if "second" not in key} for row in csv.DictReader(file)]


def moments(trial: Trial, count: int, chance: random.Random) -> list[tuple[str, Callable[[Run], None], int]]:
    """Moments to end a run at, and signals: half of them anywhere in its time, half within each phase in turn."""
    found: list[tuple[str, Callable[[Run], None], int]] = []
    for index in range(count):
        number = SIGNALS[index % len(SIGNALS)]
        if index % 2:
            phase, times = PHASES[1 + index // 2 % (len(PHASES) - 1)], chance.randint(1, 3)
            delay = chance.random() * 0.01
            found.append(
                (f"{index}", lambda run, p=phase, t=times, d=delay: (run.wait_for(p, t), time.sleep(d)), number)
            )
        else:
            seconds = chance.random() * trial.seconds
            found.append((f"{index}", lambda run, s=seconds: time.sleep(s), number))
    return found


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=50, help="for each task (default: 50)")
    parser.add_argument("--task", action="append", choices=TASKS, help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lost = 0
    phases: Counter[str] = Counter()
    for task in options.task or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            trial = Trial(task, Path(folder))
            survived = 0
            for name, wait, number in moments(trial, options.moments, random.Random(options.seed)):
                phase, wrong = trial.survive(name, wait, number)
                phases[phase] += 1
                survived += not wrong
                if wrong:
                    print(f"{task}, {signal.Signals(number).name} while {phase}: {wrong}", flush=True)
            lost += options.moments - survived
            print(f"{task:<16} tried {options.moments}  survived {survived}", flush=True)
    print("while " + ", ".join(f"{phase} {count}" for phase, count in phases.most_common()))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
