"""Labelled texts from the Hugging Face Hub, or from a local folder in the same layout."""

from typing import Any

from unroll.data.hub import OnHub, check_column, class_names
from unroll.data.labelled_text import Examples, LabelledText
from unroll.errors import UserError

_UNLABELLED = -1  # what the Hub writes where labels are kept secret


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
        values = rows[self.label][:]
        names = getattr(rows.features[self.label], "names", None)
        if names is not None:
            # The library reads the numbers of every split by the names of the first one: a split's own may differ.
            config_name = self.test_config_name if split == "test" and self.test_config_name else self.config_name
            names = class_names(self.source, self.revision, config_name, split, self.label) or names
        if names is not None and split == "test" and set(values) == {_UNLABELLED}:
            self._notes.append("test: the labels of the source's own are not public")
            return None
        labels = []
        for number, value in enumerate(values, start=1):
            if names is not None and value is not None and not 0 <= value < len(names):
                raise UserError(
                    f"{source}, row {number}, column {self.label}: label {value} is none of 0 to {len(names) - 1} "
                    f"({', '.join(names)})"
                )
            if isinstance(value, list | dict):
                raise UserError(f"{source}, row {number}, column {self.label}: {value} is not one class")
            labels.append("" if value is None else str(value if names is None else names[value]))
        texts = rows[self.text][:]
        for number, text in enumerate(texts, start=1):
            if text is not None and not isinstance(text, str):
                raise UserError(f"{source}, row {number}, column {self.text}: {text!r} is not a text")
        return Examples(["" if text is None else text for text in texts], labels, source)
