"""Runs that last: memory, open files, threads and what is on the disk stay where they are.

`pytest tests/faults/test_long_runs.py --long -s` takes 20,000 updates, and 50 epochs; the short form a twentieth.
"""

import sys
import time
from pathlib import Path
from statistics import median

import pytest
from conftest import composed
from moments import Run
from test_tasks import small

STEPS = ["trainer.max_epochs=-1", "trainer.val_check_interval=100", "callbacks.last.every_n_steps=100"]
EPOCHS = [*("trainer.max_steps=-1", "trainer.check_val_every_n_epoch=1", "trainer.val_check_interval=1.0")]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process holds")
@pytest.mark.parametrize(
    ("task", "settings", "budget", "short", "long"),
    [
        ("char_lm", STEPS, "trainer.max_steps", 1000, 20_000),
        ("recall", STEPS, "trainer.max_steps", 1000, 20_000),
        ("sentiment", EPOCHS, "trainer.max_epochs", 6, 50),
        ("tagging", EPOCHS, "trainer.max_epochs", 6, 50),
    ],
)
def test_nothing_grows(tmp_path, request, task, settings, budget, short, long):
    amount = long if request.config.getoption("--long") else short
    composed(*small(task), *settings, f"{budget}={amount}", folder=tmp_path / "run")
    run = Run(tmp_path / "run")
    seen: list[dict[str, float]] = []
    while not run.ended() and run.phase != "finishing":  # which draws pictures
        if (tmp_path / "run/metrics.csv").exists() and (now := held(run.pid, tmp_path / "run")):
            seen.append(now)
        time.sleep(0.1)
    assert run.wait() == 0, run.log.read_text()
    begun, over = seen[len(seen) // 4 : len(seen) // 2], seen[len(seen) // 2 :]
    told = []
    for what, of_many in (("MiB", max), ("open files", median), ("threads", median), ("checkpoints MB", median)):
        first, last = (of_many([moment[what] for moment in some]) for some in (begun, over))
        told.append(f"{what} {first:.0f} and {last:.0f}")
        # An allocator keeps a little more now and then; files and threads are counted.
        assert last <= first * (1.05 if what == "MiB" else 1), f"{what}: {first} grew to {last}"
    rows = len((tmp_path / "run/metrics.csv").read_text().splitlines())
    log = (tmp_path / "run/train.log").stat().st_size
    print(
        f"\n{task}, {budget}={amount:,}: {'; '.join(told)}; {rows:,} rows of metrics, {log / 1e3:.0f} kB of train.log"
    )


def held(pid: int, folder: Path) -> dict[str, float]:
    """What a process holds now; nothing, if it has just ended or is replacing a file."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return {
            "MiB": int(status["VmRSS"].split()[0]) / 1024,
            "open files": len([file for file in Path(f"/proc/{pid}/fd").iterdir() if file.readlink().name[:1] != "."]),
            "threads": int(status["Threads"]),
            "checkpoints MB": sum(path.stat().st_size for path in folder.glob("checkpoints/*.ckpt")) / 1e6,
        }
    except (OSError, KeyError):
        return {}
