"""What training says of itself: numbers every few steps, and a bar while one waits."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities import GradClipAlgorithmType, rank_zero_only
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from unroll.console import log
from unroll.durations import clock
from unroll.gradient_health import Watch
from unroll.metrics_csv import MetricsCSV
from unroll.tasks.base import Task


class TrainingLog(Callback):
    """Logs the mean training loss since the last time, the learning rate, the norm of the gradient before it is clipped, and
    the throughput, every `trainer.log_every_n_steps` updates. Between those, nothing waits for the device.

    Each row, those of validations too, tells the seconds of training and how much of the task's unit was seen: what a curve
    can be drawn against, beside the step.

    It is part of the checkpoint, so that a resumed run logs the same rows.

    Attributes:
        seconds: spent in training, validation left out, over all resumptions.
        seen: how many of the task's unit were trained on, over all processes.
        begun: whether a batch was trained on by this process.
        validated_at: the step of the last validation; -1 before the first.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.seen = 0
        self.begun = False
        self.validated_at = -1
        self._sum = torch.zeros(())
        self._count = torch.zeros(())
        self._clipped = torch.zeros(())  # updates whose gradient was cut, since the last log
        self._watch = Watch()
        self._logged = (0.0, 0)  # seconds and seen at the last log
        self._mark = 0.0
        self._paused = False
        self._strategy: Strategy | None = None
        self._csv: MetricsCSV | None = None
        self._rows = 0  # of metrics.csv, when the checkpoint that was loaded was written

    @property
    def throughput(self) -> float:
        """Of the task's unit, a second of training."""
        return self.seen / self.seconds if self.seconds else 0.0

    def _over_all_processes(self) -> torch.Tensor:
        sums = torch.stack([self._sum, self._count])
        return sums if self._strategy is None else self._strategy.reduce(sums, reduce_op="sum")

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # Not at the start of training, which there is none of where a run was killed after its last update.
        self._csv = next((logger for logger in trainer.loggers if isinstance(logger, MetricsCSV)), None)
        if self._csv is not None:
            self._csv.cut(self._rows)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._strategy = trainer.strategy
        self._sum, self._count = self._sum.to(pl_module.device), self._count.to(pl_module.device)
        self._clipped = self._clipped.to(pl_module.device)
        self._sum /= trainer.world_size
        self._count /= trainer.world_size
        self._mark = time.perf_counter()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # What other callbacks did before the first batch, or after a validation, such as writing samples, is no training.
        if self._paused or not self.begun:
            self._paused, self.begun = False, True
            self._mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Task)
        self._sum += outputs["mean"] * outputs["scored"]
        self._count += outputs["scored"]
        if batch.share:  # of a process that has nothing left to do there is nothing to tell the others' part by
            self.seen += round(pl_module.tokens(batch) * trainer.world_size / batch.share)
        now = time.perf_counter()
        self.seconds += now - self._mark
        self._mark = now
        if trainer.fit_loop._should_accumulate():
            return
        clip = trainer.gradient_clip_val
        if clip and trainer.gradient_clip_algorithm != GradClipAlgorithmType.VALUE:
            self._clipped += pl_module.gradient_norm > clip
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]  # set by a connector
            return
        pl_module.check_gradients(trainer.global_step)
        total, count = self._over_all_processes().tolist()  # waits for the device
        scored = pl_module.metrics(total / count) if count else {}  # of a gap in a series nothing is
        metrics = {f"train/{name}": value for name, value in scored.items()}
        metrics["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        if not math.isfinite(total):
            pl_module.stop("a loss", trainer.global_step)
        norm = metrics["gradient_norm"] = pl_module.gradient_norm.item()
        if clip and trainer.gradient_clip_algorithm != GradClipAlgorithmType.VALUE:
            metrics["gradient_norm_after_clipping"] = min(norm, clip)
            metrics["clipped_share"] = self._clipped.item() / trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            gradients = {name: weight.grad for name, weight in pl_module.named_parameters() if weight.grad is not None}
            for line in self._watch.look(gradients, norm):
                log.info(line)
        metrics.update(self._so_far(pl_module))
        seconds, seen = self.seconds - self._logged[0], self.seen - self._logged[1]
        metrics[f"{pl_module.unit}_per_second"] = seen / seconds
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        self._sum.zero_()
        self._count.zero_()
        self._clipped.zero_()
        self._logged = (self.seconds, self.seen)

    def _so_far(self, task: Task) -> dict[str, float]:
        return {"train_seconds": self.seconds, task.unit: self.seen}

    def pause(self) -> None:
        """What is done from here to the next batch is no training."""
        self._paused = True

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.pause()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # Lightning itself would log these under the step before.
        assert isinstance(pl_module, Task)
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        metrics.update(self._so_far(pl_module))
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
        self.validated_at = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        total, count = self._over_all_processes()
        return {
            "seconds": self.seconds,
            "seen": self.seen,
            "sum": total,
            "count": count,
            "clipped": self._clipped,
            "logged": list(self._logged),
            "rows": self._rows if self._csv is None else self._csv.rows,
            "validated_at": self.validated_at,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.seen = state_dict["seconds"], state_dict["seen"]
        self._sum, self._count = state_dict["sum"], state_dict["count"]
        self._clipped = state_dict["clipped"]
        self._logged = (state_dict["logged"][0], state_dict["logged"][1])
        self._rows = state_dict["rows"]
        self.validated_at = state_dict["validated_at"]


class ProgressBar(Callback):
    """One line that tells how far training is, its loss, its speed and the time left.

    On a terminal a bar that is redrawn twice a second; elsewhere (a file, a pipe) a line every `seconds_between_lines`.

    Args:
        log: where the numbers come from.
        metric: what is watched.
        file: of a sweep's job: where the line goes as well, each second.
        seconds_between_lines: see above.
    """

    def __init__(
        self, log: TrainingLog, metric: str, file: Path | None = None, seconds_between_lines: float = 15.0
    ) -> None:
        self._log = log
        self._metric = metric
        self._file = file
        self._next_in_file = 0.0
        self._between = seconds_between_lines
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._next = 0.0
        self._start = (0.0, 0)
        self._validation = ""

    @rank_zero_only
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._start = (time.monotonic(), trainer.global_step)
        if sys.stdout.isatty():
            self._between = 0.5
            columns = (BarColumn(bar_width=None), TextColumn("{task.description}"))
            self._bar = Progress(*columns, auto_refresh=False, expand=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=trainer.estimated_stepping_batches)
        self._next = time.monotonic() + min(self._between, 5.0)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._file is not None and now >= self._next_in_file:
            self._next_in_file = now + 1.0
            line = self._line(trainer, pl_module, outputs, now)
            self._file.write_text(f"{line} · {self._validation}\n" if self._validation else f"{line}\n")
        if now >= self._next:
            self._next = now + self._between
            self._show(self._line(trainer, pl_module, outputs, now), trainer.global_step)

    def _line(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, now: float) -> str:
        assert isinstance(pl_module, Task)
        total = trainer.estimated_stepping_batches
        step = trainer.global_step
        rate = (step - self._start[1]) / (now - self._start[0])
        loss = outputs["mean"].item()
        known = total != float("inf")
        parts = [
            f"{step}/{total:.0f}" if known else f"step {step}",
            *(f"{name} {value:.3f}" for name, value in list(pl_module.metrics(loss).items())[:2]),
            f"{self._log.throughput / 1000:,.1f}k {pl_module.unit}/s",
        ]
        if known and rate:
            parts.append(f"{clock((total - step) / rate)} left")
        return " · ".join(parts)

    @rank_zero_only
    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        values = {
            name.removeprefix("val/"): value for name, value in trainer.callback_metrics.items() if "val/" in name
        }
        if trainer.state.fn == "fit" and values:
            told = " · ".join(f"{name} {value:.4f}" for name, value in values.items())
            if self._metric in trainer.callback_metrics:
                self._validation = f"{self._metric} {trainer.callback_metrics[self._metric]:.4f}"
            self.say(f"validation after step {trainer.global_step}: {told}")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)

    def _show(self, line: str, step: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, description=line, refresh=True)
        else:
            print(line, flush=True)

    @rank_zero_only
    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._close()

    @rank_zero_only
    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
