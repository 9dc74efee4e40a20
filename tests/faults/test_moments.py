"""Ended at any moment, a run goes on to the bits and figures of one that was left alone: the short form of moments.py."""

import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, composed
from moments import EXIT_CODES, Run, Trial, moments
from test_tasks import small

from unroll.checkpoint import read_checkpoint

# Dropout and resets draw random numbers, two layers' worth of state is carried, windows differ in every pass.
ALL_OF_IT = ["model.num_layers=2", "model.dropout=0.2", "truncation.reset_probability=0.1", "truncation.horizon=24"]
ALL_OF_IT += ["truncation=k16", "truncation.vary_length=true", "callbacks=averaging", "callbacks.averaging.patience=0"]
ALL_OF_IT += ["trainer.accumulate_grad_batches=2"]


@pytest.mark.parametrize(
    ("task", "count", "more"), [("char_lm", 4, ALL_OF_IT), ("sentiment", 2, []), ("recall", 2, [])]
)
def test_a_run_survives(tmp_path, task, count, more):
    trial = Trial(task, tmp_path, *more)
    for name, wait, number in moments(trial, count, random.Random(count)):
        phase, wrong = trial.survive(name, wait, number)
        assert not wrong, f"{signal.Signals(number).name} while {phase}: {wrong}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_what_is_heard_is_saved_and_told(tmp_path, number):
    """Long before a checkpoint is due."""
    composed(
        *small("recall"), "callbacks.last.every_n_steps=100000", "trainer.max_steps=100000", folder=tmp_path / "run"
    )
    run = Run(tmp_path / "run")
    run.wait_for("training", 25)
    assert run.end(number)[1] == EXIT_CODES[number] == 128 + number
    *before, told = [line for line in (tmp_path / "run.log").read_text().splitlines() if line]
    # Not always the last: where it is heard while validating, what that found comes behind it.
    assert f"{signal.Signals(number).name}: ends after this update, or validation; again: at once" in before[-2:]
    step = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"]
    assert step >= 24
    saved = f"error: interrupted after step {step}, which is saved; `python train.py resume={tmp_path}/run` goes on"
    assert told == saved


def test_of_two_processes_both_hear_what_one_is_told(tmp_path):
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=100000"]
    composed(*small("recall"), *ddp, "callbacks.last.every_n_steps=100000", folder=tmp_path / "run")
    job = subprocess.Popen(
        [sys.executable, "-m", "unroll.job", str(tmp_path / "run")], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "run/metrics.csv"
    while job.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) > 4):
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    _, errors = job.communicate(timeout=60)
    step = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"]
    assert job.returncode == 143, errors
    assert errors.splitlines()[-1].startswith(f"error: interrupted after step {step}, which is saved; ")
    assert "Traceback" not in errors
