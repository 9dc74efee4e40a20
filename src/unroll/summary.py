"""How a run ends: its best checkpoint scored, summary.json, pictures, and a table."""

import json
import logging
import math
import platform
import shlex
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, WeightAveraging
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table

from unroll.checkpoint import BestCheckpoint, read_checkpoint
from unroll.data.base import Data
from unroll.durations import clock
from unroll.insight.learning_curve import draw_learning_curve
from unroll.insight.watching_gradients import GradientFlow
from unroll.machine import git_commit
from unroll.runs import BUDGET_KEYS, SUMMARY, checkpoint_path, load_weights
from unroll.sweep.pruning import Pruning
from unroll.tasks.base import Task
from unroll.training_log import TrainingLog
from unroll.trust import packages_of_others
from unroll.wandb_logger import log_checkpoints
from unroll.writing import written_whole

log = logging.getLogger("unroll")
_WIDE = 80  # columns of a terminal on which tables need not be dense
_NUMBER = 6


def finish(
    config: dict[str, Any],
    trainer: lightning.Trainer,
    task: Task,
    data: Data,
    training_log: TrainingLog,
    folder: Path,
) -> None:
    """Score the best checkpoint on validation and, if the run reads it, test; write and tell what was found.

    Args:
        config: the run's.
        trainer: that has trained.
        task: trained.
        data: what on.
        training_log: time and throughput.
        folder: the run's.
    """
    steps = trainer.global_step
    # Lightning's own count takes a last, unfinished epoch for a whole one.
    updates = trainer.num_training_batches / trainer.accumulate_grad_batches  # of an epoch
    epochs = round(steps / (math.ceil(updates) if math.isfinite(updates) else updates), 2)
    if training_log.validated_at != steps:  # training ended between two validations: the last weights count too
        trainer.validate(task, datamodule=data, verbose=False)
    best = checkpoint_path(folder, "best")
    load_weights(task, read_checkpoint(best), best)
    task.briefly = False
    # From here on scores are of another kind than those that the best was chosen by, and weights are to stay what they are.
    for callback in list(trainer.callbacks):  # type: ignore[attr-defined]
        if isinstance(callback, (BestCheckpoint, WeightAveraging)):
            trainer.callbacks.remove(callback)  # type: ignore[attr-defined]
    loggers, trainer.loggers = trainer.loggers, []  # what was validated before is not logged again
    splits = ["validation", *(["test"] if config["test"] and "test" in data.splits else [])]
    metrics: dict[str, float] = {}
    told: list[str] = []
    whole: list[str] = []
    for split in splits:
        score = trainer.validate if split == "validation" else trainer.test
        score(task, datamodule=data, verbose=False)
        found = measured(trainer)
        metrics.update(found)
        part = _part(trainer, split)
        if part:
            told.append(f"note       {split}: {part} scored; no report is made of it")
            continue
        whole.append(split)
        if trainer.is_global_zero and found:
            told += task.report(data, split, folder, loggers)
    tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
    if tested:
        for logger in loggers:
            logger.log_metrics(tested, step=steps)
    trainer.loggers = loggers
    if not trainer.is_global_zero:
        return
    baselines = {
        name: {f"{short_name(split)}/{metric}": value for split in found for metric, value in found[split].items()}
        for name, found in task.baselines(data, whole).items()
    }
    choices, callbacks = config["choices"], trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    memory: dict[str, dict[str, float | str]] = {}
    for callback in callbacks:
        if isinstance(callback, GradientFlow):
            memory, lines = callback.report(task, data, folder, loggers)
            told += lines
    summary = {
        "task": choices["task"],
        "data": choices["data"],
        "model": choices["model"],
        "truncation": choices["truncation"],
        "parameters": parameters(task),
        "steps": steps,
        "epochs": epochs,
        "budget": budget(config),
        "ended_early": _ended_early(callbacks),
        "pruned_at": next((callback.stopped_at for callback in callbacks if isinstance(callback, Pruning)), None),
        "train_seconds": round(training_log.seconds, 1),
        "throughput": {"value": round(training_log.throughput, 1), "unit": f"{task.unit}/s"},
        "best_checkpoint": str(best.relative_to(folder)),
        "device": _device(trainer),
        "precision": str(trainer.precision),
        "seed": config["seed"],
        "git_commit": git_commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": for_json(metrics),
        "scored_in_part": [split for split in splits if split not in whole],
        "definitions": task.definitions(),
        "memory_horizon": memory,
        "baselines": {name: for_json(found) for name, found in baselines.items()},
    }
    metric = config["watch"]["metric"].removeprefix("val/")
    if (folder / "metrics.csv").exists():  # a few steps without validation have no row
        draw_learning_curve(
            folder / "metrics.csv", folder / "figures" / "learning_curve.png", metric, config["watch"]["label"]
        )
    # The last thing in the folder: what has a summary is finished, and is not scored again when it is resumed.
    with written_whole(folder / SUMMARY) as unfinished:
        unfinished.write_text(json.dumps(summary, indent=2) + "\n")
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            for name, found in baselines.items():
                logger.experiment.summary.update({f"{name}/{key}": value for key, value in found.items()})
            # The best checkpoint's, as in summary.json: what was logged last is not what is kept.
            logger.experiment.summary.update({**metrics, "summary": summary})
            if config["logger"]["checkpoints"]:
                log_checkpoints(logger, folder)
    if metrics:
        for table in score_tables(splits, metrics, baselines):
            Console().print(table)
    throughput = summary["throughput"]
    trusted = "".join(f" --trust {shlex.quote(package)}" for package in packages_of_others(config))
    for line in [
        f"trained    {steps:,} steps in {clock(summary['train_seconds'])}, "
        f"{throughput['value']:,.0f} {throughput['unit']} on {summary['device']}",
        *([f"ended      early: {summary['ended_early']}"] if summary["ended_early"] else []),
        f"run        {folder}",
        *told,
        f"use it     python predict.py {shlex.quote(str(folder))}{trusted}{task.asked}",
    ]:
        log.info(line)


def _ended_early(callbacks: list[lightning.Callback]) -> str | None:
    """Why training ended before its budget did."""
    for callback in callbacks:
        if not isinstance(callback, EarlyStopping):
            continue
        match callback.stopping_reason:
            case EarlyStoppingReason.PATIENCE_EXHAUSTED:
                times = (
                    "the last validation" if callback.patience <= 1 else f"{callback.wait_count} validations in a row"
                )
                return f"{callback.monitor} was no better in {times}"
            case EarlyStoppingReason.STOPPING_THRESHOLD:
                return f"{callback.monitor} has reached {callback.stopping_threshold}"
            case EarlyStoppingReason.DIVERGENCE_THRESHOLD:
                return f"{callback.monitor} has become worse than {callback.divergence_threshold}"
            case EarlyStoppingReason.NON_FINITE_METRIC:
                return f"{callback.monitor} is no number any more"
    return None


def measured(trainer: lightning.Trainer) -> dict[str, float]:
    """The metrics of the evaluation that a trainer has just run."""
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def _part(trainer: lightning.Trainer, split: str) -> str:
    """What was just scored of a split, where that was not all of it."""
    validation = split == "validation"
    read = int(sum(trainer.num_val_batches if validation else trainer.num_test_batches))
    loader = trainer.val_dataloaders if validation else trainer.test_dataloaders
    limit = "trainer.limit_val_batches" if validation else "trainer.limit_test_batches"
    if not read:
        return f"nothing ({limit}=0)"
    return "" if loader is None or read == len(loader) else f"{read} of {len(loader)} batches ({limit})"


def for_json(metrics: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: what is not a number there is null."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def score_tables(splits: list[str], metrics: dict[str, float], baselines: dict[str, dict[str, float]]) -> list[Table]:
    """A line a metric; for each split a column, and one for each baseline beside it. With several baselines, which would not
    stand side by side on a narrow terminal, a table for each split."""
    together = [splits] if len(baselines) < 2 else [[split] for split in splits]
    tables = []
    padding = 1 if Console().width >= _WIDE else 0
    for some in together:
        table = Table(title=some[0] if len(baselines) > 1 else None, padding=(0, padding))
        table.add_column("", no_wrap=True)
        columns = []
        for split in some:
            for name, found in [("this model" if len(baselines) > 1 else split, metrics), *baselines.items()]:
                start = f"{short_name(split)}/"
                of_split = {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}
                if of_split:
                    table.add_column(name, justify="right", min_width=_NUMBER)
                    columns.append(of_split)
        for name in dict.fromkeys(key.partition("/")[2] for key in metrics):
            values = [of_split.get(name) for of_split in columns]
            table.add_row(name, *("" if value is None else f"{value:.4f}" for value in values))
        tables.append(table)
    return tables


def short_name(split: str) -> str:
    """What a split is called in the names of metrics."""
    return "val" if split == "validation" else split


def budget(config: dict[str, Any]) -> dict[str, Any]:
    """What ends the run."""
    return {key: config["trainer"][key] for key in BUDGET_KEYS}


def parameters(task: Task) -> int:
    """How many numbers the task has that could be trained."""
    return sum(parameter.numel() for parameter in task.parameters())


def _device(trainer: lightning.Trainer) -> str:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if device.type == "cpu":
        name += f" ({torch.get_num_threads()} threads)"
    return name if trainer.world_size == 1 else f"{trainer.world_size} x {name}"
