"""Sequences of many lengths in batches of like lengths, so that little of a batch is padding."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unroll.data.batches import Batches
from unroll.data.tokenizing import Sequences

# A bucket ends where lengths have become a tenth less than its longest, if there are some batches in it to draw from.
_SHORTEST = 0.9
_BATCHES_AT_LEAST, _BATCHES_AT_MOST = 4, 50


class LabelledBatch(NamedTuple):
    """Sequences side by side, and the class of each.

    Attributes:
        tokens: (time, batch) of int64; `PAD` past a sequence's end.
        lengths: (batch,) of int64, each at least 1; None where all are as long as time.
        labels: (batch,) of int64.
        rows: (batch,) of int64: which of its split's sequences each is.
        token_count: without the padding.
        share: the weight of this process's mean in that over all processes: 1 where each has as many sequences.
        begins: whether it starts from the initial state: sequences that end always do.
    """

    tokens: Tensor
    lengths: Tensor | None
    labels: Tensor
    rows: Tensor
    token_count: int
    share: float
    begins: bool = True


class LengthBuckets(Batches):
    """Batches of sequences of like length.

    Sequences in the order of their lengths are cut into buckets; a batch is drawn within one. What lies in which bucket is
    fixed, so an epoch always has the same number of batches.

    Args:
        lengths: (count,): of the sequences.
        batch_size: sequences a batch, over all processes.
        batch_tokens: tokens a batch at most, padding included: where sequences are long, fewer make a batch, but always one.
        seed: of the order, another one each epoch; None: always in order of length, the longest first.
        rank, world_size: this process and the number of processes: each has its share of every batch.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        batch_tokens: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed, rank, world_size)
        order = np.argsort(-lengths, kind="stable")
        self._buckets: list[tuple[np.ndarray, int]] = []  # its sequences, and how many make a batch
        start = 0
        while start < len(order):
            longest = lengths[order[start]]
            size = max(1, min(batch_size, batch_tokens // int(longest)))
            alike = int((lengths[order[start:]] >= _SHORTEST * longest).sum())
            batches = min(max(-(-alike // size), _BATCHES_AT_LEAST), _BATCHES_AT_MOST)
            self._buckets.append((order[start : start + size * batches], size))
            start += size * batches

    def __len__(self) -> int:
        return sum(-(-len(bucket) // size) for bucket, size in self._buckets)

    def batches(self, draw: np.random.Generator | None) -> list[np.ndarray]:
        batches = []
        for bucket, size in self._buckets:
            members = bucket if draw is None else draw.permutation(bucket)
            batches += [members[start : start + size] for start in range(0, len(members), size)]
        return batches if draw is None else [batches[index] for index in draw.permutation(len(batches))]


class Buckets(LengthBuckets):
    """Such batches of sequences with a class each.

    Args:
        sequences: the tokens.
        labels: (count,) of int64.
        batch_size, batch_tokens, seed, rank, world_size: see `LengthBuckets`.
    """

    def __init__(
        self,
        sequences: Sequences,
        labels: np.ndarray,
        batch_size: int,
        batch_tokens: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(sequences.lengths, batch_size, batch_tokens, seed, rank, world_size)
        self.sequences = sequences
        self.labels = labels

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> LabelledBatch:
        tokens, lengths = self.sequences.padded(rows)
        return LabelledBatch(
            tokens,
            lengths,
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(rows),
            int(self.sequences.lengths[rows].sum()),
            len(rows) * self.world_size / len(whole),
        )
