"""Generated sequences whose end asks for something that stood `lag` steps before: the format of the memory tasks."""

import hashlib
import json
import math
from abc import abstractmethod
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from unroll.data.base import DAMAGED, SPLITS, Data
from unroll.data.batches import EvenBatches
from unroll.errors import UsageError, UserError
from unroll.schema import Sizes
from unroll.truncation import Truncation

EXACT = 0.04
"""How near a number must be to count as right (Hochreiter & Schmidhuber 1997, section 5.4)."""
_SHOWN = 12  # symbols that an error line names


class Drawn(NamedTuple):
    """Sequences of one length.

    Attributes:
        steps: (count, time) of numbers of symbols, or (count, time, features) of float32.
        answers: (count, asked): classes, or float32; of the last `asked` steps.
    """

    steps: np.ndarray
    answers: np.ndarray

    def take(self, rows: np.ndarray) -> Self:
        """Some of them."""
        return type(self)(self.steps[rows], self.answers[rows])


@dataclass(frozen=True)
class MemorySpec:
    """What a model must know of a memory task.

    Attributes:
        symbols: how each possible step is written; none where a step is numbers.
        features: numbers a step where it is numbers; 0 where it is a symbol.
        answers: how each class is written that can be the answer; none where the answer is a number.
        asked: how many steps at the end are asked for an answer.
        lag: steps between what is to be remembered and the step that asks for it.
    """

    symbols: tuple[str, ...]
    features: int
    answers: tuple[str, ...]
    asked: int
    lag: int

    @property
    def identity(self) -> str:
        """What gives a model's numbers their meaning; not the lag: a model may be asked for any."""
        return json.dumps([self.symbols, self.features, self.answers])

    @property
    def outputs(self) -> int:
        """Numbers that a model answers with."""
        return len(self.answers) or 1

    def read(self, text: str) -> np.ndarray:
        """(time,) or (time, features): a sequence as it is written, its steps apart by spaces; a number with a mark is
        written `0.25*`.

        Raises:
            UserError: a step that there cannot be, or none at all.
        """
        words = text.split()
        if len(words) < self.asked:
            raise UserError(f"the sequence has {len(words)} steps, and {self.asked} are asked for an answer")
        return np.stack([self._read_step(word, number) for number, word in enumerate(words, 1)])

    def _read_step(self, word: str, number: int) -> np.ndarray:
        if self.symbols:
            if word not in self.symbols:
                shown = " ".join(self.symbols[:_SHOWN]) + (" ..." if len(self.symbols) > _SHOWN else "")
                raise UserError(f"step {number}: {word!r} is none of the {len(self.symbols)} symbols: {shown}")
            return np.array(self.symbols.index(word))
        try:
            value = float(word.removesuffix("*"))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"step {number}: {word!r} is no number; write 0.25, or 0.25* for one with a mark")
        return np.array([value, float(word.endswith("*"))], np.float32)

    def write(self, steps: np.ndarray) -> str:
        """The text of a sequence: what `read` reads."""
        if self.symbols:
            return " ".join(self.symbols[step] for step in steps.tolist())
        return " ".join(f"{value:.4f}" + ("*" if mark else "") for value, mark in steps.tolist())


class MemoryBatch(NamedTuple):
    """Sequences side by side.

    Attributes:
        steps: (time, batch) of int64, or (time, batch, features) of float32.
        answers: (asked, batch) of int64 or float32.
        share: the weight of this process's mean in that over all processes: 1 where each has as many sequences.
        begins: whether it starts from the initial state: sequences that end always do.
    """

    steps: Tensor
    answers: Tensor
    share: float = 1.0
    begins: bool = True


class MemoryBatches(EvenBatches):
    """Batches of such sequences.

    Args:
        drawn: the sequences.
        batch_size: sequences a batch, over all processes.
        seed, rank, world_size: see `Batches`.
    """

    def __init__(
        self, drawn: Drawn, batch_size: int, seed: int | None = None, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(len(drawn.steps), batch_size, seed, rank, world_size)
        self.drawn = drawn

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> MemoryBatch:
        return side_by_side(self.drawn.take(rows))._replace(share=len(rows) * self.world_size / len(whole))


def side_by_side(drawn: Drawn) -> MemoryBatch:
    """A batch of them."""
    steps, answers = (torch.from_numpy(part.swapaxes(0, 1).copy()) for part in drawn)
    steps, answers = (part if part.is_floating_point() else part.long() for part in (steps, answers))
    return MemoryBatch(steps, answers)


class MemoryData(Data):
    """Such sequences, all of one length, drawn anew from a seed. A subclass says what they are: `spec` and `draw`.

    Args:
        lag: steps between what is to be remembered and the step that asks for it.
        sizes: sequences in train, validation and test.
        batch_size: sequences a batch, over all devices.
        eval_batch_size: the same in validation and test; speed only.
        sequence_seed: another one, other sequences.
        truncation: not needed here: every batch holds whole sequences.
    """

    shortest = 1
    """The least lag that there can be."""

    def __init__(
        self,
        lag: PositiveInt,
        sizes: Sizes,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        sequence_seed: NonNegativeInt,
        truncation: Truncation,
    ) -> None:
        super().__init__()
        self.lag = lag
        self.sizes = dict(zip(SPLITS, sizes, strict=True))
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.sequence_seed = sequence_seed
        self._seed = torch.initial_seed() % 2**31  # the run's, the same in every process: the order of the sequences
        self._drawn: dict[str, Drawn] = {}

    @property
    @abstractmethod
    def spec(self) -> MemorySpec:
        """What a model must know of it."""

    @abstractmethod
    def draw(self, count: int, lag: int, chance: np.random.Generator) -> Drawn:
        """Sequences that ask for what stood `lag` steps before."""

    @property
    @abstractmethod
    def guessing(self) -> dict[str, float]:
        """What is scored by the best answer that does not depend on the sequence: the level of chance."""

    @property
    def knowing(self) -> dict[str, float]:
        """What is scored by who remembers."""
        return {name: float(name == "accuracy") for name in self.guessing}

    def drawn_at(self, lag: int, splits: str) -> Drawn:
        """A thousand sequences of another lag, which belong to no split; others beside each, or several joined by +."""
        beside = [SPLITS.index(split) for split in splits.split("+")]
        return self.draw(1000, lag, np.random.default_rng([self.sequence_seed, len(SPLITS), lag, *beside]))

    def drawn(self, split: str) -> Drawn:
        """The sequences of a split."""
        if split not in self._drawn:
            chance = np.random.default_rng([self.sequence_seed, SPLITS.index(split), self.lag])
            self._drawn[split] = self.draw(self.sizes[split], self.lag, chance)
        return self._drawn[split]

    def prepare_data(self) -> None:
        """Draw the sequences.

        Raises:
            UsageError: a lag that there cannot be.
        """
        if self.lag < self.shortest:
            raise UsageError(f"data.lag={self.lag}: here it is at least {self.shortest}")
        for split in SPLITS:
            self.drawn(split)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all sequences."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for part in self.drawn(split):
                digest.update(part.tobytes())
        return digest.hexdigest()

    def save_spec(self, folder: Path) -> None:
        (folder / "symbols.json").write_text(json.dumps(asdict(self.spec), ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def load_spec(folder: Path) -> MemorySpec:
        path = folder / "symbols.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            symbols, answers = (tuple(str(name) for name in found[key]) for key in ("symbols", "answers"))
            features, asked, lag = (int(found[key]) for key in ("features", "asked", "lag"))
        except DAMAGED as error:
            raise UserError(f"{path}: is not whole ({error!r})") from None
        return MemorySpec(symbols, features, answers, asked, lag)

    def adopt(self, spec: MemorySpec) -> None:
        if spec.identity != self.spec.identity:
            raise UserError(f"{self.source}: the run was trained with other symbols or answers")

    def describe(self) -> list[str]:
        steps = self.drawn("train").steps.shape[1]
        sizes = ", ".join(f"{split} {size:,}" for split, size in self.sizes.items())
        example = self.spec.write(self.drawn("train").steps[0])
        return [
            f"{sizes} sequences of {steps:,} steps; what is asked for stood {self.lag:,} steps before",
            f"as {example if len(example) <= 100 else example[:48] + ' ... ' + example[-47:]}",
        ]

    def train_dataloader(self) -> MemoryBatches:
        return MemoryBatches(self.drawn("train"), self.batch_size, self._seed, self.rank, self.world_size)

    def eval_dataloader(self, splits: str) -> MemoryBatches:
        parts = [self.drawn(name) for name in self.named_splits(splits)]
        joined = Drawn(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        return MemoryBatches(joined, self.eval_batch_size, rank=self.rank, world_size=self.world_size)


def guessing_classes(count: int) -> dict[str, float]:
    """Of so many equally frequent classes."""
    return {"loss": math.log(count), "accuracy": 1 / count}
