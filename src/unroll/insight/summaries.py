"""What summaries are worth: ROUGE."""

import re
from functools import cached_property

import numpy as np
from torchmetrics.functional.text import rouge_score

from unroll.insight.rewritten import Rewritten

_KEYS = ("rouge1", "rouge2", "rougeL")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")


class Summaries(Rewritten):
    """Summaries beside those of the data, by ROUGE (Lin 2004): F1 of words, of pairs of words, and of the longest common
    subsequence; the mean over the texts, of words in small letters without stemming."""

    of_all, each, most = "ROUGE-L", "rougeL", 1.0

    @cached_property
    def _each(self) -> dict[str, np.ndarray]:
        found = [
            rouge_score(one, other, rouge_keys=_KEYS)
            for one, other in zip(self.hypotheses, self.references, strict=True)
        ]
        return {key: np.array([float(scores[f"{key}_fmeasure"]) for scores in found]) for key in _KEYS}

    def scores(self) -> dict[str, float]:
        return {**{key: float(values.mean()) for key, values in self._each.items()}, "exact_match": self.exact_match}

    def signatures(self) -> dict[str, str]:
        return dict.fromkeys(_KEYS, "F1, mean over the texts, torchmetrics' own words (a-z and 0-9), no stemming")

    def score_of(self, some: np.ndarray) -> float:
        return float(self._each["rougeL"][some].mean())

    @property
    def by_sentence(self) -> np.ndarray:
        return 100 * self._each["rougeL"]


def lead(text: str) -> str:
    """Its first sentence."""
    return _SENTENCE_ENDS.split(text.strip(), maxsplit=1)[0]
