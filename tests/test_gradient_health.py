"""Gradients that are no numbers, that vanish, or that explode."""

import re

import pytest
import torch
from conftest import SMALL, composed

from unroll.checkpoint import read_checkpoint
from unroll.composing import groups
from unroll.errors import UserError
from unroll.gradient_health import Watch
from unroll.job import run

WILD = ["logger=none", "trainer.accelerator=cpu", "model.hidden_size=16", "optimizer=sgd", "schedule=constant"]
WILD += [
    "optimizer.lr=1000",
    "optimizer.weight_decay=1",
    "trainer.gradient_clip_val=null",
    "schedule.warmup_steps=10",
    "trainer.max_epochs=-1",
]
WILD += ["trainer.max_steps=40", "trainer.val_check_interval=1000", "trainer.check_val_every_n_epoch=null"]
WILD += ["callbacks.last.every_n_steps=1", "trainer.log_every_n_steps=30"]


@pytest.mark.parametrize("task", groups()["task"])
def test_training_that_leaves_all_numbers_stops_and_says_where(task, tmp_path):
    sized = ["data.sizes=[600,60,60]"] if "sizes" in composed(f"task={task}")["data"] else []
    composed(f"task={task}", *WILD, *sized, folder=tmp_path / "run")
    with pytest.raises(UserError, match=r"^(the gradient's norm|a weight) is no number in update \d+: ") as refused:
        run(tmp_path / "run")
    kept = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert all(weight.isfinite().all() for weight in kept["state_dict"].values() if weight.is_floating_point())
    told = str(refused.value)
    if told.startswith("the gradient"):
        assert f"in update {kept['global_step'] + 1}: " in told
        name = told.partition("the largest weight is ")[2].partition(", in ")[2].partition(";")[0]
        largest = max(kept["state_dict"][key].abs().max() for key in kept["state_dict"])
        assert kept["state_dict"][name].abs().max() == largest
        assert re.search(r"the largest state is [\d.e+]+, in \w|the state of .* is not finite after", told)
    else:
        assert " not finite; " in told
    assert (
        f"the checkpoint of step {kept['global_step']} is kept; for a new run, from there by init_from= or anew: "
        in told
    )


def test_a_parameter_that_no_longer_learns_is_named_once():
    watch = Watch()
    gradients = {"a": torch.ones(4), "b": torch.full((9,), 2.0), "c": torch.full((4,), 1e-9)}
    told = [watch.look(gradients, 6.3) for _ in range(8)]
    assert [len(lines) for lines in told] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert told[4][0].startswith("note: the gradient of c has vanished: 1.0e-09 an entry, where 1.0e+00 is usual")


def test_a_gradient_that_explodes_is_told_once_with_the_parameter_that_has_most_of_it():
    watch = Watch()
    for norm in (1.0, 1.2, 0.9, 1.1, 1.0):
        assert watch.look({"a": torch.ones(4), "b": torch.ones(4)}, norm) == []
    (line,) = watch.look({"a": torch.ones(4), "b": torch.full((4,), 3.0)}, 150.0)
    assert line.startswith("note: the gradient explodes: its norm is 150, where 1 was usual; most of it is that of b")
    assert watch.look({"a": torch.ones(4), "b": torch.ones(4)}, 200.0) == []


def test_a_healthy_run_tells_nothing(tmp_path, capsys):
    composed(*SMALL, "trainer.max_steps=40", "trainer.log_every_n_steps=2", "test=false", folder=tmp_path / "run")
    run(tmp_path / "run")
    assert "note:" not in capsys.readouterr().out
