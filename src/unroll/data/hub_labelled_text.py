"""Labelled texts from the Hugging Face Hub, or from a local folder in the same layout."""

from pathlib import Path
from typing import Any

from unroll.data.base import SPLITS
from unroll.data.hub import class_names, load_splits
from unroll.data.labelled_text import Examples, LabelledText
from unroll.errors import UserError, did_you_mean

_UNLABELLED = -1  # what the Hub writes where labels are kept secret


class HubLabelledText(LabelledText):
    """The rows of a dataset with a column of texts and one of classes.

    Classes are told by their names, so that splits that number them differently are read alike.

    Args:
        hub_id: name on the Hub; null where only a local folder will do.
        revision: commit of the Hub's repository; null for the newest.
        config_name: the dataset's configuration; null for its default.
        test_config_name: another configuration that the test split is taken from.
        path: a local folder in the Hub's layout, read in place of the Hub.
        text: the texts' column.
        label: the labels' column.
        **labelled: see `LabelledText`.
    """

    def __init__(
        self,
        hub_id: str | None,
        revision: str | None,
        config_name: str | None,
        test_config_name: str | None,
        path: str | None,
        text: str,
        label: str,
        **labelled: Any,
    ) -> None:
        super().__init__(**labelled)
        self.hub_id = hub_id
        self.revision = revision
        self.config_name = config_name
        self.test_config_name = test_config_name
        self.path = path
        self.text = text
        self.label = label

    @property
    def source(self) -> str:
        return self.path or str(self.hub_id)

    def read(self) -> dict[str, Examples]:
        splits = dict(self._load(self.config_name, "train"))
        if self.test_config_name is not None:
            splits["test"] = self._load(self.test_config_name, "test")["test"]
        read = {split: self._read(split, splits[split]) for split in SPLITS if split in splits}
        return {split: examples for split, examples in read.items() if examples is not None}

    def _load(self, config_name: str | None, needed: str) -> Any:
        return load_splits(
            self.hub_id,
            self.revision,
            config_name,
            Path(self.path) if self.path else None,
            needed=(needed,),
            offline="data=reviews or data=labelled_files",
        )

    def _read(self, split: str, rows: Any) -> Examples | None:
        source = f"{self.source}, {split}"
        for key, column in (("data.text", self.text), ("data.label", self.label)):
            if column not in rows.column_names:
                valid = did_you_mean(column, rows.column_names)
                raise UserError(f"{source}: there is no column {column}; name another by {key}: {valid}")
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
