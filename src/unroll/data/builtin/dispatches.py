"""News in a sentence each, from a seeded grammar: names are made up, and what stands round them tells what they name."""

import random
from typing import Any

from pydantic import NonNegativeInt

from unroll.data.builtin.names import DAYS, FIRST, MONTHS, listed, stem
from unroll.data.tagged_text import Sentences, TaggedText
from unroll.entities import Entity, as_tags
from unroll.schema import Sizes

_PERSON, _PLACE, _ORGANIZATION = "person", "place", "organization"


_OF_PERSONS = listed("son ova ini sen wicz ez")
_OF_PLACES = listed("burg ville ford stan ton mouth")
_OF_COMPANIES = listed("tex soft air oil corp ware")
_OF_ORGANIZATIONS = listed("Corp. | Inc. | & Sons | Group | Airlines | Bank | Steel | United", "|")

# {person}, {place}, {organization}: a name that what stands round it, or its own form, tells.
_SENTENCES = (
    "{person} said on {day} that the plan would cost {number} million .",
    "The minister , {person} , resigned in {month} after {number} days .",
    "According to {person} , the talks with {organization} will go on .",
    "{person} , {number} , was elected in the first round .",
    "Her brother {person} plays the cello in {place} .",
    "Police arrested {person} near {place} on {day} .",
    "It rained for {number} days in {place} and the river rose .",
    "The road from {place} to {place} was closed on {day} .",
    "The mayor of {place} , {person} , opened the new bridge .",
    "{place} , a town of {number} people , lies on the coast .",
    "Flights to {place} were cancelled by {organization} in {month} .",
    "Shares of {organization} fell {number} percent on {day} .",
    "{organization} hired {number} workers for its plant in {place} .",
    "The board of {organization} met {person} behind closed doors .",
    "A spokesman for {organization} , {person} , did not return calls .",
    "Quarterly profits of {organization} rose while sales in {place} fell .",
    "On {day} {organization} agreed to buy {organization} for {number} million .",
    "Farmers round {place} blame {organization} for the dust .",
    "He moved from {place} to work for {organization} under {person} .",
    "The letter was signed by {person} and {person} .",
    "{person} of {organization} flew to {place} on {day} .",
    "{organization} , based in {place} , is led by {person} .",
    "Before {month} {person} met the mayor of {place} at a dinner of {organization} .",
    "{place} and {place} want the new plant of {organization} .",
    "In {month} the price of tin doubled again .",
    "The first train left at {number} on {day} morning .",
    "Nobody in the office knew the new director by name .",
)
# {name}: a bare name that only the words after it tell, with {aside} in between: reading on decides.
_DECIDED_LATER = {
    _PERSON: (
        "{name} {aside} , who grows apples , is {number} years old .",
        "We wrote about {name} {aside} , whose mother sold tractors .",
        "{name} {aside} has two daughters and a small garden .",
        "Last {month} the paper named {name} {aside} , herself a lawyer .",
    ),
    _PLACE: (
        "{name} {aside} , where apples grow , is {number} years old .",
        "We wrote about {name} {aside} , whose river draws many visitors .",
        "{name} {aside} has two harbours and a small lighthouse .",
        "Last {month} the paper named {name} {aside} , itself a port .",
    ),
    _ORGANIZATION: (
        "{name} {aside} , which sells apples , is {number} years old .",
        "We wrote about {name} {aside} , whose shareholders sold tractors .",
        "{name} {aside} has two factories and a small warehouse .",
        "Last {month} the paper named {name} {aside} , itself a lender .",
    ),
}
# {name}: nothing but its own ending tells.
_TOLD_BY_LETTERS = (
    "{name} was in the news again on {day} .",
    "Nobody mentioned {name} in {month} .",
    "The letter of {day} was about {name} .",
    "There is a song about {name} .",
)
_ASIDES = (
    "",
    "",
    "( see page {number} )",
    ", we were told on {day} ,",
    ", and this was in {month} after {number} days of rain ,",
    ", as the report of {month} has it on its last page ,",
    ", near the end of a letter that nobody had read before {day} ,",
)
_LATER, _LETTERS = 0.35, 0.15  # shares of sentences of these sorts


class Dispatches(TaggedText):
    """Generated sentences with the entities in them: persons, places and organizations; no two splits have one in common.

    Names are made of syllables, so that most of those of validation and test are in no training sentence. Some have an
    ending that tells their kind (Klara Brenova, Toulmford, Shand & Sons); others have none, and are told by the words before
    them (the mayor of Kelm) or, up to fourteen words on, after them (Kelm, who grows apples; Kelm, where apples grow). Names
    may hold others (Bank of Kelm) or words of small letters (Jonas van Kelm); days and months are no names here.

    Args:
        sizes: sentences in train, validation and test.
        grammar_seed: another one, other sentences.
        **tagged: see `TaggedText`.
    """

    def __init__(self, sizes: Sizes, grammar_seed: NonNegativeInt, **tagged: Any) -> None:
        super().__init__(**tagged)
        self.sizes = sizes
        self.grammar_seed = grammar_seed

    @property
    def source(self) -> str:
        return "dispatches"

    def read(self) -> dict[str, Sentences]:
        draw = random.Random(self.grammar_seed)
        seen: set[str] = set()
        splits = {}
        for split, size in zip(("train", "validation", "test"), self.sizes, strict=True):
            given: list[str] = []
            wanted: list[str] = []
            while len(given) < size:
                words, found = _sentence(draw)
                text = "\t".join(words)
                if text in seen:
                    continue
                seen.add(text)
                given.append(text)
                wanted.append("\t".join(as_tags(found, len(words))))
            splits[split] = Sentences(given, wanted, f"dispatches, {split}", "sentence")
        return splits


def _sentence(draw: random.Random) -> tuple[list[str], list[Entity]]:
    sort = draw.random()
    kind = draw.choice((_PERSON, _PLACE, _ORGANIZATION))
    if sort < _LATER:
        template = draw.choice(_DECIDED_LATER[kind]).replace("{aside}", draw.choice(_ASIDES))
    else:
        template = draw.choice(_TOLD_BY_LETTERS if sort < _LATER + _LETTERS else _SENTENCES)
    words: list[str] = []
    found: list[Entity] = []
    for piece in template.split():
        slot = piece[1:-1]
        if piece == "{day}":
            words.append(draw.choice(DAYS))
        elif piece == "{month}":
            words.append(draw.choice(MONTHS))
        elif piece == "{number}":
            words.append(str(int(2 * 500 ** draw.random())))
        elif piece == "{name}":
            found.append(Entity(len(words), len(words) + 1, kind))
            words.append(stem(draw) + (draw.choice(_ENDINGS[kind]) if sort >= _LATER else ""))
        elif piece.startswith("{"):
            name = _NAMES[slot](draw)
            found.append(Entity(len(words), len(words) + len(name), slot))
            words += name
        else:
            words.append(piece)
    return words, found


def _person(draw: random.Random) -> list[str]:
    last = stem(draw) + (draw.choice(_OF_PERSONS) if draw.random() < 0.5 else "")
    form = draw.random()
    if form < 0.35:
        return [last]
    return [draw.choice(FIRST), *(["van"] if form < 0.45 else []), last]


def _place(draw: random.Random) -> list[str]:
    name = stem(draw) + (draw.choice(_OF_PLACES) if draw.random() < 0.5 else "")
    form = draw.random()
    if form < 0.15:
        return [draw.choice(("New", "Port", "Upper")), name]
    return [name, "on", "Sea"] if form < 0.2 else [name]


def _organization(draw: random.Random) -> list[str]:
    form = draw.random()
    if form < 0.35:
        return [stem(draw)]
    if form < 0.5:
        return [draw.choice(("Bank", "University")), "of", *_place(draw)]
    return [stem(draw), *draw.choice(_OF_ORGANIZATIONS).split()]


_ENDINGS = {_PERSON: _OF_PERSONS, _PLACE: _OF_PLACES, _ORGANIZATION: _OF_COMPANIES}
_NAMES = {_PERSON: _person, _PLACE: _place, _ORGANIZATION: _organization}
