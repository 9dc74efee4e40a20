"""What every DataModule has beside its loaders: a spec that sizes flow from, and what is told of it."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import lightning

from unroll.errors import UsageError, UserError
from unroll.runs import FINGERPRINT

SPLITS = ("train", "validation", "test")
DAMAGED = (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError)
"""What reading a file of a run's folder raises that is not whole, or not ours."""


class Data(lightning.LightningDataModule, ABC):
    """Data in three splits. `test` may be missing: then only validation is reported."""

    @property
    @abstractmethod
    def spec(self) -> Any:
        """What a model must know of the data, after `prepare_data`: a frozen dataclass, whose `identity` is a text that
        differs where the model's numbers mean something else."""

    @abstractmethod
    def save_spec(self, folder: Path) -> None:
        """Put the spec into a run's folder."""

    @staticmethod
    @abstractmethod
    def load_spec(folder: Path) -> Any:
        """The spec that a run was trained with.

        Raises:
            UserError: it is not there, or not whole.
        """

    @abstractmethod
    def adopt(self, spec: Any) -> None:
        """Take the spec of a run instead of making one of this data: what was fitted on that run's training split stays.

        Raises:
            UserError: this data cannot be read with it.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of all splits: another one whenever they are others."""

    def save(self, folder: Path) -> None:
        """Put the spec into a run's folder, and what tells whether the data is still the same."""
        self.save_spec(folder)
        (folder / FINGERPRINT).write_text(self.fingerprint)

    def is_unchanged(self, folder: Path) -> bool:
        """Is this the very data that the run in this folder was begun with?

        Raises:
            UserError: nothing there tells.
        """
        try:
            return (folder / FINGERPRINT).read_text() == self.fingerprint
        except OSError:
            raise UserError(f"{folder / FINGERPRINT}: is not there: is the run's folder whole?") from None

    def check_unchanged(self, folder: Path) -> None:
        """May the run in this folder go on with it?

        Raises:
            UserError: it is not the very data that the run was begun with, or nothing there tells.
        """
        if not self.is_unchanged(folder):
            raise UserError(
                f"{self.source}: the data has changed since {folder} was begun; init_from={folder} starts anew"
            )

    @property
    def source(self) -> str:
        """Where the data comes from, for messages."""
        return type(self).__name__

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return SPLITS

    @abstractmethod
    def describe(self) -> list[str]:
        """What there is to say of the data before training, in lines."""

    @abstractmethod
    def eval_dataloader(self, splits: str) -> Any:
        """Everything of a split, or of several joined by +, each once.

        Raises:
            UsageError: a name that is no split.
        """

    def val_dataloader(self) -> Any:
        return self.eval_dataloader("validation")

    def test_dataloader(self) -> Any:
        return self.eval_dataloader("test")

    def named_splits(self, splits: str) -> list[str]:
        """The names in `validation+test`.

        Raises:
            UsageError: one is no split of this data, or stands there twice.
        """
        names = splits.split("+")
        for name in names:
            if name not in self.splits:
                raise UsageError(
                    f"split {name}: there is no such split; valid: {', '.join(self.splits)}, or several with +"
                )
        if len(set(names)) < len(names):
            raise UsageError(f"split {splits}: names a split twice")
        return names

    @property
    def rank(self) -> int:
        """This process's number."""
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def world_size(self) -> int:
        """The number of processes that share the data out."""
        return 1 if self.trainer is None else self.trainer.world_size

    def check_share(self, key: str, rows: int) -> None:
        """Can the rows of a batch be shared out, as many to each process?

        Raises:
            UsageError: they cannot; `key` is the setting to change.
        """
        if rows % self.world_size:
            raise UsageError(f"{key}={rows} cannot be shared out evenly over {self.world_size} processes")
