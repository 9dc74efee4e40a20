"""Sequences to be looked at, with what each step of them is in writing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tokenizers import Tokenizer


@dataclass(frozen=True)
class Reading:
    """A batch, and how it reads.

    Attributes:
        batch: as the task takes it.
        words: by the part of the model that reads it ("" if there is but one), of each sequence what each step is in writing;
            one after the other they are the text.
        facts: what is to be known of each sequence, by its name: a name that units may depend on, as of a class.
    """

    batch: Any
    words: Mapping[str, list[list[str]]]
    facts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def words_of(self, cell: str) -> list[list[str]]:
        """Those that a cell reads, by the cell's name."""
        return next(words for part, words in self.words.items() if cell.startswith(part))


def cut_by_tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    """A text in the pieces that its tokens stand for, with what follows each; one after the other they are the text."""
    starts = [start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets]
    ends = [*starts[1:], len(text)]
    return [text[0 if index == 0 else start : end] for index, (start, end) in enumerate(zip(starts, ends, strict=True))]


def enough(lengths: np.ndarray, steps: int) -> np.ndarray:
    """The first sequences that have so many steps together; one at least, and no part of one."""
    return np.arange(max(1, int((np.cumsum(lengths) <= steps).sum())))
