"""What translations are worth: BLEU and its kin, BLEU against length, the best and the worst side by side."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from unroll.writing import write_csv, written_whole


@dataclass(frozen=True)
class Translations:
    """What was written for a split, beside what should have been.

    Attributes:
        hypotheses: what the model wrote.
        references: what stands in the data.
    """

    hypotheses: Sequence[str]
    references: Sequence[str]

    def scores(self) -> dict[str, float]:
        """By standard names.

        bleu, of the corpus, with capitals and sacrebleu's own tokens (13a), 0 to 100; bleu_lowercase, the same without
        capitals, as some papers have it; chrf, 0 to 100; exact_match, the share that is the reference to the
        letter, runs of spaces aside.
        """
        same = [_line(one) == _line(other) for one, other in zip(self.hypotheses, self.references, strict=True)]
        return {
            "bleu": self._bleu(BLEU()),
            "bleu_lowercase": self._bleu(BLEU(lowercase=True)),
            "chrf": float(CHRF().corpus_score(self.hypotheses, [self.references]).score),
            "exact_match": sum(same) / len(same),
        }

    def _bleu(self, metric: BLEU) -> float:
        return float(metric.corpus_score(self.hypotheses, [self.references]).score)

    @staticmethod
    def signatures() -> dict[str, str]:
        """What exactly was computed, as sacrebleu writes it."""
        found = {}
        for name, metric in (("bleu", BLEU()), ("bleu_lowercase", BLEU(lowercase=True)), ("chrf", CHRF())):
            metric.corpus_score(["a"], [["a"]])
            found[name] = str(metric.get_signature())
        return found

    def bleu_of(self, some: np.ndarray) -> float:
        """BLEU of those where `some`, (count,) of bool, is true."""
        rows = np.flatnonzero(some).tolist()
        part = Translations([self.hypotheses[row] for row in rows], [self.references[row] for row in rows])
        return part._bleu(BLEU())

    @cached_property
    def by_sentence(self) -> np.ndarray:
        """(count,): chrF of each, 0 to 100."""
        metric = CHRF()
        return np.array(
            [
                metric.sentence_score(hypothesis, [reference]).score
                for hypothesis, reference in zip(self.hypotheses, self.references, strict=True)
            ]
        )


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """A text a line, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_text("".join(f"{_line(line)}\n" for line in lines), encoding="utf-8")


def _line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def examples(translations: Translations, sources: Sequence[str], count: int) -> list[list[object]]:
    """Rows of chrF, source, reference and hypothesis: the `count` worst, the worst first, and then the best."""
    order = np.argsort(translations.by_sentence, kind="stable")
    chosen = order if len(order) <= 2 * count else np.concatenate([order[:count], order[-count:]])
    return [
        [
            round(float(translations.by_sentence[row]), 1),
            sources[row],
            translations.references[row],
            translations.hypotheses[row],
        ]
        for row in chosen
    ]


HEADER = ["chrf", "source", "reference", "hypothesis"]


def write_examples(path: Path, rows: list[list[object]]) -> None:
    """That table as CSV."""
    write_csv(path, HEADER, rows)
