"""Checkpoints that are whole, that can be moved, and that run nothing when they are read."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from unroll.errors import UserError
from unroll.writing import written_whole

FOLDER = "checkpoints"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: tensors and plain values only; nothing in it is executed.

    Raises:
        UserError: it is not there, or not whole.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint; has the run got as far as saving one?") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: is not a whole checkpoint ({reason.split(';')[0][:100]}); take another one of the folder with it"
        ) from None


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to the disk, with a rename at the end: a run killed while saving still has the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as unfinished:
            torch.save(checkpoint, unfinished)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class _InRunFolder(ModelCheckpoint):
    """Writes one file into the run's folder, wherever that is by now."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self.dirpath = str(Path(trainer.default_root_dir).absolute() / FOLDER)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # The folder may have been moved since: ModelCheckpoint would then forget what was best.
        moved = dict(state_dict, dirpath=self.dirpath)
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            if moved.get(key):
                moved[key] = str(Path(self.dirpath or "") / Path(moved[key]).name)
        moved["best_k_models"] = {
            str(Path(self.dirpath or "") / Path(path).name): score for path, score in moved["best_k_models"].items()
        }
        super().load_state_dict(moved)


class BestCheckpoint(_InRunFolder):
    """checkpoints/best.ckpt: the weights of the validation that was best so far.

    Args:
        monitor: the watched metric.
        mode: `min` or `max`: which way is better.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode, enable_version_counter=False)


class LastCheckpoint(_InRunFolder):
    """checkpoints/last.ckpt: where a killed run goes on.

    Args:
        every_n_steps: updates between two savings; what is lost at most.
    """

    def __init__(self, every_n_steps: int) -> None:
        super().__init__(
            filename="last", every_n_train_steps=every_n_steps, save_top_k=1, enable_version_counter=False
        )

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.global_step != self._last_global_step_saved:
            trainer.save_checkpoint(Path(self.dirpath or "") / "last.ckpt")
