"""Agreement over clauses: how a sentence ends hangs on a noun at its start."""

import itertools
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from unroll.data.memory import Drawn, MemoryData, MemorySpec, guessing_classes

_ENDINGS = {
    "dog": "was a german shepherd",
    "dogs": "were german shepherds",
    "cat": "was a persian cat",
    "cats": "were persian cats",
    "horse": "was an arab horse",
    "horses": "were arab horses",
    "owl": "was a barn owl",
    "owls": "were barn owls",
}
_ADJECTIVES = ["brown", "black", "white", "grey", "young", "old", "small", "big"]
_DID = ("played with", "ran after", "slept beside", "looked at", "walked behind", "hid from")
_ASIDES = (  # of 1 to 6 words
    ("indeed", "then"),
    ("of course", "it seems"),
    ("as we know", "last summer too"),
    ("to tell the truth", "as you can see"),
    ("on most days of spring", "as the neighbours told us"),
    ("as far as one could tell", "in the garden behind the house"),
)
_CLAUSE = 6  # words, its comma first


class Agreement(MemoryData):
    """`the brown and black dog , which played with the cats ,` goes on `was a german shepherd`: whose kind and number the
    ending has is the noun of the start, whatever nouns the clauses between them name (after Linzen et al. 2016).

    The lag counts the words from that noun to the last one before the ending, commas among them.
    """

    @property
    def source(self) -> str:
        return "agreement"

    @cached_property
    def _symbols(self) -> tuple[str, ...]:
        fixed = ("the", "and", "which", ",")
        said = [word for phrase in itertools.chain(_DID, *_ASIDES) for word in phrase.split()]
        return tuple(dict.fromkeys([*fixed, *_ADJECTIVES, *_ENDINGS, *said]))

    @property
    def spec(self) -> MemorySpec:
        return MemorySpec(self._symbols, 0, tuple(_ENDINGS.values()), 1, self.lag)

    @property
    def guessing(self) -> dict[str, float]:
        return guessing_classes(len(_ENDINGS))

    def draw(self, count: int, lag: int, chance: np.random.Generator) -> Drawn:
        nouns = list(_ENDINGS)
        openings = self._table(
            f"the {one} and {two} {noun}" for noun in nouns for one, two in itertools.permutations(_ADJECTIVES, 2)
        )
        chosen = chance.integers(len(openings), size=count)
        answers = chosen // (len(openings) // len(nouns))
        parts = [openings[chosen]]
        clauses, words = divmod(lag - 1, _CLAUSE)
        if clauses:
            table = self._table(f", which {did} the {noun}" for did in _DID for noun in nouns)
            parts += [table[chance.integers(len(table), size=count)] for _ in range(clauses)]
        else:
            words = lag
        if words:
            table = self._table(_ASIDES[words - 1])
            parts.append(table[chance.integers(len(table), size=count)])
        if clauses:
            parts.append(np.full((count, 1), self._symbols.index(","), np.int16))
        return Drawn(np.concatenate(parts, axis=1), answers[:, None].astype(np.int16))

    def _table(self, phrases: Iterable[str]) -> np.ndarray:
        return np.array([[self._symbols.index(word) for word in phrase.split()] for phrase in phrases], np.int16)
