"""Checkpoints that are whole, that can be moved, and that run nothing when they are read."""

import errno
import math
import os
import pickle
import re
import shutil
import signal
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal, NoReturn

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import PositiveInt
from safetensors import SafetensorError, safe_open

from unroll.errors import Stopped, UserError
from unroll.stopping import StopRequest
from unroll.writing import written_whole

FOLDER = "checkpoints"
_FULL = 1_000_000  # bytes left on a disk that is full
_UNWRITTEN = re.compile("iostream|basic_ios|unexpected pos")  # what torch says of a write that fell short


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: tensors and plain values only; nothing in it is executed. Of weights that were exported as
    safetensors there is no more than these.

    Raises:
        UserError: it is not there, or not whole.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
                return {**(file.metadata() or {}), "state_dict": tensors}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how a foreign file was pickled
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint; has the run got as far as saving one?") from None
    except (
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        KeyError,
        OSError,
        SafetensorError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: is not a whole checkpoint ({reason.split(';')[0][:100]}); take another one of the folder with it"
        ) from None
    weights = found.get("state_dict") if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise UserError(f"{path}: is no checkpoint of a run: there are no weights in it")
    return found


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to the disk, with a rename at the end: a run killed while saving still has the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as unfinished:
            try:
                torch.save(checkpoint, unfinished)
            except RuntimeError as error:
                if shutil.disk_usage(path.parent).free <= _FULL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
                if _UNWRITTEN.search(str(error)):
                    told = "could not be written whole: a quota, or a limit on the size of files, is reached"
                    raise OSError(errno.EFBIG, told, str(path)) from None
                raise

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class BestCheckpoint(Checkpoint):
    """checkpoints/best.ckpt: the weights of the validation that was best so far, the one after training among them.

    The score to beat is kept in that file itself: wherever the folder goes and wherever training resumes, it is known.

    Args:
        monitor: the watched metric.
        mode: `min` or `max`: which way is better.
    """

    def __init__(self, monitor: str, mode: Literal["min", "max"]) -> None:
        self.monitor = monitor
        self.mode = mode
        self.score: float | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        path = self._path(trainer)
        if self.score is None and path.exists():
            self.score = read_checkpoint(path)["callbacks"][self.state_key]["score"]

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score}

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        score = trainer.callback_metrics[self.monitor].item()
        # What is no number is beaten by any.
        if (
            self.score is None
            or math.isnan(self.score)
            or (score < self.score if self.mode == "min" else score > self.score)
        ):
            self.score = score
            trainer.save_checkpoint(self._path(trainer))

    @staticmethod
    def _path(trainer: lightning.Trainer) -> Path:
        return Path(trainer.default_root_dir) / FOLDER / "best.ckpt"


class LastCheckpoint(Checkpoint):
    """checkpoints/last.ckpt: where a killed run goes on.

    Saved between updates only, never within accumulated batches. Where a validation follows an update, it is saved after
    that: Lightning, resuming from the moment before a validation, would leave it out.

    A signal that asks for the end (see `StopRequest`) is heard there too: the run is saved, and `Stopped`. Of several
    processes all end at the same update: they ask one another at every row of the log.

    Args:
        every_n_steps: updates between two savings; what is lost at most.
    """

    def __init__(self, every_n_steps: PositiveInt) -> None:
        self.every_n_steps = every_n_steps
        self._saved = 0
        self._after_validation = False
        self._request = StopRequest()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._request.listen()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loop = trainer.fit_loop
        if loop._should_accumulate():
            return
        asked = self._asked(trainer)
        # At the end of the budget too: once training has ended, Lightning takes a half epoch for a whole one.
        ends = trainer.global_step == trainer.max_steps or trainer.should_stop
        if trainer.global_step % self.every_n_steps and not ends and not asked:
            return
        assert loop._data_fetcher is not None
        self._after_validation = loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
        if not self._after_validation:
            self._save(trainer)
            if asked:
                self._stop(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        asked = trainer.state.fn == TrainerFn.FITTING and self._asked(trainer)
        if self._after_validation or asked:
            self._after_validation = False
            self._save(trainer)
            if asked:
                self._stop(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer)

    def _asked(self, trainer: lightning.Trainer) -> bool:
        asked = self._request.number is not None
        if trainer.world_size == 1:
            return asked
        # Waits for the device and for the others: as often as the log does.
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]  # set by a connector
            return False
        return trainer.strategy.reduce_boolean_decision(asked, all=False)

    def _stop(self, trainer: lightning.Trainer) -> NoReturn:
        number = self._request.number or signal.SIGTERM  # another process was asked
        raise Stopped(number, f"interrupted after step {trainer.global_step}, which is saved")

    def _save(self, trainer: lightning.Trainer) -> None:
        if trainer.global_step != self._saved:
            trainer.lightning_module.check_weights()  # type: ignore[operator]  # a Task
            trainer.save_checkpoint(Path(trainer.default_root_dir) / FOLDER / "last.ckpt")
            self._saved = trainer.global_step
