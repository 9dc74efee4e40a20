"""Your own labelled texts: CSV, TSV, JSON lines or Parquet."""

from pathlib import Path
from typing import Any

from unroll.data.labelled_text import Examples, LabelledText
from unroll.data.tables import read_rows, unit
from unroll.errors import UserError


class LabelledFiles(LabelledText):
    """A file of rows with a column of texts and one of labels.

    Args:
        path: the file: all there is, or the training split.
        validation_path, test_path: files for these splits; without one a share of the training texts is drawn.
        text: the texts' column.
        label: the labels' column: names, or whole numbers; any number of classes.
        encoding: of text files.
        **labelled: see `LabelledText`.
    """

    def __init__(
        self,
        path: str,
        validation_path: str | None,
        test_path: str | None,
        text: str,
        label: str,
        encoding: str,
        **labelled: Any,
    ) -> None:
        super().__init__(**labelled)
        self.path = path
        self.paths = {"train": path, "validation": validation_path, "test": test_path}
        self.text = text
        self.label = label
        self.encoding = encoding

    @property
    def source(self) -> str:
        return self.path

    def read(self) -> dict[str, Examples]:
        return {split: self._read(Path(path)) for split, path in self.paths.items() if path is not None}

    def _read(self, path: Path) -> Examples:
        if self.text == self.label:
            raise UserError(f"data.text and data.label are the same column, {self.text}")
        columns = {self.text: "data.text", self.label: "data.label"}
        texts: list[str] = []
        labels: list[str] = []
        numbers: list[int] = []
        for row in read_rows(path, columns, self.encoding):
            text, label = row.fields
            texts.append(_text(text, f"{path}, {unit(path)} {row.number}, column {self.text}"))
            if isinstance(label, float) and label.is_integer():  # as a table with a gap in it keeps whole numbers
                label = int(label)
            labels.append("" if label is None else str(label).strip())
            numbers.append(row.number)
        return Examples(texts, labels, str(path), unit(path), numbers)


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{place}: {value!r} is not a text")
    return value
