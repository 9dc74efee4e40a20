"""What training says of itself."""

import csv
import json
import time

import pytest
import torch
from conftest import SMALL, composed

from unroll.checkpoint import read_checkpoint
from unroll.insight.watching_gradients import GradientFlow
from unroll.job import run


def train_seconds_with(folder, *settings):
    composed(*SMALL, "trainer.max_steps=4", "test=false", *settings, folder=folder)
    run(folder)
    return json.loads((folder / "summary.json").read_text())["train_seconds"]


def test_what_is_measured_beside_training_is_not_training(tmp_path, monkeypatch):
    late = 0.0
    clock = time.perf_counter
    measure = GradientFlow._measure

    def takes_hours(*arguments):
        nonlocal late
        late += 10_000
        return measure(*arguments)

    monkeypatch.setattr(GradientFlow, "_measure", takes_hours)
    monkeypatch.setattr("unroll.training_log.time.perf_counter", lambda: clock() + late)
    flow = ["callbacks=gradient_flow", "callbacks.gradient_flow.every_n_steps=2"]
    assert train_seconds_with(tmp_path / "run", *flow) < 1000
    assert late >= 30_000  # before the first step, after the second and the fourth


def test_epochs_are_counted_in_updates(tmp_path):
    """Of an epoch's batches the last ones may be fewer than are accumulated."""
    settings = [*SMALL, "task=recall", "data.sizes=[640,64,64]", "data.batch_size=64", "trainer.max_steps=-1"]
    composed(*settings, "trainer.accumulate_grad_batches=4", "trainer.max_epochs=2", folder=tmp_path / "run")
    run(tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["steps"], summary["epochs"]) == (6, 2.0)


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


SGD = [
    "optimizer=sgd",
    "optimizer.lr=0.5",
    "schedule=constant",
    "schedule.warmup_steps=0",
    "test=false",
    "trainer.log_every_n_steps=1",
]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_logged_norm_is_that_of_the_gradient_before_it_is_clipped(tmp_path, accumulate):
    # SGD moves the weights by lr times the gradient.
    weights = []
    for steps in (1, 2):
        folder = tmp_path / str(steps)
        clip = f"trainer.accumulate_grad_batches={accumulate}", "trainer.gradient_clip_val=null"
        composed(*SMALL, *SGD, *clip, f"trainer.max_steps={steps}", folder=folder)
        run(folder)
        weights.append(read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"])
    moved = [weights[1][name] - weight for name, weight in weights[0].items() if weight.is_floating_point()]
    free = [float(row["gradient_norm"]) for row in rows(folder) if row["gradient_norm"]]
    assert len(free) == 2
    assert free[1] == pytest.approx(torch.nn.utils.get_total_norm(moved).item() / 0.5, rel=1e-4)
    weights = []
    limit = 0.99 * free[0]
    clip = f"trainer.accumulate_grad_batches={accumulate}", f"trainer.gradient_clip_val={limit}"
    for steps in (1, 2):
        folder = tmp_path / f"clipped{steps}"
        composed(*SMALL, *SGD, *clip, f"trainer.max_steps={steps}", folder=folder)
        run(folder)
        weights.append(read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"])
    told = [row for row in rows(folder) if row["gradient_norm"]]
    assert float(told[0]["gradient_norm"]) == free[0]
    assert float(told[0]["gradient_norm_after_clipping"]) == limit
    assert [float(row["clipped_share"]) for row in told] == [1.0, float(float(told[1]["gradient_norm"]) > limit)]
    moved = [weights[1][name] - weight for name, weight in weights[0].items() if weight.is_floating_point()]
    norm = torch.nn.utils.get_total_norm(moved).item() / 0.5
    assert float(told[1]["gradient_norm_after_clipping"]) == pytest.approx(norm, rel=1e-4)


def test_every_row_says_how_much_was_seen_and_in_which_time(tmp_path):
    composed(*SMALL, "trainer.max_steps=10", "trainer.val_check_interval=7", "test=false", folder=tmp_path / "run")
    run(tmp_path / "run")
    found = rows(tmp_path / "run")
    assert [(row["step"], bool(row["val/bpc"])) for row in found] == [
        ("5", False),
        ("7", True),
        ("10", False),
        ("10", True),
    ]
    assert [float(row["characters"]) for row in found] == [4 * 16 * int(row["step"]) for row in found]
    seconds = [float(row["train_seconds"]) for row in found]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_clipping_by_value_bounds_each_number_of_a_gradient(tmp_path):
    weights = []
    clipped = ["trainer.gradient_clip_val=1e-4", "trainer.gradient_clip_algorithm=value"]
    for steps in (1, 2):
        composed(*SMALL, *SGD, *clipped, f"trainer.max_steps={steps}", folder=tmp_path / str(steps))
        run(tmp_path / str(steps))
        weights.append(read_checkpoint(tmp_path / f"{steps}/checkpoints/last.ckpt")["state_dict"])
    moved = torch.cat([(weights[1][name] - weight).abs().flatten() for name, weight in weights[0].items()])
    assert moved.max().item() == pytest.approx(0.5 * 1e-4, rel=1e-2)  # of the rate
    assert (moved > 0.49e-4).sum() > 1
