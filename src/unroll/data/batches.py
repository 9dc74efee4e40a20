"""Passes over sequences in batches: shuffled anew each epoch, shared out over processes, gone on with where they stopped."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np


class Batches(ABC):
    """A loader of batches. A subclass says which sequences make a batch, and how they lie in it.

    Args:
        seed: of the order, another one each epoch; None: always the same.
        rank, world_size: this process and the number of processes: each has its share of every batch.
    """

    def __init__(self, seed: int | None, rank: int, world_size: int) -> None:
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._epoch = 0
        self._position = 0
        self._resume_at = 0

    @abstractmethod
    def __len__(self) -> int:
        """The number of batches, the same in every epoch."""

    @abstractmethod
    def batches(self, draw: np.random.Generator | None) -> list[np.ndarray]:
        """The sequences of each batch of an epoch, in the order of the batches.

        Args:
            draw: where chance comes from; None: there is to be none.
        """

    @abstractmethod
    def collate(self, rows: np.ndarray, whole: np.ndarray) -> Any:
        """A batch.

        Args:
            rows: the sequences of this process, at least one.
            whole: those of all processes.
        """

    def __iter__(self) -> Iterator[Any]:
        epoch, position, self._resume_at = self._epoch, self._resume_at, 0
        batches = self.batches(None if self.seed is None else np.random.default_rng([self.seed, epoch]))
        for number in range(position, len(batches)):
            ends = number + 1 == len(batches)
            self._epoch, self._position = (epoch + 1, 0) if ends else (epoch, number + 1)
            whole = batches[number]
            rows = whole[self.rank :: self.world_size]
            # Fewer sequences than processes: one that counts nothing keeps this process in step.
            yield self.collate(rows, whole) if len(rows) else self.collate(whole[:1], whole)._replace(share=0.0)

    def state_dict(self) -> dict[str, int]:
        """Which batch comes next."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next pass there."""
        self._epoch = state["epoch"]
        self._position = self._resume_at = state["position"]


class EvenBatches(Batches):
    """All batches of one size, but the last.

    Args:
        count: how many sequences there are.
        batch_size: sequences a batch, over all processes.
        seed, rank, world_size: see `Batches`.
    """

    def __init__(self, count: int, batch_size: int, seed: int | None, rank: int, world_size: int) -> None:
        super().__init__(seed, rank, world_size)
        self.count = count
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def batches(self, draw: np.random.Generator | None) -> list[np.ndarray]:
        rows = np.arange(self.count) if draw is None else draw.permutation(self.count)
        return [rows[start : start + self.batch_size] for start in range(0, self.count, self.batch_size)]
