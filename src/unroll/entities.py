"""Entities as tags of words, and how they are counted."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

OUTSIDE = "O"
_TAG = re.compile(r"([BIES])-(.+)", re.DOTALL)


class Entity(NamedTuple):
    """Some words in a row that name one thing.

    Attributes:
        start, end: its first word, and the word after its last.
        kind: what sort of thing, as `person`.
    """

    start: int
    end: int
    kind: str


def are_of_entities(tags: Iterable[str]) -> bool:
    """Do these tags say where entities begin and go on? If they are O, B-person, I-person, ..., and not O alone."""
    tags = set(tags)
    return bool(tags - {OUTSIDE}) and all(tag == OUTSIDE or _TAG.fullmatch(tag) for tag in tags)


def odd_among_entities(tags: Iterable[str]) -> list[str]:
    """The tags for which the others are not taken as of entities, though most are: as PERSON beside B-person and I-person."""
    tags = set(tags)
    odd = sorted(tag for tag in tags if tag != OUTSIDE and not _TAG.fullmatch(tag))
    return odd if 2 * len(odd) < len(tags) - (OUTSIDE in tags) else []


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, as conlleval counts them (Tjong Kim Sang & Buchholz 2000): tags in any of the schemes IOB1,
    IOB2 and IOBES, also where they break the rules of all of them. One begins at each B and S, and wherever an I or E does
    not go on with what came before it; it ends where another begins, before an O, and after an E or S.

    Args:
        tags: O, or B-, I-, E- or S- and a kind, a word each.
    """
    found: list[Entity] = []
    open_at, kind, closed = 0, "", True
    for place, tag in enumerate(tags):
        match = _TAG.fullmatch(tag)
        prefix, named = match.groups() if match else (OUTSIDE, "")
        goes_on = not closed and prefix in "IE" and named == kind
        if not closed and not goes_on:
            found.append(Entity(open_at, place, kind))
            closed = True
        if prefix != OUTSIDE and not goes_on:
            open_at, kind, closed = place, named, False
        if prefix in "ES":
            found.append(Entity(open_at, place + 1, kind))
            closed = True
    if not closed:
        found.append(Entity(open_at, len(tags), kind))
    return found


def single_words(tags: Sequence[str]) -> list[Entity]:
    """Every word as one of its own, its tag being its kind: for tags that are not of entities."""
    return [Entity(place, place + 1, tag) for place, tag in enumerate(tags)]


def as_tags(found: Iterable[Entity], words: int) -> list[str]:
    """The tags of a sentence of so many words in the scheme IOB2: B at each entity's first word, I at its others."""
    tags = [OUTSIDE] * words
    for start, end, kind in found:
        tags[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return tags


def may_begin(tag: str) -> bool:
    """May a sentence begin with this tag, in IOB2?"""
    return not tag.startswith("I-")


def may_follow(before: str, tag: str) -> bool:
    """May this tag come right after that one, in IOB2?"""
    return not tag.startswith("I-") or before in (f"B-{tag[2:]}", tag)


@dataclass(frozen=True)
class Found:
    """How many were found.

    Attributes:
        right: found, and there.
        answered: found.
        there: there.
    """

    right: int
    answered: int
    there: int

    @property
    def precision(self) -> float:
        """The share of what was found that is right; 0 of nothing."""
        return self.right / max(self.answered, 1)

    @property
    def recall(self) -> float:
        """The share of what is there that was found; 0 of nothing."""
        return self.right / max(self.there, 1)

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right / max(self.answered + self.there, 1)


def count(wanted: Iterable[Iterable[Entity]], answered: Iterable[Iterable[Entity]]) -> dict[str, Found]:
    """How many were found, with exactly their words and their kind: of each kind, and "" for all together.

    Args:
        wanted: what is there, of each sentence.
        answered: what was given.
    """
    right: Counter[str] = Counter()
    said: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for real, given in zip(map(set, wanted), map(set, answered), strict=True):
        there.update(entity.kind for entity in real)
        said.update(entity.kind for entity in given)
        right.update(entity.kind for entity in real & given)
    counts = {kind: Found(right[kind], said[kind], there[kind]) for kind in sorted(there | said)}
    return {"": Found(right.total(), said.total(), there.total()), **counts}
