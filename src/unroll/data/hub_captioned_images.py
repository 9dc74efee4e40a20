"""Pictures with captions from the Hugging Face Hub, or from a local folder in the same layout."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from unroll.data.captioned_images import CaptionedImages, Pictures
from unroll.data.hub import OnHub, check_column
from unroll.data.picture_files import as_array, picture_of
from unroll.errors import UserError


class HubCaptionedImages(OnHub, CaptionedImages):
    """The rows of a dataset with a column of pictures and one or several of captions.

    Args:
        image: the pictures' column.
        captions: the captions' columns.
        image_size: pixels a side to which pictures are brought.
        **others: see `OnHub` and `CaptionedImages`.
    """

    instead = "data=shapes or data=captioned_files"

    def __init__(
        self,
        image: str,
        captions: Annotated[list[str], Field(min_length=1)],
        image_size: PositiveInt,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.image = image
        self.captions = captions
        self.image_size = image_size
        self._loaded: dict[str, Any] = {}

    def read(self) -> dict[str, Pictures]:
        splits = self.load()
        found = {split: self._read(split, rows) for split, rows in splits.items()}
        self._loaded = {split: rows.select_columns([self.image]) for split, rows in splits.items()}
        return found

    def _read(self, split: str, rows: Any) -> Pictures:
        source = f"{self.source}, {split}"
        for key, column in (("data.image", self.image), *(("data.captions", name) for name in self.captions)):
            check_column(rows, key, column, source)
        wanted = []
        for number, row in enumerate(zip(*(rows[name] for name in self.captions), strict=True), 1):
            for caption in row:
                if not isinstance(caption, str):
                    raise UserError(f"{source}, row {number}: the caption {caption!r} is not a text")
            wanted.append("\n".join(" ".join(caption.split()) for caption in row))
        return Pictures([f"{split} {index}" for index in range(len(wanted))], wanted, source)

    def picture(self, name: str) -> np.ndarray:
        with picture_of(self._loaded, name, self.image, self.source) as image:
            return as_array(image, self.image_size)
