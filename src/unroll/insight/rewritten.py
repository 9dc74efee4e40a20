"""What was made of texts, beside what should have been: scores, the best and the worst side by side."""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unroll.writing import written_whole


class Rewritten(ABC):
    """What was written for a split. A subclass says how it is scored.

    Args:
        hypotheses: what the model wrote.
        references: what stands in the data.
    """

    of_all: str
    """The score of many together, in pictures."""
    each: str
    """The score of each by itself, in tables."""
    most: float
    """The best score of many that there is."""

    def __init__(self, hypotheses: Sequence[str], references: Sequence[str]) -> None:
        self.hypotheses = hypotheses
        self.references = references

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """By standard names."""

    @abstractmethod
    def signatures(self) -> dict[str, str]:
        """What exactly was computed, of scores that are known in several forms."""

    @abstractmethod
    def score_of(self, some: np.ndarray) -> float:
        """The score of those where `some`, (count,) of bool, is true."""

    @property
    @abstractmethod
    def by_sentence(self) -> np.ndarray:
        """(count,): the score of each."""

    @property
    def exact_match(self) -> float:
        """The share that is the reference to the letter, runs of spaces aside."""
        same = [_line(one) == _line(other) for one, other in zip(self.hypotheses, self.references, strict=True)]
        return sum(same) / len(same)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """A text a line, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_text("".join(f"{_line(line)}\n" for line in lines), encoding="utf-8")


def _line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def examples(written: Rewritten, sources: Sequence[str], count: int) -> list[list[object]]:
    """Rows of score, source, reference and hypothesis: the `count` worst, the worst first, and then the best."""
    order = np.argsort(written.by_sentence, kind="stable")
    chosen = order if len(order) <= 2 * count else np.concatenate([order[:count], order[-count:]])
    return [
        [
            float(f"{written.by_sentence[row]:.3g}"),
            sources[row],
            written.references[row],
            written.hypotheses[row],
        ]
        for row in chosen
    ]
