"""Data of two texts a row: what is read, and what is to be said of it."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Generic, Self, TypeVar

import numpy as np
import torch
from pydantic import Field, NonNegativeInt

from unroll.data.base import SPLITS, Data
from unroll.data.tables import is_unicode
from unroll.errors import UserError


@dataclass(frozen=True)
class Rows:
    """A split as it was read.

    Attributes:
        given: what a model is given, a text a row.
        wanted: what it should answer.
        source: what they were read from, for messages.
        unit: what `numbers` count: lines, rows.
        numbers: the place of each in its source, from 1; None: 1, 2, 3, ...
    """

    given: list[str]
    wanted: list[str]
    source: str = ""
    unit: str = "row"
    numbers: list[int] | None = None

    def place(self, index: int) -> str:
        """Where one stands, for messages."""
        number = index + 1 if self.numbers is None else self.numbers[index]
        return f"{self.source}, {self.unit} {number}"

    def take(self, rows: np.ndarray) -> Self:
        """Some of them."""
        numbers = [row + 1 if self.numbers is None else self.numbers[row] for row in rows.tolist()]
        given, wanted = [self.given[row] for row in rows], [self.wanted[row] for row in rows]
        return type(self)(given, wanted, self.source, self.unit, numbers)


R = TypeVar("R", bound=Rows)


class RowData(Data, Generic[R]):
    """Splits of such rows; those that the source does not have are drawn from train.

    Args:
        validation_fraction, test_fraction: shares of the training rows that are drawn for a split that the source does
            not have. 0 for test: there is none.
        split_seed: of that draw. Not the run's seed: runs with different seeds are scored on the same rows.
    """

    things = "rows"
    """What its rows are called, in messages."""

    def __init__(
        self,
        validation_fraction: Annotated[float, Field(gt=0, lt=1)],
        test_fraction: Annotated[float, Field(ge=0, lt=1)],
        split_seed: NonNegativeInt,
    ) -> None:
        super().__init__()
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self._seed = torch.initial_seed() % 2**31  # the run's, the same in every process: the order of the rows
        self._notes: list[str] = []

    @abstractmethod
    def read(self) -> dict[str, R]:
        """The splits that the source has, "train" among them.

        Raises:
            UserError: it cannot be read.
        """

    @abstractmethod
    def check(self, split: str, rows: R) -> None:
        """Are the rows of a split in order?

        Raises:
            UserError: they are not.
        """

    def draw(self, rows: R, split: str, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Which rows are left, and which a share of them makes a split of its own.

        Raises:
            UserError: there are too few.
        """
        count = round(len(rows.given) * share)
        if not 0 < count < len(rows.given):
            raise UserError(
                f"{rows.source}: too few {self.things} to draw {share:.0%} of {len(rows.given)} for {split}: give more, or a "
                f"{split} split of their own"
            )
        order = np.random.default_rng(self.split_seed).permutation(len(rows.given))
        return order[count:], order[:count]

    @abstractmethod
    def encoded(self, split: str) -> Any:
        """The rows of a split as numbers."""

    @cached_property
    def rows(self) -> dict[str, R]:
        """The splits as texts, checked.

        Raises:
            UserError: they are not in order.
        """
        splits = {split: rows for split, rows in self.read().items() if split in SPLITS}
        for split, rows in splits.items():
            for index, (given, wanted) in enumerate(zip(rows.given, rows.wanted, strict=True)):
                if not is_unicode(given) or not is_unicode(wanted):
                    raise UserError(f"{rows.place(index)}: has half a character (a lone surrogate): repair the row")
            self.check(split, rows)
        for split, share in (("test", self.test_fraction), ("validation", self.validation_fraction)):
            if split not in splits and share:
                left, drawn = self.draw(splits["train"], split, share)
                splits["train"], splits[split] = (
                    splits["train"].take(np.sort(left)),
                    splits["train"].take(np.sort(drawn)),
                )
                self._notes.append(f"{split}: {len(drawn):,} {self.things} drawn from train")
        return {split: splits[split] for split in SPLITS if split in splits}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.rows)

    def prepare_data(self) -> None:
        """Read, check, tokenize.

        Raises:
            UserError: the rows are not in order; see `rows`.
        """
        for split in self.splits:
            self.encoded(split)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all rows."""
        digest = hashlib.sha256()
        for split, rows in self.rows.items():
            digest.update(f"\0{split}\0".encode())
            for given, wanted in zip(rows.given, rows.wanted, strict=True):
                digest.update(f"{wanted}\0{given}\0".encode())
        return digest.hexdigest()
