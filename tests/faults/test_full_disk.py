"""A disk that is full, a folder that cannot be written, files that are taken away: one line, and what was saved stays."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import composed
from moments import Run
from test_tasks import small

from unroll.checkpoint import read_checkpoint

MANY = [
    "model.hidden_size=64",
    "trainer.max_steps=60",
    "callbacks.last.every_n_steps=3",
    "trainer.val_check_interval=1000",
]


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """Two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here: it takes the rights of root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_leaves_the_last_checkpoint_whole(disk, tmp_path):
    for folder in (tmp_path / "whole/run", disk / "run"):
        composed(*small("recall"), *MANY, folder=folder)
    assert Run(tmp_path / "whole/run").wait() == 0
    run = Run(disk / "run", tmp_path / "run.log")
    run.wait_for("saving", 3)
    (disk / "other").write_bytes(b"")
    with (disk / "other").open("wb", buffering=0) as other:
        try:
            while True:
                other.write(b"x" * 10_000)
        except OSError:
            pass
    assert run.wait() == 1
    *_, told = (tmp_path / "run.log").read_text().splitlines()
    assert told.startswith("error: ") and told.endswith(": No space left on device")
    saved = read_checkpoint(disk / "run/checkpoints/last.ckpt")["global_step"]
    assert 6 <= saved <= 60  # or the disk is full when the rest is written
    (disk / "other").unlink()
    assert not list((disk / "run").rglob("*unfinished*"))
    assert Run(disk / "run", tmp_path / "more.log").wait() == 0, (tmp_path / "more.log").read_text()
    ours, theirs = (
        read_checkpoint(path / "run/checkpoints/last.ckpt")["state_dict"] for path in (disk, tmp_path / "whole")
    )
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())


def test_checkpoints_that_are_taken_away_are_written_again_or_told(tmp_path):
    composed(*small("recall"), *MANY, folder=tmp_path / "run")
    run = Run(tmp_path / "run")
    run.wait_for("saving", 3)
    shutil.rmtree(tmp_path / "run/checkpoints", ignore_errors=True)
    if run.wait():  # in the middle of a saving
        *_, told = (tmp_path / "run.log").read_text().splitlines()
        assert told.startswith(f"error: {tmp_path}")
        assert told.endswith((": No such file or directory", ": File exists"))  # taken away while it is made anew
        assert Run(tmp_path / "run").wait() == 0
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 60


def test_a_log_that_is_taken_away_ends_nothing(tmp_path):
    composed(*small("recall"), *MANY, folder=tmp_path / "run")
    run = Run(tmp_path / "run")
    run.wait_for("saving", 3)
    for name in ("metrics.csv", "train.log"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
    assert run.wait() == 0
    assert (tmp_path / "run/summary.json").exists()


def test_a_run_goes_on_without_the_process_of_wandb(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb = ["logger=wandb", "logger.checkpoints=true"]
    composed(*small("recall"), *wandb, "trainer.max_steps=400", folder=tmp_path / "run")
    run = Run(tmp_path / "run")
    run.wait_for("validating", 3)
    of_the_run = ["pgrep", "-P", str(run.pid), "-f", "wandb-core"]
    for found in subprocess.run(of_the_run, capture_output=True, text=True, check=True).stdout.split():
        os.kill(int(found), signal.SIGKILL)
    assert run.wait() == 0, run.log.read_text()
    told = run.log.read_text()
    assert told.count("the run goes on without its record there; metrics.csv has its numbers") == 1
    assert "Traceback" not in told
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 400
    assert (tmp_path / "run/summary.json").exists()
