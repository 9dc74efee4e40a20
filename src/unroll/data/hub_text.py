"""Text from the Hugging Face Hub, or from a local folder in the same layout."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unroll.data.base import SPLITS
from unroll.data.encoding import Chunk
from unroll.data.hub import load_splits
from unroll.data.text_stream import TextStream
from unroll.errors import UserError


class HubText(TextStream):
    """The rows of a dataset's text column, one after the other.

    Rows that do not end in a newline are joined by one: line-wise datasets come without. Where a dataset has a
    configuration `document`, a row a split with its newlines in place, that one is read.

    Args:
        hub_id: name on the Hub; null where the text may not be passed on, so that only `path` remains.
        revision: commit of the Hub's repository; null for the newest.
        config_name: the dataset's configuration; null as said above.
        path: a local folder in the Hub's layout, read in place of the Hub.
        column: the text's column.
        **stream: see `TextStream`.

    Raises:
        UserError: no such folder, no network, a split or a column that is not there.
    """

    def __init__(
        self,
        hub_id: str | None,
        revision: str | None,
        config_name: str | None,
        path: str | None,
        column: str,
        **stream: Any,
    ) -> None:
        super().__init__(**stream)
        self.hub_id = hub_id
        self.revision = revision
        self.config_name = config_name
        self.path = path
        self.column = column

    @property
    def source(self) -> str:
        return self.path or str(self.hub_id)

    def texts(self, split: str) -> Iterator[Chunk]:
        rows = self._splits()[split]
        if self.column not in rows.column_names:
            raise UserError(
                f"{self.source}: there is no column {self.column}; set data.column to one of: "
                + ", ".join(rows.column_names)
            )
        end = None
        for row in rows:
            text = row[self.column]
            if text is None:
                raise UserError(f"{self.source}: a row of {split} has no text (null) in column {self.column}")
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
            self._loaded = load_splits(
                self.hub_id,
                self.revision,
                self.config_name,
                Path(self.path) if self.path else None,
                needed=SPLITS,
                offline="data=python_docs or data=text_files",
                preferred=("document",),
            )
        return self._loaded
