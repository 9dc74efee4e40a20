"""Text from the Hugging Face Hub, or from a local folder in the same layout."""

from collections.abc import Iterator
from typing import Any

from unroll.data.base import SPLITS
from unroll.data.encoding import Chunk
from unroll.data.hub import OnHub, check_column
from unroll.data.text_stream import TextStream
from unroll.errors import UserError

_AT_ONCE = 1000  # rows


class HubText(OnHub, TextStream):
    """The rows of a dataset's text column, one after the other.

    Rows that do not end in a newline are joined by one: line-wise datasets come without. Where a dataset has a
    configuration `document`, a row a split with its newlines in place, that one is read.

    Args:
        column: the text's column.
        **others: see `OnHub` and `TextStream`.

    Raises:
        UserError: no such folder, no network, a split or a column that is not there.
    """

    instead = "data=python_docs or data=text_files"

    def __init__(self, column: str, **others: Any) -> None:
        super().__init__(**others)
        self.column = column

    def texts(self, split: str) -> Iterator[Chunk]:
        rows = self._splits()[split]
        check_column(rows, "data.column", self.column, self.source)
        end = None
        # A row at a time a dataset takes twenty times as long.
        pieces = rows.select_columns([self.column]).iter(_AT_ONCE)
        for number, text in enumerate((text for piece in pieces for text in piece[self.column]), start=1):
            if not isinstance(text, str):
                told = "has no text (null)" if text is None else f"{text!r:.80} is not a text"
                raise UserError(f"{self.source}, {split}, row {number}, column {self.column}: {told}")
            text = self.transform(text)
            if end is None:
                text = text.removeprefix("\ufeff")
            elif end != "\n":
                yield "\n"
            yield text
            end = text[-1:]

    def transform(self, text: str) -> str:
        """What is done to each row: nothing here."""
        return text

    def _splits(self) -> Any:
        if not hasattr(self, "_loaded"):
            self._loaded = self.load(SPLITS, preferred=("document",))
        return self._loaded
