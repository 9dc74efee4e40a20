"""Gradient flow beside training: how a model's memory comes to be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from pydantic import PositiveInt

from unroll.data.base import Data
from unroll.insight.flow_pictures import draw_flow, draw_flow_over_training, write_flow
from unroll.insight.gradient_flow import Flow, gradient_flow, sample
from unroll.insight.showing import show
from unroll.tasks.base import Task
from unroll.training_log import TrainingLog

_SEED = 1  # of the random vectors: a measurement changes nothing, and repeats


class GradientFlow(Callback):
    """Measures now and then how far gradients reach; training goes on as if it had not.

    Args:
        every_n_steps: updates between two measurements; the first is made before any.
        sequences: of validation that are followed back, at most; always the same.
    """

    def __init__(self, every_n_steps: PositiveInt, sequences: PositiveInt) -> None:
        self.every_n_steps = every_n_steps
        self.sequences = sequences
        self._batch: Any = None
        self._history: list[tuple[int, dict[str, list[float]]]] = []
        self._at_start: dict[str, int] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"history": self._history, "at_start": self._at_start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._history, self._at_start = state_dict["history"], state_dict.get("at_start", {})

    @rank_zero_only
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.global_step == 0:  # how far learning can reach at all is told by the weights it begins with
            self._at_start = {name: flow.horizon for name, flow in self._take(trainer, pl_module).items()}

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop._should_accumulate() or trainer.global_step % self.every_n_steps:
            return
        self._take(trainer, pl_module)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
            if isinstance(callback, TrainingLog):
                callback.pause()

    def _take(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> dict[str, Flow]:
        task, data = cast(Task, pl_module), cast(Data, trainer.datamodule)  # type: ignore[attr-defined]  # set by a connector
        flows = self._measure(task, data)
        self._history.append((trainer.global_step, {name: flow.median.tolist() for name, flow in flows.items()}))
        metrics = {key: value for name, flow in flows.items() for key, value in _numbers(name, flow).items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        return flows

    def _measure(self, task: Task, data: Data) -> dict[str, Flow]:
        if self._batch is None:
            self._batch = sample(task, data, "validation", self.sequences)
        return gradient_flow(task, lambda: task.last_losses(self._batch), torch.Generator().manual_seed(_SEED))

    def report(
        self, task: Task, data: Data, folder: Path, loggers: Sequence[Logger]
    ) -> tuple[dict[str, dict[str, float | str]], list[str]]:
        """Measure the weights that are kept; draw that, and what was seen in training.

        Returns:
            What the summary has of each cell, and lines that tell of it.
        """
        flows = self._measure(task, data)
        pictures = {"gradient_flow": folder / "figures" / "gradient_flow.png"}
        draw_flow(flows, task.truncation.horizon, pictures["gradient_flow"])
        if len(self._history) > 1:
            pictures["gradient_flow_training"] = folder / "figures" / "gradient_flow_training.png"
            draw_flow_over_training(self._history, pictures["gradient_flow_training"])
        write_flow(flows, folder / "evaluation" / "validation_gradient_flow.csv")
        show(loggers, pictures)
        told = [f"memory     {name}: {flow.told()}" for name, flow in flows.items()]
        return {name: self._told(name, flow) for name, flow in flows.items()}, told

    def _told(self, name: str, flow: Flow) -> dict[str, float | str]:
        begun = {"steps_at_start": self._at_start[name]} if name in self._at_start else {}
        return {"steps": flow.horizon, "told": flow.told(), **begun}


def _numbers(name: str, flow: Flow) -> dict[str, float]:
    found = {
        "memory_horizon": float(flow.horizon),
        "gradient_rate": flow.rate,
        "spectral_radius": flow.radius,
        "saturated_gates": flow.gates,
        "saturated_units": flow.units,
    }
    return {f"{key}/{name}": value for key, value in found.items() if value == value}
