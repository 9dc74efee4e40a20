"""How long training takes until a model is as good as another one."""

import time
from collections.abc import Callable
from pathlib import Path

import lightning
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from unroll.building import build_data, build_task, make
from unroll.composing import CONF
from unroll.console import quiet
from unroll.machine import free_speed
from unroll.tasks.base import Task
from unroll.training_log import TrainingLog


class UntilAsGood(lightning.Callback):
    """Measures a task now and then, off the clock, and ends training once it is as good as `target`.

    Args:
        loss: of a task in evaluation; lower is better.
        every: so many steps.
        target: of the loss.
        log: the training's clock.

    Attributes:
        history: seconds of training and the loss, at each measurement.
    """

    def __init__(self, loss: Callable[[Task], float], every: int, target: float, log: TrainingLog) -> None:
        self.loss, self.every, self.target, self.training_log = loss, every, target, log
        self.history: list[tuple[float, float]] = []

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx) -> None:
        if trainer.global_step % self.every:
            return
        task.eval()
        with torch.inference_mode():
            self.history.append((self.training_log.seconds, self.loss(task)))
        task.train()
        trainer.should_stop = self.history[-1][1] <= self.target
        self.training_log._mark = time.perf_counter()


def train_until_as_good(
    overrides: list[str], seed: int, folder: Path, loss: Callable[[Task], float], every: int, target: float
) -> list[tuple[float, float]]:
    """Train through the product's own config, data, task and Trainer; return `UntilAsGood.history`.

    Args:
        overrides: of the config, with the most that is trained.
        seed: of everything.
        folder: for what the Trainer writes.
        loss, every, target: see `UntilAsGood`.
    """
    quiet()
    free_speed()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        rest = ["trainer.accelerator=cpu", "trainer.limit_val_batches=0"]
        config = OmegaConf.to_container(compose("train", [*overrides, *rest]), resolve=True)
    assert isinstance(config, dict)
    lightning.seed_everything(seed, verbose=False)
    data = build_data(config)
    data.prepare_data()
    task = build_task(config, data.spec)
    log = TrainingLog()
    until = UntilAsGood(loss, every, target, log)
    make(
        config["trainer"],
        callbacks=[log, until],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    ).fit(task, data)
    return until.history
