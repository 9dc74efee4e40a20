"""Pictures read a pixel a step, with a class each: the format behind sequential MNIST."""

import hashlib
import json
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from unroll.data.base import DAMAGED
from unroll.data.batches import EvenBatches
from unroll.data.rows import RowData, Rows
from unroll.errors import UserError
from unroll.truncation import Truncation

LARGEST = 512
"""Pixels a side: 262,144 steps."""


@dataclass(frozen=True)
class PixelSpec:
    """What a model must know of such pictures.

    Attributes:
        size: pixels a side.
        labels: the names of the classes.
        permutation: the seed of the order in which the pixels are read; None: line by line, from the top left.
    """

    size: int
    labels: tuple[str, ...]
    permutation: int | None

    @property
    def identity(self) -> str:
        """What gives a model's numbers their meaning."""
        return json.dumps([self.size, self.labels, self.permutation])

    @cached_property
    def order(self) -> np.ndarray:
        """(size * size,) of int64: the place in the picture, line by line, that each step reads."""
        places = np.arange(self.size * self.size)
        return places if self.permutation is None else np.random.default_rng(self.permutation).permutation(places)

    def read(self, pictures: np.ndarray) -> Tensor:
        """(count, size, size) of uint8 -> (time, count, 1) of float32, from 0, black, to 1."""
        steps = pictures.reshape(len(pictures), -1)[:, self.order]
        return (torch.from_numpy(steps.T.copy()).float() / 255)[..., None]


class PixelBatch(NamedTuple):
    """Pictures side by side.

    Attributes:
        steps: (time, batch, 1) of float32.
        labels: (batch,) of int64.
        rows: (batch,) of int64: which picture of its split each is.
        share: the weight of this process's mean in that over all processes.
        begins: whether it starts from the initial state: pictures always do.
    """

    steps: Tensor
    labels: Tensor
    rows: Tensor
    share: float
    begins: bool = True


class PixelBatches(EvenBatches):
    """Batches of pictures.

    Args:
        spec: how they are read.
        pictures: (count, size, size) of uint8.
        labels: (count,) of int64.
        batch_size: pictures a batch, over all processes.
        seed, rank, world_size: see `Batches`.
    """

    def __init__(
        self,
        spec: PixelSpec,
        pictures: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(len(labels), batch_size, seed, rank, world_size)
        self.spec = spec
        self.pictures = pictures
        self.labels = labels

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> PixelBatch:
        return PixelBatch(
            self.spec.read(self.pictures[rows]),
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(rows),
            len(rows) * self.world_size / len(whole),
        )


class PixelData(RowData[Rows]):
    """Pictures in grey with a class each. A subclass says where they come from: `read`, whose rows are what a picture is
    called and the name of its class, and `pictures`.

    Args:
        size: pixels a side.
        permutation: the pixels are read in an order drawn from this seed, the same for all pictures (permuted MNIST: Le et
            al. 2015); None: line by line.
        batch_size: pictures a batch, over all devices.
        eval_batch_size: the same in validation and test; speed only.
        truncation: not needed here: every batch holds whole pictures.
        **splits: see `RowData`.

    Raises:
        UserError: see `prepare_data`.
    """

    things = "pictures"

    def __init__(
        self,
        size: Annotated[int, Field(ge=1, le=LARGEST)],
        permutation: NonNegativeInt | None,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        truncation: Truncation,
        **splits: Any,
    ) -> None:
        super().__init__(**splits)
        self.size = size
        self.permutation = permutation
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size

    @abstractmethod
    def pictures(self, split: str) -> np.ndarray:
        """(count, size, size) of uint8: those of the rows of a split.

        Raises:
            UserError: one cannot be read.
        """

    def check(self, split: str, rows: Rows) -> None:
        if not rows.given:
            raise UserError(f"{rows.source}: the {split} split has no pictures")

    def prepare_data(self) -> None:
        """Read, check, and bring to one size.

        Raises:
            UserError: a picture or a class that cannot be read, or that train has not.
        """
        for split in self.splits:
            self.labels(split)
        super().prepare_data()

    def encoded(self, split: str) -> np.ndarray:
        """The `pictures` of a split, kept: (count, size, size) of uint8."""
        cache = self.__dict__.setdefault("_encoded", {})
        if split not in cache:
            cache[split] = self.pictures(split)
        found: np.ndarray = cache[split]
        return found

    def labels(self, split: str) -> np.ndarray:
        """(count,) of int64: the classes of a split.

        Raises:
            UserError: one is unknown to train.
        """
        number = {name: index for index, name in enumerate(self.spec.labels)}
        rows = self.rows[split]
        for index, name in enumerate(rows.wanted):
            if name not in number:
                raise UserError(f"{rows.place(index)}: the class {name} is none of train: {', '.join(number)}")
        return np.array([number[name] for name in rows.wanted])

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(super().fingerprint.encode())
        for split in self.splits:
            digest.update(self.encoded(split).tobytes())
        return digest.hexdigest()

    @cached_property
    def spec(self) -> PixelSpec:
        found = sorted(set(self.rows["train"].wanted))
        if len(found) < 2:
            raise UserError(f"{self.source}: train has one class only, {found[0]}: there is nothing to tell apart")
        return PixelSpec(self.size, tuple(found), self.permutation)

    def save_spec(self, folder: Path) -> None:
        found = {"size": self.spec.size, "labels": self.spec.labels, "permutation": self.spec.permutation}
        (folder / "pixels.json").write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def load_spec(folder: Path) -> PixelSpec:
        path = folder / "pixels.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            size, labels, permutation = found["size"], found["labels"], found["permutation"]
            spec = PixelSpec(int(size), tuple(str(name) for name in labels), permutation and int(permutation))
            if not isinstance(labels, list) or not 0 < spec.size <= LARGEST or (spec.permutation or 0) < 0:
                raise ValueError(f"size {spec.size}, permutation {spec.permutation}, labels {type(labels).__name__}")
        except DAMAGED as error:
            raise UserError(f"{path}: is not whole ({error!r})") from None
        return spec

    def adopt(self, spec: PixelSpec) -> None:
        if (spec.size, spec.permutation) != (self.size, self.permutation):
            order = "null" if spec.permutation is None else spec.permutation
            raise UserError(
                f"{self.source}: the run was trained with data.size={spec.size} data.permutation={order}: give the same"
            )
        self.__dict__["spec"] = spec

    def describe(self) -> list[str]:
        size = self.spec.size
        order = "line by line" if self.permutation is None else f"in an order drawn from seed {self.permutation}"
        return [
            ", ".join(f"{split} {len(rows.given):,}" for split, rows in self.rows.items())
            + f" pictures of {size} x {size} pixels, {size * size:,} steps, {order}",
            f"{len(self.spec.labels)} classes: {', '.join(self.spec.labels[:20])}"
            + (" ..." if len(self.spec.labels) > 20 else ""),
            *self._notes,
        ]

    def train_dataloader(self) -> PixelBatches:
        return PixelBatches(
            self.spec,
            self.encoded("train"),
            self.labels("train"),
            self.batch_size,
            self._seed,
            self.rank,
            self.world_size,
        )

    def eval_dataloader(self, splits: str) -> PixelBatches:
        names = self.named_splits(splits)
        pictures = np.concatenate([self.encoded(name) for name in names])
        labels = np.concatenate([self.labels(name) for name in names])
        return PixelBatches(
            self.spec, pictures, labels, self.eval_batch_size, rank=self.rank, world_size=self.world_size
        )
