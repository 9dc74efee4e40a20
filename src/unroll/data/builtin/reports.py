"""Reports of matches, companies and accidents from a seeded grammar, each with the summary that a desk would write."""

import random
from typing import Any

from pydantic import NonNegativeInt

from unroll.data.builtin.names import DAYS, FIRST, MONTHS, stem
from unroll.data.parallel_text import Pairs, ParallelText
from unroll.schema import Sizes

_PLACES = ("burg", "ville", "ford", "ton", "")

# Of each kind: what is summed up, then what says it, in an order of its own each time, then what says nothing of it.
_KINDS = (
    (
        "{A} beat {B} {high} - {low} in {place}; {person} scored twice.",
        (
            "The final whistle left {A} ahead of {B} by {high} - {low}.",
            "Two of the goals came from {person}, who joined the club in {month}.",
            "The match was played in {place} before {number} people.",
        ),
        (
            "{C} beat {D} {low} - 0 on the same {day}.",
            "{other} was sent off after {few} minutes.",
            "The coach, {other}, refused to answer questions.",
            "Rain had delayed the kick-off by {few} minutes.",
            "Tickets for the return match go on sale on {day}.",
        ),
    ),
    (
        "{A} buys {B} for {number} million; {person} will lead both from {place}.",
        (
            "The board of {B} accepted an offer of {number} million from {A}.",
            "{person} has been asked to run the two companies together.",
            "The new headquarters will be in {place}, where taxes are low.",
        ),
        (
            "{C} had offered {few} million in {month} and was turned down.",
            "Shares of {D} did not move.",
            "{other}, who founded the smaller firm, leaves on {day}.",
            "Unions fear for {few} jobs.",
            "Analysts of {C} call the price too high.",
        ),
    ),
    (
        "{few} hurt as a train from {place} hits a lorry of {A} on {day}; {person} blames the signal.",
        (
            "On {day} the early train out of {place} could not stop in time.",
            "It struck a lorry that belongs to {A} and was loaded with sand.",
            "{few} travellers were taken to hospital.",
            "{person}, who drove the train, says that the signal showed green.",
        ),
        (
            "{other} of the railway of {B} asks for patience.",
            "The line to {C} was closed for {high} hours.",
            "In {month} a bus had been hit at the same crossing.",
            "A lorry of {D} was towed away unharmed.",
            "{other} heard the noise from a field nearby.",
        ),
    ),
)


class Reports(ParallelText):
    """Generated reports and their summaries, of one sentence; no two splits have a report in common.

    What is summed up is said in three or four sentences that stand in any order among two to five others, which name other
    people, places and numbers. Names are made of syllables: most of those of validation and test are in no training report,
    and have to be copied.

    Args:
        sizes: reports in train, validation and test.
        grammar_seed: another one, other reports.
        **parallel: see `ParallelText`.
    """

    def __init__(
        self,
        sizes: Sizes,
        grammar_seed: NonNegativeInt,
        **parallel: Any,
    ) -> None:
        super().__init__(**parallel)
        self.sizes = sizes
        self.grammar_seed = grammar_seed

    @property
    def source(self) -> str:
        return "reports"

    def read(self) -> dict[str, Pairs]:
        draw = random.Random(self.grammar_seed)
        seen: set[str] = set()
        splits = {}
        for split, size in zip(("train", "validation", "test"), self.sizes, strict=True):
            pairs = Pairs([], [])
            while len(pairs.sources) < size:
                report, summary = _report(draw)
                if report in seen:
                    continue
                seen.add(report)
                pairs.sources.append(report)
                pairs.targets.append(summary)
            splits[split] = pairs
        return splits


def _report(draw: random.Random) -> tuple[str, str]:
    summary, facts, rest = draw.choice(_KINDS)
    low = draw.randint(0, 3)
    known = {
        **{letter: stem(draw) + draw.choice(_PLACES) for letter in "ABCD"},
        "place": stem(draw) + draw.choice(_PLACES),
        "person": f"{draw.choice(FIRST)} {stem(draw)}",
        "other": f"{draw.choice(FIRST)} {stem(draw)}",
        "day": draw.choice(DAYS),
        "month": draw.choice(MONTHS),
        "number": str(draw.randint(100, 9999)),
        "few": str(draw.randint(2, 99)),
        "low": str(low),
        "high": str(low + draw.randint(2, 4)),
    }
    sentences = [*facts, *draw.sample(rest, draw.randint(2, 5))]
    draw.shuffle(sentences)
    return " ".join(sentence.format(**known) for sentence in sentences), summary.format(**known)
