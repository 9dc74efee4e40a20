"""Lightning's Trainer and its loggers, from a checked config."""

from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from pydantic import PositiveFloat, PositiveInt

from unroll.building import make
from unroll.checkpoint import AtomicCheckpointIO
from unroll.errors import UsageError, one_line
from unroll.runs import PROGRESS
from unroll.schema import blamed, check_value
from unroll.sweep.pruning import Pruning
from unroll.sweep.search import database
from unroll.training_log import ProgressBar, TrainingLog


def build_trainer(config: dict[str, Any], folder: Path) -> tuple[lightning.Trainer, TrainingLog]:
    """The Trainer, without loggers, and its log of the training.

    Args:
        config: of the run.
        folder: of the run.

    Raises:
        UsageError: it would never end, or the machine does not have what is asked for.
    """
    training_log = TrainingLog()
    callbacks = {name: make(node) for name, node in config["callbacks"].items() if node is not None}
    for name in ("best", "last"):
        if name not in callbacks:
            raise UsageError(f"callbacks.{name} cannot be left out: evaluation and resuming rest on it")
    if config["trainer"]["max_steps"] == 0 or config["trainer"]["max_epochs"] == 0:
        raise UsageError(
            "this run would end before it begins: give trainer.max_steps or trainer.max_epochs more than 0"
        )
    for key in ("log_every_n_steps", "accumulate_grad_batches"):
        check_value(f"trainer.{key}", config["trainer"][key], PositiveInt)
    check_value("trainer.val_check_interval", config["trainer"]["val_check_interval"], PositiveFloat)
    limit = config["trainer"].get("limit_train_batches")
    if limit is not None and not (isinstance(limit, float) and limit == 1):
        raise UsageError(
            f"trainer.limit_train_batches={limit}: every epoch would read the same first batches again: take "
            "trainer.max_steps for how long a run is, and trainer.val_check_interval for how often it validates"
        )
    progress = folder / PROGRESS if config["choices"]["sweep"] else None
    if progress is not None and database(folder.absolute().parent).exists():
        callbacks["pruning"] = Pruning(
            folder, config["watch"]["metric"], config["sweep"]["pruner"], config["sweep"]["startup"]
        )
    bar = ProgressBar(training_log, config["watch"]["metric"], progress)
    try:
        trainer = make(
            config["trainer"],
            default_root_dir=folder,
            callbacks=[training_log, bar, *callbacks.values()],
            logger=False,
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # our streams share themselves out; Lightning's sampler would shuffle them
        )
    except Exception as error:  # of many kinds: all that went in is the user's choice
        if "No supported gpu backend" in str(error):
            raise UsageError(
                "trainer.accelerator=gpu: there is no GPU here; take trainer=auto or trainer=cpu"
            ) from None
        raise UsageError(f"{blamed('trainer', config['trainer'], str(error))}: {one_line(error)}") from None
    if config["trainer"]["precision"] == "16-mixed" and isinstance(trainer.accelerator, CPUAccelerator):
        raise UsageError("trainer.precision=16-mixed: a CPU does not train in float16; take bf16-mixed or 32-true")
    if trainer.max_steps == -1 and trainer.max_epochs == -1 and config["trainer"]["max_time"] is None:
        raise UsageError("this run would never end: set trainer.max_steps, trainer.max_epochs or trainer.max_time")
    return trainer, training_log


def check_optimizer(config: dict[str, Any]) -> None:
    """Does it build? Its own checks of ranges are made then, which with Lightning is once all else has begun.

    Raises:
        UsageError: it does not.
    """
    clipped = config["trainer"]["gradient_clip_val"] is not None
    if config["optimizer"].get("fused") and clipped and config["trainer"]["precision"] == "16-mixed":
        raise UsageError("optimizer.fused=true: its gradients cannot be clipped in 16-mixed: add optimizer.fused=false")
    try:
        optimizer = make(config["optimizer"], params=[torch.nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError) as error:
        raise UsageError(f"{blamed('optimizer', config['optimizer'], str(error))}: {one_line(error)}") from None
    make(config["schedule"], optimizer=optimizer, total_steps=_total_steps(config))


def _total_steps(config: dict[str, Any]) -> int | None:
    limited = config["trainer"]["max_steps"] != -1 or config["trainer"]["max_epochs"] != -1
    return 1 if limited else None


def build_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """Those that the config names, begun; none where another process has them, or they cannot run."""
    if "_target_" not in config["logger"] or rank():
        return []
    choices = config["choices"]
    logger = make(
        config["logger"],
        folder=folder,
        config=config,
        name=f"{choices['model']}-{choices['truncation']}-{choices['data']}-s{config['seed']}",
        tags=[choices[group] for group in ("task", "data", "model", "truncation")],
        group=choices["sweep"],
    )
    return [] if logger is None else [logger]


def rank() -> int:
    """This process's number among those of the run, before any of them has met the others."""
    return cast(int, rank_zero_only.rank)  # type: ignore[attr-defined]  # set by Lightning from the environment
