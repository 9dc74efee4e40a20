"""Tagged sentences as numbers, side by side in batches of like lengths."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unroll.data.buckets import LengthBuckets
from unroll.data.tagged_spec import TaggedTextSpec
from unroll.data.tokenizing import PAD, Sequences

Spellings = tuple[tuple[Tensor, Tensor | None], ...]
"""Different words in groups of like length: of each group the characters (letters, words) of int64, `PAD` past a word's end,
and how many each word has, (words,) of int64; None where all have as many."""

NO_TAG = -1
"""What stands in a batch past a sentence's end."""


class Encoded(NamedTuple):
    """Sentences as numbers.

    Attributes:
        words: which of the different words each is, as sequences.
        tags: (total,) of int64: the tag of each.
        tokens: (different,) of int64: the token of each different word.
        spellings: the characters of each different word.
    """

    words: Sequences
    tags: np.ndarray
    tokens: np.ndarray
    spellings: Sequences


def encode_sentences(spec: TaggedTextSpec, sentences: Sequence[Sequence[str]], tags: np.ndarray | None) -> Encoded:
    """Sentences as numbers; their tags too, where they are known."""
    different: dict[str, int] = {}
    found = [np.array([different.setdefault(word, len(different)) for word in one], np.int32) for one in sentences]
    spelled = [np.array(spec.spelled(word), np.int32) for word in different]
    words = Sequences.of(found)
    return Encoded(
        words,
        np.full(len(words.tokens), NO_TAG, np.int64) if tags is None else tags,
        np.array([spec.token(word) for word in different], np.int64),
        Sequences.of(spelled),
    )


class TaggedBatch(NamedTuple):
    """Sentences side by side.

    Attributes:
        tokens: (time, batch) of int64; `PAD` past a sentence's end.
        lengths: (batch,) of int64; None where all are as long as time.
        tags: (time, batch) of int64; `NO_TAG` past a sentence's end.
        spellings: the characters of the batch's different words, see `Spellings`.
        places: (time, batch) of int64: which of these each word is, counted over all groups; 0 past a sentence's end.
        rows: (batch,) of int64: which of its split's sentences each is.
        token_count: words, without the padding.
        share: the weight of this process's mean in that over all processes.
        begins: whether it starts from the initial state: sentences always do.
    """

    tokens: Tensor
    lengths: Tensor | None
    tags: Tensor
    spellings: Spellings
    places: Tensor
    rows: Tensor
    token_count: int
    share: float
    begins: bool = True


class TaggedBatches(LengthBuckets):
    """Batches of sentences of like length.

    Args:
        encoded: the sentences.
        batch_size, batch_tokens, seed, rank, world_size: see `LengthBuckets`.
        letters: of the longest word of each group of spellings but the last; none: all words are in one, in the order of
            their first coming.
    """

    def __init__(
        self,
        encoded: Encoded,
        batch_size: int,
        batch_tokens: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        letters: tuple[int, ...] = (8, 16),
    ) -> None:
        super().__init__(encoded.words.lengths, batch_size, batch_tokens, seed, rank, world_size)
        self.letters = letters
        self.encoded = encoded
        self._tags = Sequences(encoded.tags, encoded.words.offsets)

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> TaggedBatch:
        words, spellings = self.encoded.words, self.encoded.spellings
        flat = np.concatenate([words[row] for row in rows])
        _, first, places = np.unique(flat, return_index=True, return_inverse=True)
        # Long words apart, or one of them would pad all others; within a group in the order of their first coming.
        group = np.digitize(spellings.lengths[flat[first]], self.letters, right=True)
        order = np.lexsort((first, group))
        places = np.argsort(order)[places]
        present, group = flat[first[order]], group[order]
        count = len(flat)
        lengths = words.lengths[rows]
        within = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).t()
        tags, tokens, where = (torch.full(within.shape, filled) for filled in (NO_TAG, PAD, 0))
        for padded, values in (
            (tags, np.concatenate([self._tags[row] for row in rows])),
            (tokens, self.encoded.tokens[flat]),
            (where, places.astype(np.int64)),
        ):
            padded.t()[within.t()] = torch.from_numpy(values)
        return TaggedBatch(
            tokens,
            None if lengths.min() == lengths.max() else torch.from_numpy(lengths),
            tags,
            tuple(spellings.padded(present[group == number]) for number in np.unique(group)),
            where,
            torch.from_numpy(rows),
            count,
            count * self.world_size / int(words.lengths[whole].sum()),
        )
