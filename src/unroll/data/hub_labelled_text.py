"""Labelled texts from the Hugging Face Hub, or from a local folder in the same layout."""

from typing import Any

from unroll.data.hub import OnHub, check_column
from unroll.data.labelled_text import Examples, LabelledText
from unroll.errors import UserError


class HubLabelledText(OnHub, LabelledText):
    """The rows of a dataset with a column of texts and one of classes.

    Classes are told by their names, so that splits that number them differently are read alike.

    Args:
        test_config_name: another configuration that the test split is taken from.
        text: the texts' column.
        label: the labels' column.
        **others: see `OnHub` and `LabelledText`.
    """

    instead = "data=reviews or data=labelled_files"

    def __init__(self, test_config_name: str | None, text: str, label: str, **others: Any) -> None:
        super().__init__(**others)
        self.test_config_name = test_config_name
        self.text = text
        self.label = label

    def read(self) -> dict[str, Examples]:
        splits = self.load()
        if self.test_config_name is not None:
            splits["test"] = self.load(("test",), config_name=self.test_config_name)["test"]
        read = {split: self._read(split, rows) for split, rows in splits.items()}
        return {split: examples for split, examples in read.items() if examples is not None}

    def _read(self, split: str, rows: Any) -> Examples | None:
        source = f"{self.source}, {split}"
        for key, column in (("data.text", self.text), ("data.label", self.label)):
            check_column(rows, key, column, source)
        config_name = self.test_config_name if split == "test" and self.test_config_name else self.config_name
        values = self.classes_of(rows, split, self.label, config_name)
        if values is None:
            self._notes.append("test: the labels of the source's own are not public")
            return None
        labels = []
        for number, value in enumerate(values, start=1):
            if isinstance(value, list | dict):
                raise UserError(f"{source}, row {number}, column {self.label}: {value} is not one class")
            labels.append("" if value is None else str(value))
        texts = rows[self.text][:]
        for number, text in enumerate(texts, start=1):
            if text is not None and not isinstance(text, str):
                raise UserError(f"{source}, row {number}, column {self.text}: {text!r} is not a text")
        return Examples(["" if text is None else text for text in texts], labels, source)
