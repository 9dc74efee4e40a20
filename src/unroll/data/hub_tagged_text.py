"""Tagged sentences from the Hugging Face Hub, or from a local folder in the same layout."""

from pathlib import Path
from typing import Any

from unroll.data.base import SPLITS
from unroll.data.hub import class_names, load_splits
from unroll.data.tagged_files import check_pair, listed
from unroll.data.tagged_text import Sentences, TaggedText
from unroll.errors import UserError, did_you_mean


class HubTaggedText(TaggedText):
    """The rows of a dataset with a list of words and one of as many tags.

    Tags are told by their names, so that splits that number them differently are read alike.

    Args:
        hub_id: name on the Hub; null where only a local folder will do.
        revision: commit of the Hub's repository; null for the newest.
        config_name: the dataset's configuration; null for its default.
        path: a local folder in the Hub's layout, read in place of the Hub.
        words: the words' column.
        tags: the tags' column.
        **tagged: see `TaggedText`.
    """

    def __init__(
        self,
        hub_id: str | None,
        revision: str | None,
        config_name: str | None,
        path: str | None,
        words: str,
        tags: str,
        **tagged: Any,
    ) -> None:
        super().__init__(**tagged)
        self.hub_id = hub_id
        self.revision = revision
        self.config_name = config_name
        self.path = path
        self.words = words
        self.tags = tags

    @property
    def source(self) -> str:
        return self.path or str(self.hub_id)

    def read(self) -> dict[str, Sentences]:
        splits = load_splits(
            self.hub_id,
            self.revision,
            self.config_name,
            Path(self.path) if self.path else None,
            needed=("train",),
            offline="data=dispatches or data=tagged_files",
        )
        return {split: self._read(split, splits[split]) for split in SPLITS if split in splits}

    def _read(self, split: str, rows: Any) -> Sentences:
        source = f"{self.source}, {split}"
        for key, column in (("data.words", self.words), ("data.tags", self.tags)):
            if column not in rows.column_names:
                valid = did_you_mean(column, rows.column_names)
                raise UserError(f"{source}: there is no column {column}; name another by {key}: {valid}")
        feature = getattr(rows.features[self.tags], "feature", None)
        names = getattr(feature, "names", None)
        if names is not None:
            # The library reads the numbers of every split by the names of the first one: a split's own may differ.
            names = class_names(self.source, self.revision, self.config_name, split, self.tags) or names
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
