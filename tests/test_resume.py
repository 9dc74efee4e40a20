"""Runs that go on: with a larger budget, under every schedule, from another place. tests/faults has those that are killed."""

import csv
import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import SMALL, composed, door, resume

from unroll.checkpoint import BestCheckpoint, LastCheckpoint, read_checkpoint
from unroll.job import run
from unroll.writing import written_whole

# Dropout and resets draw random numbers; three layers' worth of state is carried; validation falls into the epochs.
RUN = [
    *SMALL,
    "model.num_layers=2",
    "model.dropout=0.2",
    "truncation.reset_probability=0.1",
    "truncation.horizon=24",
    "truncation.vary_length=true",
    "data=text_files",
    "data.batch_size=8",
    "trainer.max_steps=200",
    "trainer.val_check_interval=0.4",
    "callbacks.last.every_n_steps=7",
    "optimizer.lr=0.01",
]


def rows(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without what a clock says."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if "second" not in key} for row in csv.DictReader(file)]


def test_a_larger_budget_goes_on_as_if_it_had_been_so_from_the_start(tmp_path, text):
    logged = ["trainer.gradient_clip_val=0.21", "trainer.log_every_n_steps=10"]
    overrides = [*RUN, *logged, "schedule=constant", f"data.path={text}", f"data.cache_dir={tmp_path}/cache"]
    composed(*overrides, "trainer.max_steps=60", folder=tmp_path / "whole")
    composed(*overrides, "trainer.max_steps=33", folder=tmp_path / "two")
    run(tmp_path / "whole")
    run(tmp_path / "two")
    result = door("train.py", f"resume={tmp_path}/two", "trainer.max_steps=60")
    assert result.returncode == 0, result.stderr
    ours, theirs = (read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in ("two", "whole"))
    told = (tmp_path / "two/train.log").read_text()  # which settings both processes took
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight), f"{name}\n{told}"
    ours, theirs = ([row for row in rows(tmp_path / name) if row["learning_rate"]] for name in ("two", "whole"))
    assert ours == theirs, "of the steps 31 to 40 a part was seen before the end"


@pytest.mark.parametrize("schedule", ["one_cycle", "plateau"])
def test_more_epochs_go_on_with_every_schedule(tmp_path, text, schedule):
    overrides = [*RUN, f"data.path={text}", f"data.cache_dir={tmp_path}/cache", f"schedule={schedule}"]
    composed(*overrides, "trainer.max_steps=-1", "trainer.max_epochs=1", folder=tmp_path / "run")
    run(tmp_path / "run")
    result = door("train.py", f"resume={tmp_path}/run", "trainer.max_epochs=2")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["epochs"] == 2


def test_a_plateau_counts_validations(tmp_path, text):
    """Four validations in an epoch without a better value: patience 1 is used up twice."""
    overrides = [*RUN, f"data.path={text}", f"data.cache_dir={tmp_path}/cache", "schedule=plateau"]
    unchanging = ["schedule.warmup_steps=0", "schedule.patience=1", "trainer.val_check_interval=0.2"]
    frozen = ["optimizer=sgd", "optimizer.lr=1e-30", "trainer.max_steps=-1", "trainer.max_epochs=1"]
    composed(*overrides, *unchanging, *frozen, folder=tmp_path / "run")
    run(tmp_path / "run")
    rates = [float(row["learning_rate"]) for row in rows(tmp_path / "run") if row["learning_rate"]]
    assert rates[0] == 1e-30
    # The first of five is the best; the third and the fifth lower the rate, the fifth after the last logged step.
    assert rates[-1] == pytest.approx(0.5e-30)


def test_a_moved_run_goes_on_and_still_knows_its_best(tmp_path, text):
    overrides = [*RUN, f"data.path={text}", f"data.cache_dir={tmp_path}/cache", "schedule=constant"]
    composed(*overrides, "trainer.max_steps=40", folder=tmp_path / "here")
    run(tmp_path / "here")
    best = (tmp_path / "here/checkpoints/best.ckpt").read_bytes()
    (tmp_path / "here").rename(tmp_path / "there")
    config = (tmp_path / "there/config.yaml").read_text()
    # From here on the weights only get worse: best.ckpt must stay.
    (tmp_path / "there/config.yaml").write_text(
        config.replace("max_steps: 40", "max_steps: 60").replace("max_epochs: -1", "max_epochs: -1")
    )
    checkpoint = read_checkpoint(tmp_path / "there/checkpoints/last.ckpt")
    for weight in checkpoint["state_dict"].values():
        weight.mul_(30)
    torch.save(checkpoint, tmp_path / "there/checkpoints/last.ckpt")
    run(tmp_path / "there")
    assert (tmp_path / "there/checkpoints/best.ckpt").read_bytes() == best


def test_the_best_is_no_number_only_until_there_is_one(tmp_path):
    saved = []
    trainer = SimpleNamespace(default_root_dir=tmp_path, save_checkpoint=saved.append, callback_metrics={})
    best = BestCheckpoint("val/loss", "min")
    for score in (math.nan, 3.0, math.nan, 4.0, 2.0):
        trainer.callback_metrics["val/loss"] = torch.tensor(score)
        best.on_validation_end(trainer, None)
    assert (len(saved), best.score) == (3, 2.0)


def test_an_optimizer_whose_moments_have_other_shapes_goes_on(tmp_path, text):
    adafactor = ["optimizer._target_=torch.optim.Adafactor", "~optimizer.betas", "~optimizer.fused"]
    whole, two = tmp_path / "whole", tmp_path / "two"
    for folder, steps in ((whole, 6), (two, 3)):
        composed(
            *SMALL,
            *adafactor,
            "data=text_files",
            f"data.path={text}",
            f"data.cache_dir={tmp_path}/cache",
            f"trainer.max_steps={steps}",
            "schedule=constant",
            folder=folder,
        )
        run(folder)
    resume(two, "trainer.max_steps=6")
    ours, theirs = (read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"] for folder in (two, whole))
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())


def test_an_optimizer_of_other_weights_is_refused_before_it_writes(tmp_path):
    folder = tmp_path / "run"
    small = ["task=recall", "data.sizes=[200,40,40]", "model.hidden_size=16", "logger=none", "trainer.max_steps=3"]
    assert door("train.py", *small, f"hydra.run.dir={folder}").returncode == 0
    path = folder / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    names = checkpoint["optimized"]
    names[0], names[1] = names[1], names[0]
    torch.save(checkpoint, path)
    result = door("train.py", f"resume={folder}", "trainer.max_steps=5")
    assert result.returncode == 1
    assert result.stderr.startswith("error: the checkpoint's optimizer was that of a model with other weights")


def test_what_is_written_is_on_the_disk_before_it_takes_the_old_one_s_place(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr("os.fsync", lambda number: done.append("fsync") or fsync(number))
    monkeypatch.setattr(Path, "replace", lambda path, to: done.append("replace") or replace(path, to))
    with written_whole(tmp_path / "a") as path:
        path.write_text("x")
    assert done == ["fsync", "replace"]


def test_nothing_is_saved_within_the_batches_of_one_update(tmp_path, monkeypatch):
    within = []
    save = LastCheckpoint._save
    monkeypatch.setattr(
        LastCheckpoint,
        "_save",
        lambda last, trainer: (within.append(trainer.fit_loop._should_accumulate()), save(last, trainer)),
    )
    settings = ["trainer.accumulate_grad_batches=2", "callbacks.last.every_n_steps=1", "test=false"]
    composed(*SMALL, "trainer.max_steps=4", *settings, folder=tmp_path / "run")
    run(tmp_path / "run")
    assert within[:-1] == [False] * 4  # the last is the run's end


def test_another_seed_is_another_run(tmp_path):
    first = []
    for seed in (1, 2):
        composed(*SMALL, "trainer.max_steps=1", "test=false", f"seed={seed}", folder=tmp_path / str(seed))
        run(tmp_path / str(seed))
        first.append(read_checkpoint(tmp_path / f"{seed}/checkpoints/last.ckpt")["state_dict"])
    for name, weight in first[0].items():
        if weight.dim() > 1:  # biases begin alike
            assert not torch.equal(weight, first[1][name]), name
