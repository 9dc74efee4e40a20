"""Tagged sentences from the Hugging Face Hub, or from a local folder in the same layout."""

from typing import Any

from unroll.data.hub import OnHub, check_column
from unroll.data.tagged_files import check_pair, listed
from unroll.data.tagged_text import Sentences, TaggedText
from unroll.errors import UserError


class HubTaggedText(OnHub, TaggedText):
    """The rows of a dataset with a list of words and one of as many tags.

    Tags are told by their names, so that splits that number them differently are read alike.

    Args:
        words: the words' column.
        tags: the tags' column.
        **others: see `OnHub` and `TaggedText`.
    """

    instead = "data=dispatches or data=tagged_files"

    def __init__(self, words: str, tags: str, **others: Any) -> None:
        super().__init__(**others)
        self.words = words
        self.tags = tags

    def read(self) -> dict[str, Sentences]:
        return {split: self._read(split, rows) for split, rows in self.load().items()}

    def _read(self, split: str, rows: Any) -> Sentences:
        source = f"{self.source}, {split}"
        for key, column in (("data.words", self.words), ("data.tags", self.tags)):
            check_column(rows, key, column, source)
        names = self.names_of(rows, split, self.tags, self.config_name)
        given: list[str] = []
        wanted: list[str] = []
        for number, (words, tags) in enumerate(zip(rows[self.words], rows[self.tags], strict=True), 1):
            place = f"{source}, row {number}"
            words = listed(words, f"{place}, column {self.words}")
            if names is not None:
                tags = _named(tags, names, f"{place}, column {self.tags}")
            tags = listed(tags, f"{place}, column {self.tags}")
            check_pair(words, tags, place)
            given.append("\t".join(words))
            wanted.append("\t".join(tags))
        return Sentences(given, wanted, source)


def _named(numbers: Any, names: list[str], place: str) -> list[str]:
    for number in numbers or []:
        if number is None or not 0 <= number < len(names):
            raise UserError(f"{place}: tag {number} is none of 0 to {len(names) - 1} ({', '.join(names)})")
    return [names[number] for number in numbers or []]
