"""Pictures with captions from the Hugging Face Hub, or from a local folder in the same layout."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from unroll.data.base import SPLITS
from unroll.data.captioned_images import CaptionedImages, Pictures
from unroll.data.hub import load_splits
from unroll.data.picture_files import as_array, readable
from unroll.errors import UserError, did_you_mean


class HubCaptionedImages(CaptionedImages):
    """The rows of a dataset with a column of pictures and one or several of captions.

    Args:
        hub_id: name on the Hub; null where only a local folder will do.
        revision: commit of the Hub's repository; null for the newest.
        config_name: the dataset's configuration; null for its default.
        path: a local folder in the Hub's layout, read in place of the Hub.
        image: the pictures' column.
        captions: the captions' columns.
        image_size: pixels a side to which pictures are brought.
        **captioned: see `CaptionedImages`.
    """

    def __init__(
        self,
        hub_id: str | None,
        revision: str | None,
        config_name: str | None,
        path: str | None,
        image: str,
        captions: Annotated[list[str], Field(min_length=1)],
        image_size: PositiveInt,
        **captioned: Any,
    ) -> None:
        super().__init__(**captioned)
        self.hub_id = hub_id
        self.revision = revision
        self.config_name = config_name
        self.path = path
        self.image = image
        self.captions = captions
        self.image_size = image_size
        self._loaded: dict[str, Any] = {}

    @property
    def source(self) -> str:
        return self.path or str(self.hub_id)

    def read(self) -> dict[str, Pictures]:
        splits = load_splits(
            self.hub_id,
            self.revision,
            self.config_name,
            Path(self.path) if self.path else None,
            needed=("train",),
            offline="data=shapes or data=captioned_files",
        )
        self._loaded = {split: splits[split] for split in SPLITS if split in splits}
        return {split: self._read(split, rows) for split, rows in self._loaded.items()}

    def _read(self, split: str, rows: Any) -> Pictures:
        source = f"{self.source}, {split}"
        for key, column in (("data.image", self.image), *(("data.captions", name) for name in self.captions)):
            if column not in rows.column_names:
                valid = did_you_mean(column, rows.column_names)
                raise UserError(f"{source}: there is no column {column}; name another by {key}: {valid}")
        wanted = []
        for number, row in enumerate(zip(*(rows[name] for name in self.captions), strict=True), 1):
            for caption in row:
                if not isinstance(caption, str):
                    raise UserError(f"{source}, row {number}: the caption {caption!r} is not a text")
            wanted.append("\n".join(" ".join(caption.split()) for caption in row))
        return Pictures([f"{split} {index}" for index in range(len(wanted))], wanted, source)

    def picture(self, name: str) -> np.ndarray:
        split, index = name.split()
        place = f"{self.source}, {split}, row {int(index) + 1}, column {self.image}"
        with readable(place):
            image = self._loaded[split][int(index)][self.image]
            if not hasattr(image, "convert"):
                raise UserError(f"{place}: {type(image).__name__} is no picture")
            return as_array(image, self.image_size)
