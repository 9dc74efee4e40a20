"""What translations are worth: BLEU and its kin."""

from functools import cached_property

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from unroll.insight.rewritten import Rewritten


class Translations(Rewritten):
    """Translations beside those of the data, by BLEU; each by chrF."""

    of_all, each, most = "BLEU", "chrf", 100.0

    def scores(self) -> dict[str, float]:
        """By standard names.

        bleu, of the corpus, with capitals and sacrebleu's own tokens (13a), 0 to 100; bleu_lowercase, the same without
        capitals, as some papers have it; chrf, 0 to 100; exact_match, the share that is the reference to the
        letter, runs of spaces aside.
        """
        return {
            "bleu": self._bleu(BLEU()),
            "bleu_lowercase": self._bleu(BLEU(lowercase=True)),
            "chrf": float(CHRF().corpus_score(self.hypotheses, [self.references]).score),
            "exact_match": self.exact_match,
        }

    def _bleu(self, metric: BLEU) -> float:
        return float(metric.corpus_score(self.hypotheses, [self.references]).score)

    def signatures(self) -> dict[str, str]:
        """What exactly was computed, as sacrebleu writes it."""
        found = {}
        for name, metric in (("bleu", BLEU()), ("bleu_lowercase", BLEU(lowercase=True)), ("chrf", CHRF())):
            metric.corpus_score(["a"], [["a"]])
            found[name] = str(metric.get_signature())
        return found

    def score_of(self, some: np.ndarray) -> float:
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
