"""Pictures with classes from the Hugging Face Hub, or from a local folder in the same layout, read a pixel a step."""

from pathlib import Path
from typing import Any

import numpy as np

from unroll.data.hub import OnHub, check_column
from unroll.data.picture_files import in_grey, picture_of
from unroll.data.pixels import PixelData
from unroll.data.rows import Rows
from unroll.errors import UserError

_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")


class HubPixels(OnHub, PixelData):
    """The rows of a dataset with a column of pictures and one of classes.

    Args:
        image: the pictures' column.
        label: the classes' column: of type ClassLabel, or texts, or numbers.
        **others: see `OnHub` and `PixelData`.
    """

    instead = "data=digits"

    def __init__(self, image: str, label: str, **others: Any) -> None:
        super().__init__(**others)
        self.image = image
        self.label = label
        self._files = 0  # pictures that lie in the folder, where it is one of picture files
        self._loaded: dict[str, Any] = {}

    def read(self) -> dict[str, Rows]:
        splits = self.load()
        if self.path is not None:
            self._files = sum(file.suffix.lower() in _PICTURES for file in Path(self.path).rglob("*"))
        self._check_all_read(sum(len(rows) for rows in splits.values()))
        found = {split: self._read(split, rows) for split, rows in splits.items()}
        self._loaded = {split: rows.select_columns([self.image]) for split, rows in splits.items()}
        return {split: rows for split, rows in found.items() if rows is not None}

    def _check_all_read(self, count: int) -> None:
        """The library takes a file whose name has a split's name in it for that split, and then no others."""
        if self._files and self._files != count:
            raise UserError(
                f"{self.path}: has {self._files:,} pictures, of which {count:,} would be read: a name like train_1.png or "
                "my_test.png is taken for a split's; rename it, or put all into the folders train and test"
            )

    def _read(self, split: str, rows: Any) -> Rows | None:
        source = f"{self.source}, {split}"
        if self._files and self.label not in rows.column_names:
            raise UserError(f"{source}: the pictures must lie in two folders or more, one for each class: CLASS/*.png")
        for key, column in (("data.image", self.image), ("data.label", self.label)):
            check_column(rows, key, column, source)
        values = self.classes_of(rows, split, self.label, self.config_name)
        if values is None:
            self._notes.append("test: the classes of the source's own are not public")
            return None
        wanted = []
        for number, label in enumerate(values, start=1):
            place = f"{source}, row {number}, column {self.label}"
            if isinstance(label, bool) or not isinstance(label, (int, str)) or not str(label).strip():
                raise UserError(f"{place}: {label!r} is no class: a name or a whole number is")
            wanted.append(str(label))
        return Rows([f"{split} {index}" for index in range(len(wanted))], wanted, source)

    def pictures(self, split: str) -> np.ndarray:
        return np.stack([self._picture(name) for name in self.rows[split].given])

    def _picture(self, name: str) -> np.ndarray:
        with picture_of(self._loaded, name, self.image, self.source) as image:
            return in_grey(image, self.size)
