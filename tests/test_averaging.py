"""Averaged weights, and rates that follow a window's length, against the same arithmetic by hand."""

import json
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from conftest import SMALL, composed

from unroll.averaging import NonMonotonicAveraging
from unroll.building import build_data, build_task
from unroll.checkpoint import read_checkpoint
from unroll.evaluation import evaluate
from unroll.job import run
from unroll.trainer import build_trainer

SGD = [
    *SMALL,
    "optimizer=sgd",
    "schedule=constant",
    "schedule.warmup_steps=0",
    "trainer.gradient_clip_val=null",
    "data=text_files",
]


class Watching(lightning.Callback):
    """Keeps the weights after each update, and what led there."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.weights = [self.now()]
        self.moves: list[torch.Tensor] = []
        self.batches: list[Any] = []

    def now(self) -> torch.Tensor:
        return torch.cat([weight.detach().flatten() for weight in self.task.parameters()])

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.moves.append(torch.cat([weight.grad.flatten() for weight in pl_module.parameters()]))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.weights.append(self.now())
        self.batches.append(batch)


def trained(folder: Any, text: Any, *overrides: str) -> tuple[Watching, lightning.Trainer]:
    config = composed(*SGD, f"data.path={text}", f"data.cache_dir={folder}/cache", *overrides, folder=folder)
    lightning.seed_everything(1, verbose=False)
    data = build_data(config)
    data.prepare_data()
    task = build_task(config, data.spec)
    trainer, _ = build_trainer(config, folder)
    watching = Watching(task)
    trainer.callbacks.insert(0, watching)
    trainer.fit(task, data)
    return watching, trainer


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_averaging_begins_when_a_validation_is_worse_than_all_before_the_last_few(mode, sign):
    """Merity et al. 2018, algorithm 1: t > n and v > min(logs[:t - n]). Killed and resumed after each."""
    scores, begins = [5.0, 6.0, 6.0, 5.5, 4.0, 5.1, 3.0, 3.5], []
    averaging = NonMonotonicAveraging(monitor="loss", mode=mode, patience=3)
    for score in scores:
        averaging.on_validation_end(SimpleNamespace(callback_metrics={"loss": torch.tensor(sign * score)}), None)
        begins.append(averaging.begun)
        stored, averaging = averaging.state_dict(), NonMonotonicAveraging(monitor="loss", mode=mode, patience=3)
        averaging.load_state_dict(stored)
    logs = [t > 3 and scores[t] > min(scores[: t - 3]) for t in range(len(scores))]
    assert begins == [any(logs[: t + 1]) for t in range(len(scores))]
    assert begins.index(True) == 5


@pytest.mark.parametrize("windows", [1, 2])
def test_the_rate_of_an_update_follows_the_length_of_its_windows(tmp_path, text, windows):
    settings = ["truncation.vary_length=true", "optimizer.lr=0.5", f"trainer.accumulate_grad_batches={windows}"]
    watching, trainer = trained(tmp_path / "run", text, *settings, "trainer.max_steps=6")
    every = [len(batch.targets) for batch in watching.batches]
    lengths = [fmean(every[first : first + windows]) for first in range(0, len(every), windows)]
    usual = trainer.datamodule.length
    assert len(set(lengths)) > 1
    weights = watching.weights[::windows]
    for before, after, move, length in zip(weights[:-1], weights[1:], watching.moves, lengths, strict=True):
        torch.testing.assert_close(after, before - 0.5 * length / usual * move, rtol=0, atol=1e-7)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5


def test_weights_are_averaged_from_where_validation_no_longer_gets_better(tmp_path, text, monkeypatch):
    scores = iter([5.0, 4.0, 4.5, 4.2, 4.1, 3.0, 3.0])  # the fourth is no better than the best of the first two

    def told(averaging: NonMonotonicAveraging, trainer: Any, module: Any) -> None:
        score.fill_(next(scores))
        seen.append((averaging.begun, Watching(averaging._average_model.module).now(), Watching(module).now()))
        plain(averaging, trainer, module)

    seen: list[Any] = []
    score = torch.zeros(())
    monkeypatch.setattr(lightning.Trainer, "callback_metrics", {"val/loss": score, "val/bpc": score})
    plain = NonMonotonicAveraging.on_validation_end
    monkeypatch.setattr(NonMonotonicAveraging, "on_validation_end", told)
    averaging = ["callbacks=averaging", "callbacks.averaging.patience=1", "callbacks.averaging.monitor=val/loss"]
    often = ["trainer.max_steps=35", "trainer.val_check_interval=5", "trainer.check_val_every_n_epoch=null"]
    watching, _ = trained(tmp_path / "run", text, *averaging, *often)
    assert [begun for begun, _, _ in seen] == [False] * 4 + [True] * 3
    for number, (begun, average, now) in enumerate(seen):
        step = 5 * (number + 1)
        assert torch.equal(now, watching.weights[step])
        expected = torch.stack(watching.weights[20 : step + 1]).double().mean(0).float() if begun else now
        torch.testing.assert_close(average, expected, rtol=0, atol=1e-6)
    # What is kept to be used is the average, and to go on, the weights.
    last = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    kept = torch.cat([weight.flatten() for weight in last["state_dict"].values()])
    goes_on = torch.cat([weight.flatten() for weight in last["current_model_state"].values()])
    assert torch.equal(goes_on, watching.weights[35]) and torch.equal(kept, seen[-1][1])


def test_the_score_of_a_run_is_that_of_the_weights_it_kept(tmp_path, text):
    folder = tmp_path / "run"
    averaging = ["callbacks=averaging", "callbacks.averaging.patience=0", "optimizer.lr=20"]
    often = ["trainer.max_steps=33", "trainer.val_check_interval=5", "trainer.check_val_every_n_epoch=null"]
    composed(*SGD, f"data.path={text}", f"data.cache_dir={tmp_path}/cache", *averaging, *often, folder=folder)
    run(folder)
    (state,) = [
        state
        for name, state in read_checkpoint(folder / "checkpoints/last.ckpt")["callbacks"].items()
        if "Averaging" in name
    ]
    assert state["begun"]
    summary = json.loads((folder / "summary.json").read_text())["metrics"]
    for split, short in (("validation", "val"), ("test", "test")):
        found = evaluate(folder, split, "best", None, "cpu", [], [])
        assert {f"{short}/{name}": value for name, value in found.items()} == {
            name: value for name, value in summary.items() if name.startswith(f"{short}/")
        }
