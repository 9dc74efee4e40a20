"""Two processes are one process with its batch shared out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import SMALL, composed, door, resume
from doors import together

from unroll.checkpoint import read_checkpoint
from unroll.job import run

RUN = [
    *SMALL,
    "optimizer=sgd",
    "schedule=constant",
    "task.output_dropout=0",
    "data=text_files",
    "truncation.horizon=20",
    "truncation.reset_probability=0.2",
    "truncation.vary_length=true",
    "trainer.max_steps=20",
    "callbacks.last.every_n_steps=5",
]


def test_two_processes_equal_one(tmp_path: Path, text: Path):
    common = [*RUN, f"data.path={text}", f"data.cache_dir={tmp_path}/cache"]
    found = {}
    for processes, trainer in ((1, []), (2, ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"])):
        folder = tmp_path / str(processes)
        composed(*common, *trainer, folder=folder)
        if processes == 1:
            run(folder)
        else:
            together(folder, processes)
        summary = json.loads((folder / "summary.json").read_text())
        found[processes] = (read_checkpoint(folder / "checkpoints/last.ckpt"), summary["metrics"])
    (one, scores), (two, scores_of_two) = found[1], found[2]
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], weight, rtol=0, atol=1e-6)
    assert scores_of_two == {name: pytest.approx(value, rel=1e-5) for name, value in scores.items()}
    # Two processes evaluate as one does: nothing twice, nothing left out.
    assert door("evaluate.py", str(tmp_path / "2")).returncode == 0
    alone = json.loads((tmp_path / "2/evaluation/test.json").read_text())["metrics"]
    assert alone == {name: pytest.approx(scores_of_two[f"test/{name}"], rel=1e-6) for name in alone}
    # The checkpoint holds every lane's state and every process's generator.
    ours, theirs = one["train_state"], two["train_state"]
    for layer, reference in zip(theirs, ours, strict=True):
        for part, expected in zip(layer, reference, strict=True):
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)
    assert len(two["random_state"][0]) == 2

    # Where one of two processes is killed, the other ends, and says so; both go on to what would have been.
    folder = tmp_path / "killed"
    composed(*common, *trainer, "trainer.max_steps=100000", folder=folder)
    job = subprocess.Popen(
        [sys.executable, "-m", "unroll.job", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    last = folder / "checkpoints/last.ckpt"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (last.exists() and read_checkpoint(last)["global_step"] >= 30):
        time.sleep(0.1)
    second = int(subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True).stdout)
    os.kill(second, signal.SIGKILL)
    _, errors = job.communicate(timeout=60)
    assert job.returncode in (1, -signal.SIGKILL)
    assert "Traceback" not in errors
    if job.returncode == 1:  # else Lightning, which looks every five seconds, was there before the error was
        told = errors.splitlines()[-1]
        assert told.startswith("error: another process of this run has ended, or cannot be reached any more (")
        assert told.endswith(f"`python train.py resume={folder}` goes on")
    shutil.copytree(tmp_path / "2", tmp_path / "whole")
    steps = read_checkpoint(last)["global_step"] + 3
    started = ["-m", "torch.distributed.run", "--nproc-per-node=2", "train.py"]  # nor does it matter who starts them
    for name, command in (("killed", started), ("whole", ["train.py"])):
        result = door(*command, f"resume={tmp_path / name}", f"trainer.max_steps={steps}")
        assert result.returncode == 0, result.stderr
    killed, whole = (read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in ("killed", "whole"))
    for name, weight in whole["state_dict"].items():
        assert torch.equal(killed["state_dict"][name], weight), name

    # What two processes began, one goes on with, at the same place and from the same states.
    result = door(
        "train.py",
        f"resume={tmp_path}/2",
        "trainer.max_steps=25",
        "trainer.devices=1",
        "trainer.strategy=auto",
    )
    assert result.returncode == 0, result.stderr
    resume(tmp_path / "1", "trainer.max_steps=25")
    one, two = (read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in "12")
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], weight, rtol=0, atol=1e-5)
