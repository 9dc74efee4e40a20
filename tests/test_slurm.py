"""SLURM: what a sweep hands to it, hears of it, and takes back; for real where there is one."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas
import pytest
from doors import door

from unroll.errors import UserError
from unroll.runs import FAILURE
from unroll.sweep import begin, job, slurm

TINY = [
    "logger=none",
    "model.hidden_size=16",
    "trainer.max_steps=20",
    "trainer.limit_val_batches=1",
    "callbacks.samples=null",
]
CLUSTER = (
    shutil.which("sbatch") is not None and not subprocess.run(["sinfo"], capture_output=True, check=False).returncode
)


def queue(folder: Path, jobs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A queue of jobs and their scripts, with the two programs that one asks: `squeue` and `scancel`."""
    queued = folder / "queue"
    queued.write_text("".join(f"{number} {script}\n" for number, script in jobs.items()))
    programs = {
        "squeue": f"cat {queued}",
        "scancel": f'shift; for number; do sed -i.old "/^$number /d" {queued}; touch {folder}/sweep/0/{FAILURE}; done',
    }
    for name, does in programs.items():
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return queued


def test_a_sweeps_own_jobs_are_taken_out_of_the_queue_and_no_others(tmp_path, monkeypatch):
    for number in "01":
        (tmp_path / "sweep" / number).mkdir(parents=True)
    (tmp_path / "sweep/.submitit").mkdir()
    (tmp_path / "sweep/1" / FAILURE).write_text("it failed before\n")
    jobs = {
        "41": tmp_path / "sweep/.submitit/one.sh",
        "42": tmp_path / "other/.submitit/one.sh",
        "43": Path("/home/x.sh"),
    }
    queued = queue(tmp_path, jobs, monkeypatch)
    slurm.cancel(tmp_path / "sweep")
    assert [line.split()[0] for line in queued.read_text().splitlines()] == ["42", "43"]
    # What was interrupted has not failed.
    assert not (tmp_path / "sweep/0" / FAILURE).exists() and (tmp_path / "sweep/1" / FAILURE).exists()


def test_of_a_sweep_that_was_never_handed_over_the_queue_is_not_asked(tmp_path, monkeypatch):
    jobs = {"41": tmp_path / ".submitit/one.sh"}
    queued = queue(tmp_path, jobs, monkeypatch)
    slurm.cancel(tmp_path)
    assert queued.read_text()


def test_a_queue_that_does_not_answer_is_asked_again_and_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "sweep/0").mkdir(parents=True)
    (tmp_path / "sweep/.submitit").mkdir()
    queue(tmp_path, {}, monkeypatch)
    (tmp_path / "bin/squeue").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(slurm, "_PATIENCE", 1.5)
    slurm.cancel(tmp_path / "sweep")
    assert "squeue does not tell" in capsys.readouterr().err


@pytest.mark.parametrize("put_back", [False, True])
def test_a_job_whose_time_is_up_is_stopped_before_its_handler_runs(put_back, tmp_path, monkeypatch):
    class Requeued(BaseException):
        pass

    told: list[str] = []

    def theirs(number: int, frame: Any) -> None:
        told.append("handled")
        raise Requeued if put_back else RuntimeError("Job not requeued: its time is up\nand no more.")

    def warned(folder: Path, environment: dict[str, str]) -> str:
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
        finally:
            told.append("saved")
        raise AssertionError("not stopped")

    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setattr(job, "_run", warned)
    before = signal.signal(signal.SIGUSR2, theirs)
    try:
        if put_back:
            with pytest.raises(Requeued):
                job._until_warned(tmp_path, {})
        else:
            reason = job._until_warned(tmp_path, {})
            assert reason.startswith("Job not requeued: its time is up and no more.") and "-m resume=" in reason
        assert signal.getsignal(signal.SIGUSR2) is theirs
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert told == ["saved", "handled"]


@pytest.mark.parametrize(
    ("argument", "is_taken"),
    [
        ("hydra.launcher.timeout_min=60", True),
        ("hydra.launcher.partition=gpu-long", True),
        ("hydra.launcher.cpus_per_task=4", True),
        ("hydra.launcher.setup=[curl evil]", False),
        ("hydra.launcher.partition=$(touch /tmp/x)", False),
        ("hydra.launcher._target_=os.system", False),
        ("hydra.launcher.additional_parameters.prolog=x", False),
    ],
)
def test_what_a_stored_sweep_may_ask_of_a_launcher(argument, is_taken, tmp_path):
    if is_taken:
        begin._check_harmless([argument], tmp_path)
    else:
        with pytest.raises(UserError, match="is not taken from a file"):
            begin._check_harmless([argument], tmp_path)


@pytest.mark.skipif(not CLUSTER, reason="there is no SLURM here")
def test_a_sweep_by_slurm_gives_the_numbers_of_its_jobs_alone(tmp_path):
    asked = [f"hydra.launcher.{what}" for what in ("cpus_per_task=1", "mem_gb=1", "timeout_min=5")]
    cached = [*TINY, f"data.cache_dir={tmp_path}/encoded"]
    sweep = door(
        "train.py", "-m", "launcher=slurm", *asked, *cached, "model=rnn,gru", f"hydra.sweep.dir={tmp_path}/sweep"
    )
    assert sweep.returncode == 0, sweep.stderr
    alone = door("train.py", *cached, "model=gru", "test=false", f"hydra.run.dir={tmp_path}/alone")
    assert alone.returncode == 0, alone.stderr
    (folder,) = (tmp_path / "sweep").glob("1*")

    def figures(run: Path) -> pandas.DataFrame:
        found = pandas.read_csv(run / "metrics.csv")
        return found[[name for name in found if "second" not in name]]

    assert "val/bpc" in figures(folder)
    pandas.testing.assert_frame_equal(figures(folder), figures(tmp_path / "alone"), check_exact=True)
