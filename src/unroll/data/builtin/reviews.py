"""Reviews of films from a seeded grammar in which the order of the words decides what is meant."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import NonNegativeInt

from unroll.data.builtin.names import listed
from unroll.data.labelled_text import Examples, LabelledText
from unroll.schema import Sizes

_LABELS = ("negative", "positive")


_ASPECTS = listed(
    "plot acting music ending dialogue pacing humour photography script cast direction editing story soundtrack villain "
    "hero costumes opening finale scenery"
)
_ADJECTIVES = (  # negative, positive
    listed(
        "dull clumsy lifeless hollow tedious wooden shallow bland messy forgettable stale grating awkward lazy weak"
    ),
    listed(
        "moving clever vivid brilliant gripping tender witty fresh elegant memorable lively graceful daring warm strong"
    ),
)
_LINKS = listed("was seemed felt remained")
_STRONG = listed("extremely truly deeply thoroughly")
_MILD = listed("slightly somewhat faintly mildly")

# Clauses that say nothing of the film, though some of them have the words that turn a meaning round.
_WHO = listed("we|you|they|everyone|someone|my cousin|our neighbour|the usher|an old friend|the couple behind us", "|")
_DID = listed(
    "arrived late|bought two tickets|sat near the door|did not find the car|talked about the weather|missed the last bus|"
    "waited in the rain|left a coat there|ordered tea but drank water|paid nine euros|had not slept|looked for a seat|"
    "walked home although it rained|met a colleague|came back from lisbon|forgot the keys|read a newspaper|"
    "did not stay long",
    "|",
)
_WHEN = listed(
    "on a tuesday|in the morning|after lunch|before the holidays|last week|at eight|during the strike|in early spring|"
    "that evening|on the way|some days later|by chance",
    "|",
)


class Reviews(LabelledText):
    """Generated reviews, negative or positive; no two splits have a text in common.

    A review is a verdict and then clauses that have nothing to do with it: the more of them, the further back lies what
    decides. Verdicts: a statement, plain or negated ("nobody would call the plot dull"), negated twice; a contrast, in
    which what comes after "but" or stands outside "although" counts; a correction ("not dull , it was moving"); two
    statements of which the stronger counts ("slightly dull and extremely moving"), or which agree. But for the last, there
    are as many with the same words and the other label: counting words tells a sixth of the labels.

    Args:
        sizes: texts in train, validation and test.
        max_clauses: irrelevant clauses after the verdict: 0 to this, few more often than many.
        grammar_seed: another one, other texts.
        **labelled: see `LabelledText`.
    """

    def __init__(
        self, sizes: Sizes, max_clauses: NonNegativeInt, grammar_seed: NonNegativeInt, **labelled: Any
    ) -> None:
        super().__init__(**labelled)
        self.sizes = sizes
        self.max_clauses = max_clauses
        self.grammar_seed = grammar_seed

    @property
    def source(self) -> str:
        return "reviews"

    def read(self) -> dict[str, Examples]:
        draw = random.Random(self.grammar_seed)
        seen: set[str] = set()
        splits = {}
        self._distances: dict[str, np.ndarray] = {}
        for split, size in zip(("train", "validation", "test"), self.sizes, strict=True):
            texts: list[str] = []
            labels: list[str] = []
            distances: list[int] = []
            while len(texts) < size:
                positive = bool(len(texts) % 2)
                # Log-uniform: about as many texts between one and two clauses as between four and eight.
                clauses = int((self.max_clauses + 2) ** draw.random()) - 1
                rest = [_irrelevant(draw) for _ in range(clauses)]
                text = " , ".join([_verdict(draw, positive), *rest]) + " ."
                if text in seen:
                    continue
                seen.add(text)
                texts.append(text)
                labels.append(_LABELS[positive])
                distances.append(sum(len(clause.split()) + 1 for clause in rest))
            splits[split] = Examples(texts, labels)
            self._distances[split] = np.array(distances)
        return splits

    def difficulty(self, split: str) -> tuple[str, np.ndarray]:
        return "words between the verdict and the end", self._distances[split]


def _verdict(draw: random.Random, positive: bool) -> str:
    return draw.choice(_VERDICTS)(draw, positive)


def _statement(draw: random.Random, positive: bool) -> str:
    aspect, link = draw.choice(_ASPECTS), draw.choice(_LINKS)
    same, other = draw.choice(_ADJECTIVES[positive]), draw.choice(_ADJECTIVES[not positive])
    return draw.choice(
        (
            f"the {aspect} {link} {same}",
            f"the {aspect} {link} {draw.choice(_STRONG)} {same}",
            f"the {aspect} {link} not {other}",
            f"nobody would call the {aspect} {other}",
            f"i would not say that the {aspect} {link} {other}",
            f"i would not say that the {aspect} {link} not {same}",
        )
    )


def _but(draw: random.Random, positive: bool) -> str:
    return f"{_statement(draw, not positive)} but {_statement(draw, positive)}"


def _although(draw: random.Random, positive: bool) -> str:
    concession, point = f"although {_statement(draw, not positive)}", _statement(draw, positive)
    return f"{concession} , {point}" if draw.random() < 0.5 else f"{point} , {concession}"


def _correction(draw: random.Random, positive: bool) -> str:
    aspect = draw.choice(_ASPECTS)
    return (
        f"the {aspect} was not {draw.choice(_ADJECTIVES[not positive])} , it was {draw.choice(_ADJECTIVES[positive])}"
    )


def _degree(draw: random.Random, positive: bool) -> str:
    sides = [
        f"the {draw.choice(_ASPECTS)} {draw.choice(_LINKS)} {draw.choice(_STRONG)} {draw.choice(_ADJECTIVES[positive])}",
        f"the {draw.choice(_ASPECTS)} {draw.choice(_LINKS)} {draw.choice(_MILD)} {draw.choice(_ADJECTIVES[not positive])}",
    ]
    draw.shuffle(sides)
    return " and ".join(sides)


def _agreement(draw: random.Random, positive: bool) -> str:
    said = [f"the {aspect} {draw.choice(_LINKS)}" for aspect in draw.sample(_ASPECTS, 2)]
    return " and ".join(
        f"{side} {adjective}" for side, adjective in zip(said, draw.sample(_ADJECTIVES[positive], 2), strict=True)
    )


_VERDICTS: tuple[Callable[[random.Random, bool], str], ...] = (
    _statement,
    _agreement,
    _but,
    _although,
    _correction,
    _degree,
)


def _irrelevant(draw: random.Random) -> str:
    return f"{draw.choice(_WHO)} {draw.choice(_DID)} {draw.choice(_WHEN)}"
