"""What every task can do; tasks are found by looking. Each on the data that it has by default, which needs no network."""

import argparse
import csv
import json
import re
from functools import cache
from pathlib import Path

import lightning
import pytest
import torch
from conftest import composed, door, resume
from doors import together
from hydra.utils import get_class

import unroll
from unroll.building import build_data, build_task, load_spec
from unroll.checkpoint import read_checkpoint
from unroll.composing import groups
from unroll.data.memory import MemoryData
from unroll.errors import UsageError
from unroll.job import run
from unroll.runs import read_config
from unroll.summary import measured

TASKS = groups()["task"]
SMALL = [
    "logger=none",
    "model.hidden_size=16",
    "schedule=constant",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=-1",
    "trainer.max_steps=20",
    "trainer.val_check_interval=8",
    "trainer.check_val_every_n_epoch=null",
    "trainer.log_every_n_steps=5",
    "callbacks.last.every_n_steps=6",
]


def _of_each_class() -> list[str]:
    """A task of each class: what trains, stops and goes on alike is tested once."""
    found: dict[tuple[str, bool], str] = {}
    for task in TASKS:
        config = composed(f"task={task}")
        generated = issubclass(get_class(config["data"]["_target_"]), MemoryData)
        has_numbers = generated and not build_data(config).spec.symbols  # where others of its class have symbols
        found.setdefault((config["task"]["_target_"], has_numbers), task)
    return list(found.values())


ONE_OF_EACH = _of_each_class()


def _of_each_loader() -> list[str]:
    """A task of each way to read what is trained on."""
    loaders = {task: get_class(composed(f"task={task}")["data"]["_target_"]).train_dataloader for task in ONE_OF_EACH}
    return list({loader: task for task, loader in loaders.items()}.values())


def small(task: str) -> list[str]:
    """The overrides of a small run; of a small corpus where it is generated in any size."""
    config = composed(f"task={task}")
    sizes = {"data.sizes": "[400,40,40]", "data.size": 6, "data.eval_batch_tokens": 4000, "task.max_output_ratio": 0.1}
    if "eval_batch_tokens" in config["data"]:  # where batches are measured in tokens alone
        sizes["data.batch_tokens"] = 600
    fitting = {key: value for key, value in sizes.items() if key.split(".")[1] in config[key.split(".")[0]]}
    return [f"task={task}", *SMALL, *(f"{key}={value}" for key, value in fitting.items())]


def bare(task: str) -> list[str]:
    """The same without what is drawn, written or fitted beside training, where the training is what is tested."""
    beside = ["callbacks.alignments=null", "callbacks.samples=null"]
    return [*small(task), *beside, *(["task.baseline=false"] if "baseline" in composed(f"task={task}")["task"] else [])]


@cache
def cost(task: str) -> str:
    """The name of what it minimizes."""
    config = composed(*small(task))
    data = build_data(config)
    data.prepare_data()
    return next(iter(build_task(config, data.spec).metrics(1.0)))


@pytest.fixture(scope="module", params=ONE_OF_EACH)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of this task, through the door."""
    folder = tmp_path_factory.mktemp("run") / request.param
    result = door("train.py", *small(request.param), f"hydra.run.dir={folder}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder


def test_a_run_ends_with_its_scores(finished):
    config = composed(f"task={finished.name}")
    data = build_data(config)
    data.prepare_data()
    task = build_task(config, data.spec)
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["steps"] == 20
    assert set(summary["metrics"]) == {
        f"{split}/{name}" for split in ("val", "test") for name in task.evaluation_metrics
    }
    watched = config["watch"]["metric"]
    assert watched in summary["metrics"]
    # The best is the best of all validations, and what was measured of it at the end, by a wider search, does not count.
    with (finished / "metrics.csv").open(newline="") as file:
        validations = [float(row[watched]) for row in csv.DictReader(file) if row[watched]]
    (score,) = (
        state["score"]
        for name, state in read_checkpoint(finished / "checkpoints/best.ckpt")["callbacks"].items()
        if "BestCheckpoint" in name
    )
    assert len(validations) == 3
    assert score == pytest.approx((min if config["watch"]["mode"] == "min" else max)(validations), rel=1e-6)
    assert (finished / "figures/learning_curve.png").exists()
    assert not list(finished.rglob("*unfinished*"))


def test_evaluate_gives_the_summarys_figures(finished):
    result = door("evaluate.py", str(finished))
    assert result.returncode == 0, result.stderr
    metrics = json.loads((finished / "evaluation/test.json").read_text())["metrics"]
    summary = json.loads((finished / "summary.json").read_text())["metrics"]
    assert metrics == {name: pytest.approx(summary[f"test/{name}"], rel=1e-6, abs=1e-7) for name in metrics}
    result = door("evaluate.py", str(finished), "--split", "train+nonsense")
    assert result.returncode == 2
    assert "split nonsense: there is no such split; valid: train, validation, test" in result.stderr


def test_scores_do_not_depend_on_how_they_are_batched(finished):
    # In double precision, so that what is left of rounding is so small that anything else shows.
    config = read_config(finished)
    found = []
    for sizes in ({}, {"batch_size": 3, "eval_batch_size": 7, "batch_tokens": 301, "eval_batch_tokens": 301}):
        config["data"].update({key: size for key, size in sizes.items() if key in config["data"]})
        data = build_data(config)
        data.adopt(load_spec(config, finished))
        data.prepare_data()
        trainer = lightning.Trainer(
            accelerator="cpu",
            precision="64-true",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
        )
        trainer.test(unroll.load(finished), dataloaders=data.eval_dataloader("validation+test"), verbose=False)
        found.append(measured(trainer))
    default, other = found
    assert other == {name: pytest.approx(value, rel=1e-6, abs=1e-9) for name, value in default.items()}


def test_predict_tells_its_options(finished):
    result = door("predict.py", str(finished), "--help")
    assert result.returncode == 0, result.stderr
    task = unroll.load(finished)
    parser = argparse.ArgumentParser()
    task.add_predict_arguments(parser)
    listed = door("predict.py", "--help").stdout
    for action in parser._actions[1:]:
        assert action.option_strings[0] in result.stdout
        assert action.option_strings[0] in listed
    used = f"predict.py {finished}{task.asked}"
    assert used in (finished / "train.log").read_text()
    parser.parse_args(task.asked.split())
    given_nothing = door("predict.py", str(finished))
    assert "Traceback" not in given_nothing.stderr
    if task.asked and "--text" not in task.asked:  # texts may come on standard input
        assert given_nothing.returncode == 2


def test_how_far_gradients_reach_is_shown(finished):
    result = door("evaluate.py", str(finished), "--insight", "gradient_flow", "--sequences", "4")
    assert result.returncode == 0, result.stderr
    assert re.search(r"cell +horizon +a step +radius +gates +units", result.stdout)
    assert (finished / "figures/gradient_flow_test.png").exists()
    with (finished / "evaluation/test_gradient_flow.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells = {row["cell"] for row in rows}
    assert len(cells) == sum("layer" in line for line in result.stdout.splitlines())
    for cell in cells:
        lags = [row for row in rows if row["cell"] == cell]
        assert [int(row["lag"]) for row in lags] == list(range(len(lags)))
        assert max(float(row["median"]) for row in lags) > 0


@pytest.mark.parametrize(
    ("task", "epochs"),
    [
        *((task, -1) for task in ONE_OF_EACH),
        *((task, 50) for task in _of_each_loader()),  # a budget of epochs lets Lightning look at the loaders early
    ],
)
def test_a_run_that_goes_on_is_the_run_that_was_never_stopped(tmp_path, task, epochs):
    # The loss falls from each validation to the next: that which only a stopped run has, at its end, is never the best.
    settings = [*bare(task), f"watch.metric=val/{cost(task)}", "watch.mode=min", f"trainer.max_epochs={epochs}"]
    settings += [] if epochs == -1 else ["test=false"]  # once a task is enough
    composed(*settings, folder=tmp_path / "whole")
    composed(*settings, "trainer.max_steps=13", folder=tmp_path / "two")
    run(tmp_path / "whole")
    run(tmp_path / "two")
    resume(tmp_path / "two", "trainer.max_steps=20")
    ours, theirs = (read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in ("two", "whole"))
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight), name
    ours, theirs = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("two", "whole"))
    assert ours["metrics"] == theirs["metrics"]


@pytest.mark.parametrize("task", ONE_OF_EACH)
def test_two_processes_are_one(tmp_path, task):
    settings = composed(f"task={task}")["task"]
    still = [f"task.{key}=0" for key in settings if key.endswith("dropout")]
    found = {}
    for processes, trainer in ((1, []), (2, ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"])):
        folder = tmp_path / str(processes)
        # Plain gradient descent: Adam would blow rounding up where a gradient is next to nothing. In double precision
        # what is left of it is so small that anything else shows.
        overrides = [*bare(task), *trainer, *still, "optimizer=sgd", "optimizer.lr=0.1", "trainer.precision=64-true"]
        composed(*overrides, folder=folder)
        if processes == 1:
            run(folder)
        else:
            together(folder, processes)
        summary = json.loads((folder / "summary.json").read_text())
        checkpoint = read_checkpoint(folder / "checkpoints/last.ckpt")
        (seen,) = (state["seen"] for name, state in checkpoint["callbacks"].items() if "TrainingLog" in name)
        found[processes] = checkpoint["state_dict"], summary["metrics"], seen
    (weights, scores, seen), (weights_of_two, scores_of_two, seen_of_two) = found[1], found[2]
    assert seen_of_two == pytest.approx(seen, rel=0.02)  # of sentiment it is an estimate
    for name, weight in weights.items():
        torch.testing.assert_close(weights_of_two[name], weight, rtol=0, atol=1e-10)
    assert scores_of_two == {name: pytest.approx(value, rel=1e-4, abs=1e-5) for name, value in scores.items()}


def test_another_process_starts_from_a_runs_weights(tmp_path, finished):
    task = finished.name
    composed(*bare(task), f"init_from={finished}", "optimizer.lr=1e-30", "optimizer=sgd", folder=tmp_path / "next")
    run(tmp_path / "next")
    ours, theirs = (
        read_checkpoint(path) for path in (tmp_path / "next/checkpoints/last.ckpt", finished / "checkpoints/best.ckpt")
    )
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight), name


@pytest.mark.parametrize("task", ONE_OF_EACH)
def test_a_run_that_is_refused_leaves_nothing(tmp_path, task):
    composed(*bare(task), "watch.metric=val/nothing", folder=tmp_path / "run")
    with pytest.raises(UsageError, match="is not measured"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", ONE_OF_EACH)
def test_half_precision_trains_as_single_precision_does(tmp_path, task):
    losses = {}
    for precision, kept in (("32-true", torch.float32), ("bf16-mixed", torch.float32), ("bf16-true", torch.bfloat16)):
        folder = tmp_path / precision
        settings = ["schedule.warmup_steps=0", "optimizer.lr=0.003", "trainer.val_check_interval=20", "test=false"]
        composed(*bare(task), *settings, f"trainer.precision={precision}", folder=folder)
        run(folder)
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["precision"] == precision
        assert all(value is not None for value in summary["metrics"].values())
        weights = read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"]
        assert all(weight.dtype == kept for weight in weights.values() if weight.is_floating_point())
        with (folder / "metrics.csv").open(newline="") as file:
            rows = [row[f"train/{cost(task)}"] for row in csv.DictReader(file)]
            losses[precision] = [float(value) for value in rows if value]
    first, *_, last = losses["32-true"]
    assert last < first
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.02)  # bf16 has 8 bits: 0.4 % a rounding
    assert losses["bf16-true"] == pytest.approx(losses["32-true"], rel=0.03)  # its updates are rounded, too
