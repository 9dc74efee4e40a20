"""What captions are worth: BLEU and its kin against all references, each aspect by itself, and a sheet of pictures."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from unroll.insight.pictures import BLUE, ORANGE, draw_beside

_COLUMNS = 4
_LINE = 30  # letters of a caption on a line of the sheet


@dataclass(frozen=True)
class Captions:
    """What was written for a split, beside what could have been.

    Attributes:
        hypotheses: what the model wrote, a picture each.
        references: all captions of each picture.
    """

    hypotheses: Sequence[str]
    references: Sequence[Sequence[str]]

    @cached_property
    def exact(self) -> np.ndarray:
        """(count,) of bool: which are one of their references to the letter, capitals and runs of spaces aside."""
        return np.array(
            [
                _line(one) in {_line(other) for other in several}
                for one, several in zip(self.hypotheses, self.references, strict=True)
            ]
        )

    def _columns(self) -> list[list[str]]:
        """First references, second ones, ...; where a picture has no more, its last again: that counts nothing."""
        most = max(map(len, self.references))
        return [[several[min(place, len(several) - 1)] for several in self.references] for place in range(most)]

    def scores(self) -> dict[str, float]:
        """By standard names, all without capitals: bleu of the corpus, sacrebleu's, 0 to 100; chrf, 0 to 100; exact_match, a
        share."""
        columns = self._columns()
        return {
            "bleu": float(BLEU(lowercase=True).corpus_score(self.hypotheses, columns).score),
            "chrf": float(CHRF(lowercase=True).corpus_score(self.hypotheses, columns).score),
            "exact_match": float(self.exact.mean()),
        }

    @staticmethod
    def signatures() -> dict[str, str]:
        """What exactly was computed, as sacrebleu writes it."""
        found = {}
        for name, metric in (("bleu", BLEU(lowercase=True)), ("chrf", CHRF(lowercase=True))):
            metric.corpus_score(["a"], [["a"]])
            found[name] = str(metric.get_signature())
        return found

    @cached_property
    def by_picture(self) -> np.ndarray:
        """(count,): chrF of each, 0 to 100."""
        metric = CHRF(lowercase=True)
        return np.array(
            [
                metric.sentence_score(one, list(several)).score
                for one, several in zip(self.hypotheses, self.references, strict=True)
            ]
        )

    def aspects(self, read: Callable[[str], dict[str, str]]) -> dict[str, float]:
        """The share of pictures of which each aspect was told right, by the reference that most of them agree with.

        Args:
            read: what a caption says of each aspect.
        """
        right: dict[str, int] = {}
        for hypothesis, several in zip(self.hypotheses, self.references, strict=True):
            said = read(hypothesis)
            agreed = [
                {name: said.get(name) == value for name, value in read(reference).items()} for reference in several
            ]
            for name, same in max(agreed, key=lambda found: sum(found.values())).items():
                right[name] = right.get(name, 0) + same
        return {name: count / len(self.hypotheses) for name, count in right.items()}


def _line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def draw_sheet(pictures: np.ndarray, captions: Captions, rows: Sequence[int], picture: Path) -> None:
    """Pictures with what was written of them; where that is none of the references, the first of these below it.

    Args:
        pictures: (count, 3, height, width) of uint8, those of `rows`.
        captions: of the whole split.
        rows: which of them are shown.
        picture: the file.
    """
    import textwrap

    cells = []
    for pixels, row in zip(pictures, rows, strict=True):
        right = bool(captions.exact[row])
        told = textwrap.fill(captions.hypotheses[row] or "(nothing)", _LINE)
        if not right:
            told += "\n" + textwrap.fill(f"not: {captions.references[row][0]}", _LINE)
        cells.append((pixels.transpose(1, 2, 0), told, BLUE if right else ORANGE))
    above = 0.15 + 0.14 * max(told.count("\n") + 1 for _, told, _ in cells)
    draw_beside(cells, _COLUMNS, 2.6, above, picture)
