"""What a model must know of tagged sentences: words, characters, tags."""

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from unroll.data.tokenizing import UNKNOWN, Boundaries
from unroll.entities import are_of_entities

RESERVED = 2
"""Tokens and characters that come first: padding and the unknown one."""

WORDS = {
    "spaces": re.compile(r"\S+"),
    # As treebanks cut: do n't, she 's, 3.5; other marks stand alone.
    "punctuation": re.compile(
        r"\w+(?=n['\u2019]t\b)|n['\u2019]t\b|['\u2019](?:s|re|ve|ll|d|m)\b|\d+(?:[.,]\d+)*|\w+|[^\w\s]", re.IGNORECASE
    ),
}
"""What a word is, by where words end."""


@dataclass(frozen=True)
class TaggedTextSpec:
    """What a model must know of tagged sentences.

    Attributes:
        words: the known ones, the most frequent first: word i is token i + 2.
        once: how many of them, at their end, stand only once in the training sentences.
        characters: the known ones: character i is i + 2.
        tags: names of the tags; tag i is tags[i].
        lowercase: whether words are known in small letters only; their characters are always read as they are.
        boundaries: where words end in a text that is no list of words yet.
    """

    words: tuple[str, ...]
    once: int
    characters: tuple[str, ...]
    tags: tuple[str, ...]
    lowercase: bool
    boundaries: Boundaries

    @property
    def identity(self) -> str:
        """What gives a model's numbers their meaning."""
        return json.dumps([self.words, self.characters, self.tags, self.lowercase])

    @property
    def vocab_size(self) -> int:
        """Number of tokens, padding and the unknown one among them."""
        return RESERVED + len(self.words)

    @property
    def character_count(self) -> int:
        """Number of characters, padding and the unknown one among them."""
        return RESERVED + len(self.characters)

    @property
    def of_entities(self) -> bool:
        """Whether the tags say where entities begin and go on."""
        return are_of_entities(self.tags)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Word -> token."""
        return {word: number for number, word in enumerate(self.words, RESERVED)}

    @cached_property
    def _character_numbers(self) -> dict[str, int]:
        return {character: number for number, character in enumerate(self.characters, RESERVED)}

    def token(self, word: str) -> int:
        """The token of a word."""
        return self.vocabulary.get(normal(word, self.lowercase), UNKNOWN)

    def spelled(self, word: str) -> list[int]:
        """The numbers of its characters."""
        return [self._character_numbers.get(character, UNKNOWN) for character in unicodedata.normalize("NFC", word)]

    def cut(self, text: str, at_spaces: bool = False) -> list[tuple[int, int]]:
        """Where the words of a text begin and end; with `at_spaces`, of one whose words are apart already."""
        return [match.span() for match in WORDS["spaces" if at_spaces else self.boundaries].finditer(text)]


def normal(word: str, lowercase: bool) -> str:
    """The form in which a word is looked up."""
    word = unicodedata.normalize("NFC", word)
    return word.lower() if lowercase else word
