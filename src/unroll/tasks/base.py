"""What every task shares: the one training step, carried state, evaluation, optimizer, and what a checkpoint needs."""

import argparse
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar, cast

import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import SumMetric

from unroll.data.base import Data
from unroll.errors import UserError
from unroll.insight.reading import Reading
from unroll.schedule import Schedulers
from unroll.state import State, map_state, reset, select
from unroll.tasks.guarded_gradients import GuardedGradients
from unroll.truncation import Truncation

_Found = TypeVar("_Found", bound=tuple[Any, ...])


class Loss(NamedTuple):
    """What a batch costs.

    Attributes:
        value: the mean over what is scored, a scalar.
        scored: how many things that is the mean of, a scalar.
        state: the detached state that the next batch of the stream starts from; None where there is no stream.
    """

    value: Tensor
    scored: Tensor
    state: State | None


class Task(GuardedGradients, ABC):
    """What is learned. A subclass says what a batch costs (`loss`) and what is reported of it (`metrics`).

    Args:
        optimizer: makes the optimizer from parameters.
        schedule: makes schedulers from (optimizer, total steps or None); see `unroll.schedule`.
        truncation: see `Truncation`.
    """

    unit: str
    """What throughput counts, in the plural: characters, sentences, ..."""
    reads: type[Data]
    """The format of data that it learns from."""
    asked = ""
    """What `predict.py RUN` needs beside: an option with its value, for the line that tells how a run is used."""
    ragged = False
    """Whether its stack is to stop where each sequence of a batch ends."""

    def __init__(
        self,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
    ) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._schedule = schedule
        self.truncation = truncation
        self._seed = torch.initial_seed() % 2**31  # the run's, the same in every process
        self.briefly = False
        """Whether it is scored as training does between updates: with the narrower search and the fewer sample paths that a
        task may have for that. Scores that are compared with one another are all of one kind."""
        self.spec_digest = ""
        """A digest of what gives its numbers their meaning (`identity` of the data's spec); set by `build_task`."""
        # State carried along a stream: training and evaluation each have their own. Plain attributes, since a buffer
        # would be overwritten with the first process's under DDP.
        self._train_state: State | None = None
        self._eval_state: State | None = None
        self._restored: dict[str, Any] = {}
        self._rates: list[float] = []  # of the windows since the last update
        # Not MeanMetric: of torchmetrics 1.9, without its search for NaN (which waits for the device) it drops weights.
        self._loss_sum = SumMetric(nan_strategy="disable")
        self._scored_count = SumMetric(nan_strategy="disable")

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets this some fifty times a step; a module's own way of setting, which looks for parameters, would
        # cost a third of a millisecond for it.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @abstractmethod
    def loss(self, batch: Any, state: State | None) -> Loss:
        """What `batch` costs when it starts from `state`; from the initial state if that is None."""

    @abstractmethod
    def last_losses(self, batch: Any) -> Tensor:
        """What each sequence of a batch costs at its end alone, (sequences,): from there gradients are followed back."""

    @abstractmethod
    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """Some sequences of a split, whole ones, of about so many steps together, and how they read: for people who want to
        see what units do."""

    def predictions(self, batch: Any) -> list[tuple[str, Tensor]]:
        """What is predicted of each sequence, by its name: (sequences,), a log-probability or what stands for it."""
        return [("the end", -self.last_losses(batch))]

    @abstractmethod
    def metrics(self, loss: float) -> dict[str, float]:
        """What is reported of a mean loss, by standard names."""

    @property
    def evaluation_metrics(self) -> list[str]:
        """The names of all that an evaluation reports: what can be watched."""
        return list(self.metrics(1.0))

    def start_observing(self) -> None:
        """An evaluation begins: for a task that reports more than its loss. Its `loss` may then keep what it answered."""

    def observed(self) -> dict[str, float]:
        """What a finished evaluation reports beside `metrics`."""
        return {}

    def check(self, data: Data) -> list[str]:
        """Before the first step of a new run: do the settings suit the data? Returns lines to tell.

        Raises:
            UsageError: they do not.
        """
        return []

    def begin(self, data: Data) -> list[str]:
        """Once, before the first step: what is to be done with weights that are fresh. Returns lines to tell."""
        return []

    def definitions(self) -> dict[str, str]:
        """What exactly is computed, of metrics that are known in several forms: by their names, for the summary."""
        return {}

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        """What a model needs to beat, trained on the same data: name -> split (or several, joined by +) -> metrics."""
        return {}

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        """Pictures and tables of the evaluation that has just ended, put into the run's folder.

        Args:
            data: what was evaluated on.
            splits: one of its splits, or several joined by +.
            folder: the run's.
            loggers: they get what they can show.

        Returns:
            Lines that tell where what is.
        """
        return []

    @abstractmethod
    def tokens(self, batch: Any) -> int:
        """How many of `unit` a training batch goes on by, in this process."""

    @classmethod
    @abstractmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """This task's options of predict.py."""

    @abstractmethod
    def predict(self, options: argparse.Namespace) -> None:
        """predict.py, after its options were read."""

    def on_fit_start(self) -> None:
        self.briefly = True

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        self.trained_on = batch
        if self.truncation.vary_length:
            self._rates.append(batch.rate)
        result = self._cost_of(batch, self._starting_state(batch, batch_idx))
        self._train_state = result.state
        loss = result.value if batch.share == 1 else result.value * batch.share
        return {"loss": loss, "mean": result.value.detach(), "scored": result.scored}

    def _cost_of(self, batch: Any, state: State | None) -> Loss:
        try:
            return self.loss(batch, state)
        except StopIteration as error:  # which Lightning would take for the end of the epoch, again and again
            raise RuntimeError("StopIteration within the loss") from error

    def _starting_state(self, batch: Any, batch_idx: int) -> State | None:
        if self._train_state is None or batch.begins or not self.truncation.carry_state:
            return None
        if self.truncation.reset_probability:
            # Drawn for the lanes of all processes from the place in training, so that neither the number of devices
            # nor a resumption changes it.
            generator = torch.Generator().manual_seed(self._seed + 1_000_003 * self.current_epoch + batch_idx)
            rows = torch.rand(batch.lanes, generator=generator) < self.truncation.reset_probability
            rows = rows[batch.first_lane :][: batch.lanes_here].to(self.device)
            # A lane has several rows where it holds several sequences.
            return reset(self._train_state, rows.repeat_interleave(self._rows(self._train_state) // len(rows)))
        return self._train_state

    # Where windows differ in length the rate follows it, for this one update (Merity et al. 2017, section 4.1).

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self._rates:
            for group in optimizer.param_groups:
                group["lr"] *= fmean(self._rates)
            self._rates.clear()

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluation_step(batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluation_step(batch)

    def _evaluation_step(self, batch: Any) -> None:
        carry = self.truncation.carry_state and not batch.begins
        result = self._cost_of(batch, self._eval_state if carry else None)
        self._eval_state = result.state
        if not batch.share:  # of a process that had nothing left to do
            return
        self._loss_sum.update(result.value.to(self._loss_sum.dtype) * result.scored)
        self._scored_count.update(result.scored)

    def on_validation_epoch_start(self) -> None:
        self._start_evaluation()

    def on_test_epoch_start(self) -> None:
        self._start_evaluation()

    def _start_evaluation(self) -> None:
        for metric in (self._loss_sum, self._scored_count):
            if self.device.type != "mps":  # which has no float64
                metric.set_dtype(torch.float64)
            metric.reset()
        self.start_observing()

    def on_validation_epoch_end(self) -> None:
        metrics = self._log_evaluation("val")
        if self.trainer.state.fn == "fit":
            for config in self.trainer.lr_scheduler_configs:
                if config.reduce_on_plateau and config.monitor in metrics:
                    cast(ReduceLROnPlateau, config.scheduler).step(metrics[config.monitor])

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")

    def _log_evaluation(self, split: str) -> dict[str, float]:
        self._eval_state = None
        metrics = {**self.metrics((self._loss_sum.compute() / self._scored_count.compute()).item()), **self.observed()}
        named = {f"{split}/{name}": value for name, value in metrics.items()}
        self.log_dict(named, logger=False)
        return named

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self._optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        steps = self.trainer.estimated_stepping_batches
        # To tell, Lightning has set the loaders up; it would keep them, and not take up their place in a resumed epoch.
        self.trainer.fit_loop._combined_loader = None
        total_steps = int(steps) if 0 < steps < float("inf") else None
        return cast(OptimizerLRScheduler, ([optimizer], self._schedule(optimizer, total_steps)))

    # Beside what Lightning saves, a run that goes on to the same numbers needs the carried state of every lane and the
    # random generators of every process. Only the first process writes, so all of it is gathered there.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["spec_digest"] = self.spec_digest
        checkpoint["optimized"] = self._optimized()
        checkpoint["random_state"] = [self._gather(kind.get_rng_state()[None]).cpu() for kind in _generators()]
        if self._train_state is not None:
            checkpoint["train_state"] = map_state(lambda tensor: self._gather(tensor).cpu(), self._train_state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint.get("optimized", self._optimized()) != self._optimized():
            raise UserError(
                "the checkpoint's optimizer was that of a model with other weights, or in another order: go on from "
                "its weights alone, in a new run, by init_from="
            )
        self._restored = {key: checkpoint[key] for key in ("random_state", "train_state") if key in checkpoint}

    def on_train_start(self) -> None:
        restored, self._restored = self._restored, {}
        rank, processes = self.global_rank, self.trainer.world_size
        if "train_state" in restored:
            state = map_state(lambda tensor: tensor.to(self.device), restored["train_state"])
            lanes = self._rows(state) // processes
            self._train_state = select(state, slice(rank * lanes, (rank + 1) * lanes))
        if not restored and rank:
            # Weights were drawn alike everywhere; dropout is each process's own.
            torch.manual_seed(torch.initial_seed() + rank)
        for kind, saved in zip(_generators(), restored.get("random_state", []), strict=False):
            if len(saved) == processes:
                kind.set_rng_state(saved[rank].clone())  # of a view torch 2.13 reads what lies beside it

    def _optimized(self) -> list[str]:
        """The weights that are trained, in the order in which the optimizer keeps what it knows of them."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    @staticmethod
    def _rows(state: State) -> int:
        while not isinstance(state, Tensor):
            state = state[0]
        return len(state)

    def _gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, joined along the first dimension in the order of their ranks."""
        if self.trainer.world_size == 1:
            return tensor
        return cast(Tensor, self.all_gather(tensor)).flatten(0, 1)

    def _of_all(self, found: list[_Found]) -> list[_Found]:
        """What all processes have found, tuples that begin with a row of the split, in the order of the split."""
        parts = [found]
        if self.trainer.world_size > 1:
            parts = [[]] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, found)
        return sorted(itertools.chain.from_iterable(parts))


def _generators() -> list[Any]:
    return [torch, torch.cuda] if torch.cuda.is_available() else [torch]
