"""What summaries are worth: ROUGE."""

import re
import unicodedata
from functools import cached_property

import numpy as np
from torchmetrics.functional.text import rouge_score

from unroll.insight.rewritten import Rewritten

_KEYS = ("rouge1", "rouge2", "rougeL")
# Letters and digits of any alphabet; of scripts without spaces each sign, which torchmetrics' own words leave out.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])[\"'\u2019\u201d)\]]*\s+|(?<=[\u3002\uff01\uff1f])|\s*\n\s*")
_ABBREVIATED = re.compile(r"(?:\b[A-Za-z]|\b(?:Dr|Mr|Mrs|Ms|Prof|St|No|vs|al|etc|cf|Fig|Eq|Inc|Ltd|Co|Jr|Sr))\.$")


class Summaries(Rewritten):
    """Summaries beside those of the data, by ROUGE (Lin 2004): F1 of words, of pairs of words, and of the longest common
    subsequence; the mean over the texts, of words in small letters without stemming. Of texts in English these are the
    figures of torchmetrics and rouge-score, whose words are of a to z and 0 to 9 alone."""

    of_all, each, most = "ROUGE-L", "rougeL", 1.0

    @cached_property
    def _each(self) -> dict[str, np.ndarray]:
        found = [
            rouge_score(one, other, rouge_keys=_KEYS, normalizer=_plain, tokenizer=_WORD.findall)
            for one, other in zip(self.hypotheses, self.references, strict=True)
        ]
        return {key: np.array([float(scores[f"{key}_fmeasure"]) for scores in found]) for key in _KEYS}

    def scores(self) -> dict[str, float]:
        return {**{key: float(values.mean()) for key, values in self._each.items()}, "exact_match": self.exact_match}

    def signatures(self) -> dict[str, str]:
        return dict.fromkeys(
            _KEYS, "F1, mean over the texts, words of letters and digits, in small letters, no stemming"
        )

    def score_of(self, some: np.ndarray) -> float:
        return float(self._each["rougeL"][some].mean())

    @property
    def by_sentence(self) -> np.ndarray:
        return self._each["rougeL"]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def lead(text: str) -> str:
    """Its first sentence, or line."""
    text = text.strip()
    for end in _SENTENCE_ENDS.finditer(text):
        first = text[: end.end()].rstrip()
        if "\n" in end.group() or not _ABBREVIATED.search(first):
            return first
    return text
