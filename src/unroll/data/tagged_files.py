"""Your own tagged sentences: columns as CoNLL has them, CoNLL-U, or JSON lines and Parquet with a list of words a row."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from unroll.data.tables import read_lines, read_rows, unit
from unroll.data.tagged_text import Sentences, TaggedText
from unroll.errors import UsageError, UserError

_ROWS = (".jsonl", ".ndjson", ".parquet")
_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"#\s*\w+\s*=")
"""As `# sent_id = 7`, which some write above the sentences of other formats than CoNLL-U too."""

Column = Annotated[int, Field(ge=-100, le=100)]


class TaggedFiles(TaggedText):
    """Files of sentences. Which format one has its name's ending says.

    - `.jsonl`, `.ndjson`, `.parquet`: a row has a list of words and one of as many tags.
    - anything else: a word a line with its tag beside it, in columns apart by a tab or, in lines without one, by spaces; an
      empty line ends a sentence. -DOCSTART- lines are passed over, and `# name = value` above a sentence. In `.conllu` so
      are all comments, and words that are parts or contractions of others.

    Args:
        folder: that the paths are in; None: the current one.
        path: the file: all there is, or the training split.
        validation_path, test_path: files for these splits; without one a share of the training sentences is drawn.
        word_column, tag_column: of files of columns: 1 is the first, -1 the last.
        words, tags: the columns of rows.
        encoding: of text files.
        **tagged: see `TaggedText`.
    """

    def __init__(
        self,
        folder: str | None,
        path: str,
        validation_path: str | None,
        test_path: str | None,
        word_column: Column,
        tag_column: Column,
        words: str,
        tags: str,
        encoding: str,
        **tagged: Any,
    ) -> None:
        super().__init__(**tagged)
        given = {"train": path, "validation": validation_path, "test": test_path}
        self.paths = {split: Path(folder or "", name) for split, name in given.items() if name is not None}
        self.columns = {"data.word_column": word_column, "data.tag_column": tag_column}
        self.words = words
        self.tags = tags
        self.encoding = encoding

    @property
    def source(self) -> str:
        return str(self.paths["train"])

    def read(self) -> dict[str, Sentences]:
        return {split: self._read(path) for split, path in self.paths.items()}

    def _read(self, path: Path) -> Sentences:
        if path.suffix == ".csv":
            raise UserError(f"{path}: a list of words has no place in a CSV; give columns (.conll, .txt) or .jsonl")
        found = self._read_rows(path) if path.suffix in _ROWS else self._read_columns(path)
        numbers: list[int] = []
        given: list[str] = []
        wanted: list[str] = []
        for number, words, tags in found:
            numbers.append(number)
            given.append("\t".join(words))
            wanted.append("\t".join(tags))
        if not given:
            raise UserError(f"{path}: has no sentence")
        return Sentences(given, wanted, str(path), unit(path), numbers)

    def _read_columns(self, path: Path) -> Iterator[tuple[int, list[str], list[str]]]:
        for key, column in self.columns.items():
            if column == 0:
                raise UsageError(f"{key}=0: columns are counted from 1, or from the last one, -1")
        is_conllu = path.suffix == ".conllu"
        began, width = 0, 0
        words: list[str] = []
        tags: list[str] = []
        for number, line in enumerate(read_lines(path, self.encoding), 1):
            line = line.removesuffix("\r")
            fields = line.split("\t") if "\t" in line else line.split()
            if not line.strip() or fields[0] == _DOCUMENT:
                if words:
                    yield began, words, tags
                words, tags = [], []
                continue
            if is_conllu and (line.startswith("#") or "-" in fields[0] or "." in fields[0]):
                continue
            if not words and _COMMENT.match(line):
                continue
            if not width:
                first, width = number, len(fields)
                self._check_width(path, number, fields)
            if len(fields) != width:
                raise UserError(f"{path}, line {number}: has {len(fields)} columns where line {first} has {width}")
            word, tag = (fields[column - (column > 0)] for column in self.columns.values())
            if not word.strip() or not tag.strip():
                raise UserError(f"{path}, line {number}: the {'tag' if word.strip() else 'word'} is empty")
            if not words:
                began = number
            words.append(word)
            tags.append(tag)
        if words:
            yield began, words, tags

    def _check_width(self, path: Path, number: int, fields: list[str]) -> None:
        places = []
        for key, column in self.columns.items():
            if not -len(fields) <= column <= len(fields):
                raise UserError(
                    f"{path}, line {number}: there is no column {column}: it has {len(fields)}; set {key} (1 is the first, "
                    "-1 the last)"
                )
            places.append(column if column > 0 else len(fields) + 1 + column)
        if places[0] == places[1]:
            raise UserError(
                f"{path}, line {number}: column {places[0]} is taken for both words and tags: set data.word_column and "
                "data.tag_column"
            )

    def _read_rows(self, path: Path) -> Iterator[tuple[int, list[str], list[str]]]:
        if self.words == self.tags:
            raise UserError(f"data.words and data.tags are the same column, {self.words}")
        columns = {self.words: "data.words", self.tags: "data.tags"}
        for row in read_rows(path, columns, self.encoding):
            place = f"{path}, {unit(path)} {row.number}"
            words, tags = (
                listed(value, f"{place}, column {column}") for column, value in zip(columns, row.fields, strict=True)
            )
            check_pair(words, tags, place)
            yield row.number, words, tags


def listed(value: Any, place: str) -> list[str]:
    """A list of texts.

    Raises:
        UserError: it is something else; says the place.
    """
    if not isinstance(value, list):
        raise UserError(f'{place}: {value!r} is no list, as ["a", "b"]')
    for number, item in enumerate(value, 1):
        if not isinstance(item, str):
            raise UserError(f"{place}: item {number}, {item!r}, is not a text")
        if "\t" in item or "\n" in item:
            raise UserError(f"{place}: item {number}, {item!r}, has a tab or the end of a line in it")
    return value


def check_pair(words: list[str], tags: list[str], place: str) -> None:
    """Has a sentence words, and as many tags?

    Raises:
        UserError: it has not.
    """
    if not words:
        raise UserError(f"{place}: the list of words is empty: take the row out")
    if len(words) != len(tags):
        raise UserError(f"{place}: {len(words)} words have {len(tags)} tags")
