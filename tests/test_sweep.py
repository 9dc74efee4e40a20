"""Sweeps: a job is what it is alone, one that fails stops no other, and one that is killed goes on."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import optuna
import pytest
import torch
import yaml
from conftest import ROOT, SMALL, composed, door
from doors import together
from rich.console import Console

from hydra_plugins.unroll_optuna.sweeper import OptunaSweeper
from unroll.checkpoint import read_checkpoint
from unroll.comparison.run import read_runs
from unroll.comparison.tables import comparison_table
from unroll.errors import UserError
from unroll.job import run
from unroll.locking import is_locked, locked
from unroll.sweep.begin import spelled_out
from unroll.sweep.job import _share
from unroll.sweep.search import was_pruned
from unroll.sweep.watch import swept, watched

REST = [item for item in SMALL if not item.startswith("truncation")]
REST += [
    "task.output_dropout=0.2",
    "trainer.max_steps=24",
    "trainer.val_check_interval=8",
    "callbacks.last.every_n_steps=4",
]


def metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "summary.json").read_text())["metrics"]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", *arguments],
        cwd=ROOT,
        env={**clean, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def family(process: int) -> list[int]:
    """A process and all that come from it."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == process:
                children.append(int(path.parent.name))
        except OSError:
            continue
    return [process, *(one for child in children for one in family(child))]


def until(what, seconds=120.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


DDP = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


in_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes of a sweep in /proc")


def kill_in_job(job: Path, *arguments: str) -> None:
    """Start a sweep, and kill all of it at once when a job has its first checkpoint."""
    sweep = start(*arguments, f"hydra.sweep.dir={job.parent}")
    until((job / "checkpoints/last.ckpt").exists)
    for process in family(sweep.pid):
        os.kill(process, signal.SIGKILL)
    sweep.wait()
    until(lambda: not any(is_locked(one) for one in job.parent.iterdir()))
    assert not (job / "summary.json").exists()


@in_proc
def test_a_sweep_that_was_killed_goes_on_to_what_it_would_have_been(tmp_path):
    folder = tmp_path / "sweep"
    kill_in_job(folder / "2", "truncation=k8,full,k16", *REST)
    before = (folder / "0/summary.json").stat().st_mtime_ns
    result = door("train.py", "-m", f"resume={folder}", "truncation=k8,full,k16")  # as it was
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith(
        f"error: 1 of 3 jobs failed; the first, {folder}/1: truncation=full needs sequences"
    )
    assert "1 jobs are finished, and kept" in result.stdout
    assert (folder / "0/summary.json").stat().st_mtime_ns == before
    assert re.search(r"truncation=full\s+failed", result.stdout)
    assert (folder / "1/failure.txt").read_text().startswith("truncation=full needs sequences that end")
    for job, truncation in (("0", "k8"), ("2", "k16")):
        alone = tmp_path / truncation
        composed(*REST, f"truncation={truncation}", folder=alone)
        run(alone)
        ours, theirs = metrics(folder / job), metrics(alone)
        assert ours == {name: value for name, value in theirs.items() if name.startswith("val/")}  # not test


@in_proc
def test_a_sweep_of_two_jobs_at_once_with_two_processes_each_goes_on_to_the_same_bits(tmp_path):
    folder = tmp_path / "sweep"
    kill_in_job(folder / "1", "launcher=parallel", "truncation=k8,k16", *REST, *DDP)
    result = door("train.py", "-m", f"resume={folder}")
    assert result.returncode == 0, result.stderr
    alone = tmp_path / "alone"
    composed(*REST, *DDP, "truncation=k16", folder=alone)
    together(alone, 2)
    ours, theirs = metrics(folder / "1"), metrics(alone)
    assert ours == {name: value for name, value in theirs.items() if name.startswith("val/")}  # not test
    ours, theirs = (read_checkpoint(path / "checkpoints/last.ckpt")["state_dict"] for path in (folder / "1", alone))
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name


def test_jobs_at_once_share_gpus_and_cores_out(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    with _share(tmp_path, 3) as first:
        with _share(tmp_path, 3) as second, _share(tmp_path, 3) as third:
            assert [job["CUDA_VISIBLE_DEVICES"] for job in (first, second, third)] == ["3", "5", "3"]
            assert {job["OMP_NUM_THREADS"] for job in (first, second, third)} == {"2"}
        with _share(tmp_path, 3) as next_one:  # in the place that was left
            assert next_one["CUDA_VISIBLE_DEVICES"] == "5"
    with _share(tmp_path, 1) as alone:
        assert (alone["CUDA_VISIBLE_DEVICES"], "OMP_NUM_THREADS" in alone) == ("3,5", False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # none is to be used
    with _share(tmp_path, 3) as without:
        assert without["CUDA_VISIBLE_DEVICES"] == ""


def test_ctrl_c_stops_a_sweep_and_its_job(tmp_path):
    folder = tmp_path / "sweep"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    sweep = subprocess.Popen(
        [
            sys.executable,
            "train.py",
            "-m",
            "model=rnn,gru",
            *REST,
            "trainer.max_steps=100000",
            f"hydra.sweep.dir={folder}",
        ],
        cwd=ROOT,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell lets the commands ignore that it starts in the background, tests among them.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: (folder / "0/checkpoints/last.ckpt").exists())
    sweep.send_signal(signal.SIGINT)
    output, errors = sweep.communicate(timeout=90)
    assert sweep.returncode == 130
    assert errors == f"error: interrupted: `train.py -m resume={folder}` goes on\n"
    assert "unfinished" in output
    assert not is_locked(folder / "0")
    assert not (folder / "1").exists()
    assert not (folder / "0/failure.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["model=rnn,gruu"], "model=gruu: there is no such option; did you mean gru?"),
        (["modle=rnn,gru"], "modle: there is no such key; did you mean model?"),
        (["model=rnn,gru", "model.hiden_size=3"], "did you mean hidden_size?"),
        (["resume=nowhere"], "nowhere: is no sweep's folder"),
        (["resume=SWEEP", "model=gru"], "model=gru cannot be changed in a sweep that goes on"),
        (["model=rnn,gru", "hydra.sweep.dir=SWEEP"], "holds a sweep already"),
    ],
)
def test_wrong_use_of_a_sweep_is_told_in_one_line(tmp_path, arguments, line):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text(json.dumps({"folder": str(ROOT), "arguments": ["model=rnn"]}))
    given = [argument.replace("SWEEP", str(sweep)) for argument in arguments]
    if not any("sweep.dir" in argument or "resume" in argument for argument in given):
        given.append(f"hydra.sweep.dir={tmp_path}/new")
    result = door("train.py", "-m", *given)
    assert result.returncode in (1, 2)
    assert line in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "new").exists()
    assert [path.name for path in sweep.iterdir()] == ["sweep.json"]


def test_a_folder_of_somebody_else_runs_no_code(tmp_path):
    for argument in (
        "hydra/launcher=submitit_local",
        "hydra.sweeper._target_=os.system",
        "+hydra.job.env_set.A=b",
        "--config-dir=theirs",
        "model=../../theirs/evil",
    ):
        stored = {"folder": str(ROOT), "arguments": ["-m", "model=rnn,gru", argument]}
        (tmp_path / "sweep.json").write_text(json.dumps(stored))
        result = door("train.py", "-m", f"resume={tmp_path}")
        assert result.returncode == 1
        assert f"{argument} is not taken from a file" in result.stderr


def test_two_processes_do_not_write_one_folder(tmp_path):
    folder = tmp_path / "run"
    composed(*REST, "truncation=k8", folder=folder)
    with locked(folder, "a run"):
        second = door("train.py", f"resume={folder}")
        assert second.returncode == 1
        told = f"{folder}: a run is at work there, in another process: wait for it, or name another folder"
        assert second.stderr == f"error: {told}\n"
        assert sorted(path.name for path in folder.iterdir()) == [".hydra", ".lock", "config.yaml"]
    run(folder)
    assert not (folder / ".lock").exists()


def test_a_lock_that_its_holder_has_just_taken_away_is_no_lock(tmp_path, monkeypatch):
    """B opens the file of A, which then ends; C comes. B and C must not both be in."""
    with ExitStack() as b:
        with ExitStack() as a:
            a.enter_context(locked(tmp_path, "a run"))
            monkeypatch.setattr("unroll.locking.time.sleep", lambda _: a.close())  # B is waiting with A's file in hand
            b.enter_context(locked(tmp_path, "a run"))
        monkeypatch.undo()
        assert is_locked(tmp_path)
        with pytest.raises(UserError, match="a run is at work there"), locked(tmp_path, "a run"):
            pass
    assert not is_locked(tmp_path)


def test_ray_runs_the_jobs(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs pip install -e '.[ray]'")
    folder = tmp_path / "sweep"
    result = door("train.py", "-m", "launcher=ray", "truncation=k8,full", *REST, f"hydra.sweep.dir={folder}")
    assert result.returncode == 1
    assert "error: 1 of 2 jobs failed" in result.stderr
    composed(*REST, "truncation=k8", folder=tmp_path / "alone")
    run(tmp_path / "alone")
    theirs = metrics(tmp_path / "alone")
    assert metrics(folder / "0") == {name: value for name, value in theirs.items() if name.startswith("val/")}


@in_proc
def test_a_search_that_was_killed_has_the_trials_that_were_asked_for(tmp_path):
    folder = tmp_path / "search"
    space = ["model=rnn,gru", "optimizer.lr=interval(1e-4,1e-2)", "truncation=k8"]
    kill_in_job(folder / "1", "sweep=optuna", "sweep.trials=2", "sweep.at_once=2", *space, *REST)
    result = door("train.py", "-m", f"resume={folder}")
    assert result.returncode == 0, result.stderr
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder}/optuna.db")
    assert [trial.state.name for trial in study.trials] == 2 * ["COMPLETE"]
    for trial in study.trials:
        assert trial.value == metrics(folder / str(trial.number))["val/bpc"]
        settings = yaml.safe_load((folder / f"{trial.number}/config.yaml").read_text())
        assert settings["optimizer"]["lr"] == trial.params["optimizer.lr"]
        assert settings["choices"]["model"] == trial.params["model"]
        assert sorted(trial.intermediate_values) == [8, 16, 24]


@pytest.mark.parametrize("is_search", [True, False])
def test_what_failed_is_running_only_where_it_is_tried_again(tmp_path, capsys, is_search):
    for name in "012":
        composed(*SMALL, folder=tmp_path / name)
    (tmp_path / "0/summary.json").touch()
    (tmp_path / "1/failure.txt").write_text("the file is empty")
    if is_search:
        (tmp_path / "optuna.db").touch()
    with watched(tmp_path, ["model=lstm,gru"]):
        time.sleep(1.5)  # it looks twice a second
    told = capsys.readouterr().out
    assert (tmp_path / "1/failure.txt").exists() == is_search
    assert "1 jobs are finished, and kept" in told
    assert [number for number in "012" if f"job {number} " in told] == (["2"] if is_search else ["1", "2"])


def test_a_trial_that_falls_behind_is_stopped(tmp_path):
    """The second is worse at its first validation than the first was."""
    study = optuna.create_study(
        study_name=tmp_path.name,
        storage=f"sqlite:///{tmp_path}/optuna.db",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
    )
    for number, rate in enumerate((0.01, 0.0)):
        trial = study.ask()
        composed(
            *REST,
            "sweep=optuna",
            "sweep.startup=1",
            "truncation=k8",
            f"optimizer.lr={rate}",
            folder=tmp_path / str(number),
        )
        config = yaml.safe_load((tmp_path / f"{number}/config.yaml").read_text())
        config["choices"]["sweep"] = tmp_path.name
        (tmp_path / f"{number}/config.yaml").write_text(yaml.safe_dump(config))
        run(tmp_path / str(number))
        if not number:
            study.tell(trial, metrics(tmp_path / "0")["val/bpc"])
    assert [json.loads((tmp_path / name / "summary.json").read_text())["steps"] for name in "01"] == [24, 8]
    assert [was_pruned(study, number) for number in (0, 1)] == [False, True]
    whole, pruned = read_runs([tmp_path])
    assert (whole.state, pruned.state, pruned.summary["pruned_at"]) == ("finished", "pruned", 8)
    shown = io.StringIO()
    console = Console(width=120, file=shown)
    console.print(comparison_table([whole, pruned], console))
    assert "1 (pruned)" in shown.getvalue()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["model=gru"], "nothing is searched"),
        (["optimizer.lr=interval(1e-2,1e-4)"], "an interval is from less to more"),
        (["model=rnn,gru", "sweep.sampler=grid"], "sweep.sampler=grid: input should be 'tpe' or 'random'"),
        (["model=rnn,gru", "sweep.pruner=x"], "sweep.pruner=x: input should be 'median', 'hyperband' or 'none'"),
        (["model=rnn,gru", "sweep.trials=abc"], "sweep.trials=abc: input should be a valid integer"),
        (["model=rnn,gru", "sweep.at_once=0"], "sweep.at_once=0: input should be greater than 0"),
    ],
)
def test_wrong_use_of_a_search_is_told_in_one_line(tmp_path, arguments, line):
    result = door("train.py", "-m", "sweep=optuna", *arguments, f"hydra.sweep.dir={tmp_path}/new")
    assert result.returncode == 2
    assert line in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "new").exists()


def test_what_a_config_sweeps_over_is_spelled_out_and_the_command_line_replaces_it():
    whole = spelled_out(["-m", "experiment=memory_horizon"])
    assert whole[:2] == ["-m", "experiment=memory_horizon"] and whole[-1] == "hydra.sweeper.params=null"
    assert swept(whole) == {"model": 7, "truncation": 3, "data.lag": 5}
    some = spelled_out(["-m", "experiment=memory_horizon", "model=lstm", "data.lag=5,10"])
    assert swept(some) == {"truncation": 3, "data.lag": 2} and "model=lstm" in some
    assert spelled_out(["-m", "model=rnn,lstm"]) == ["-m", "model=rnn,lstm"]
    # Keys that only what is swept over has.
    assert spelled_out(["-m", "model=skip,skip_only", "task=recall", "model.cell.distance=3", "data.lag=5"]) == [
        "-m", "model=skip,skip_only", "task=recall", "model.cell.distance=choice(3)", "data.lag=choice(5)",
    ]  # fmt: skip
    kept = ["-m", "model=rnn,lstm", "task=recall", "data.lag=5", "model.hidden_size=9"]
    assert spelled_out(kept) == kept
    OptunaSweeper(1, "tpe", "none", None, 1, 0, params=None)  # as the config has it then


def test_a_range_needs_a_search(tmp_path):
    result = door("train.py", "-m", "optimizer.lr=interval(1e-4,1e-2)", f"hydra.sweep.dir={tmp_path}/new")
    assert result.returncode == 2
    assert "sweep=optuna" in result.stderr and result.stderr.count("\n") == 1, result.stderr
