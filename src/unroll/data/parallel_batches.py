"""Pairs of texts side by side, as a model reads them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unroll.data.batches import Batches
from unroll.data.subwords import BEGIN, END
from unroll.data.tokenizing import PAD, Sequences


class PairBatch(NamedTuple):
    """Pairs side by side.

    Attributes:
        source: (source time, batch) of int64; `PAD` past a sentence's end.
        lengths: (batch,) of int64, of the sources; None where all are as long as time.
        target: (target time, batch) of int64, each ended by `END`; `PAD` past that.
        references: the target texts as they were written; empty in training.
        rows: (batch,) of int64: which of its split's pairs each is.
        within: (token_count,) of int64: where the target, flattened, has a token.
        token_count: of the targets, without the padding.
        share: the weight of this process's mean in that over all processes.
        begins: whether it starts from the initial state: sentences always do.
    """

    source: Tensor
    lengths: Tensor | None
    target: Tensor
    references: tuple[str, ...]
    rows: Tensor
    within: Tensor
    token_count: int
    share: float
    begins: bool = True

    def flat(self, steps: Tensor) -> Tensor:
        """(target time, batch, ...) -> (token_count, ...), without the padding. Where that lies was found before the batch
        came to its device, which is not waited for."""
        return steps.flatten(0, 1).index_select(0, self.within)


class PairBatches(Batches):
    """Batches of pairs of like lengths on both sides, so that little of a batch is padding.

    Pairs lie in the order of their target's and then their source's length, those with equal lengths in a new order each
    epoch; batches are cut from that, and shuffled.

    Args:
        sources, targets: the tokens of both sides.
        references: the target texts; None: not needed.
        batch_tokens: a batch's pairs times its longest side, at most, over all processes; but always one pair.
        seed, rank, world_size: see `Batches`.
    """

    def __init__(
        self,
        sources: Sequences,
        targets: Sequences,
        references: list[str] | None,
        batch_tokens: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed, rank, world_size)
        self.sources = sources
        self.targets = targets
        self.references = references
        self._target_lengths = targets.lengths + 1  # with the end
        longest = np.maximum(sources.lengths, self._target_lengths)
        self._cuts = [0]
        most = 0
        for number, row in enumerate(self._in_order(np.arange(len(targets)))):
            most = max(most, int(longest[row]))
            if (number + 1 - self._cuts[-1]) * most > batch_tokens and number > self._cuts[-1]:
                self._cuts.append(number)
                most = int(longest[row])
        self._cuts.append(len(targets))

    def _in_order(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.lexsort((self.sources.lengths[rows], self._target_lengths[rows]))[::-1]]

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def batches(self, draw: np.random.Generator | None) -> list[np.ndarray]:
        rows = np.arange(len(self.targets))
        ordered = self._in_order(rows if draw is None else draw.permutation(rows))
        cut = np.split(ordered, self._cuts[1:-1])
        return cut if draw is None else [cut[index] for index in draw.permutation(len(cut))]

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> PairBatch:
        source, lengths = self.sources.padded(rows)
        target, _ = self.targets.padded(rows)
        target = torch.cat([target, target.new_full((1, len(rows)), PAD)])
        target[torch.from_numpy(self.targets.lengths[rows]), torch.arange(len(rows))] = END
        count = int(self._target_lengths[rows].sum())
        return PairBatch(
            source,
            lengths,
            target,
            () if self.references is None else tuple(self.references[row] for row in rows),
            torch.from_numpy(rows),
            torch.nonzero(target.flatten() != PAD).squeeze(1),
            count,
            count * self.world_size / int(self._target_lengths[whole].sum()),
        )


def begun(target: Tensor) -> Tensor:
    """What a decoder reads while it writes `target`, (time, batch): `BEGIN`, and then all but the last token."""
    return torch.cat([target.new_full((1, target.shape[1]), BEGIN), target[:-1]])
