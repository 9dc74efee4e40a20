"""Sentences in English, French and German from a synchronous grammar: translation data that needs no network."""

import random
import zlib
from typing import Any, Literal

from pydantic import NonNegativeInt

from unroll.data.builtin.phrasebook_grammar import Phrase, phrase
from unroll.data.parallel_text import Pairs, ParallelText
from unroll.errors import UsageError
from unroll.schema import Sizes

_HELD_OUT = 20  # one in so many combinations of two words

Language = Literal["en", "fr", "de"]


class Phrasebook(ParallelText):
    """Generated sentences and their translations.

    Validation and test are combinations that training never shows: of all pairs of an adjective and its noun, and of a verb
    and its object, one in twenty is kept out of training, and every sentence of the other splits has at least one of them.
    All lemmas are in training, though not every one of their forms.

    Args:
        sizes: pairs in train, validation and test.
        grammar_seed: another one, other sentences.
        source_lang, target_lang: two of en, fr and de.
        **parallel: see `ParallelText`.

    Raises:
        UsageError: the same language twice.
    """

    def __init__(
        self,
        sizes: Sizes,
        grammar_seed: NonNegativeInt,
        source_lang: Language,
        target_lang: Language,
        **parallel: Any,
    ) -> None:
        super().__init__(source_lang=source_lang, target_lang=target_lang, **parallel)
        if source_lang == target_lang:
            raise UsageError(f"data.source_lang and data.target_lang are the same, {source_lang}; Valid: en, fr, de")
        self.sizes = sizes
        self.grammar_seed = grammar_seed

    @property
    def source(self) -> str:
        return "phrasebook"

    def read(self) -> dict[str, Pairs]:
        draw = random.Random(self.grammar_seed)
        seen: set[str] = set()
        splits = {}
        for split, size in zip(("train", "validation", "test"), self.sizes, strict=True):
            pairs = Pairs([], [])
            while len(pairs.sources) < size:
                drawn = phrase(draw)
                if _is_new(drawn) == (split == "train") or drawn.texts["en"] in seen:
                    continue
                seen.add(drawn.texts["en"])
                pairs.sources.append(drawn.texts[self.source_lang])
                pairs.targets.append(drawn.texts[self.target_lang])
            splits[split] = pairs
        return splits


def _is_new(drawn: Phrase) -> bool:
    """Has it a combination that is kept out of training?"""
    return any(zlib.crc32(" ".join(pair).encode()) % _HELD_OUT == 0 for pair in drawn.pairs)
