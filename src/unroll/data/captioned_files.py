"""Your own pictures with captions: a table of file names and texts, or of texts for the rows of a file of vectors."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from unroll.data.captioned_images import CaptionedImages, Pictures
from unroll.data.picture_files import as_vectors, read_features, read_picture
from unroll.data.tables import read_rows, unit
from unroll.errors import UserError


class CaptionedFiles(CaptionedImages):
    """A CSV, TSV, JSON lines or Parquet with a picture's file a row and a caption, or in JSON and Parquet a list of them.

    Several rows with one picture give it several captions.

    Args:
        path: the table: all there is, or the training split.
        validation_path, test_path: tables for these splits; without one a share of the training pictures is drawn.
        image: the column of the pictures' files, relative to the table; with `features_path` of row numbers, from 0.
        caption: the column of the captions.
        features_path: a `.npy` of vectors that were made of the pictures elsewhere, (pictures, width); None: pictures are
            read.
        image_size: pixels a side to which pictures are brought.
        encoding: of text files.
        **captioned: see `CaptionedImages`.
    """

    def __init__(
        self,
        path: str,
        validation_path: str | None,
        test_path: str | None,
        image: str,
        caption: str,
        features_path: str | None,
        image_size: PositiveInt,
        encoding: str,
        **captioned: Any,
    ) -> None:
        super().__init__(**captioned)
        given = {"train": path, "validation": validation_path, "test": test_path}
        self.paths = {split: Path(name) for split, name in given.items() if name is not None}
        self.image = image
        self.caption = caption
        self.features = None if features_path is None else Path(features_path)
        self.image_size = image_size
        self.encoding = encoding
        self._vectors: np.ndarray | None = None
        self._places: dict[str, str] = {}

    @property
    def source(self) -> str:
        return str(self.paths["train"])

    def read(self) -> dict[str, Pictures]:
        if self.features is not None:
            self._vectors = read_features(self.features)
        return {split: self._read(path) for split, path in self.paths.items()}

    def _read(self, path: Path) -> Pictures:
        if self.image == self.caption:
            raise UserError(f"data.image and data.caption are the same column, {self.image}")
        columns = {self.image: "data.image", self.caption: "data.caption"}
        captions: dict[str, list[str]] = {}
        numbers: dict[str, int] = {}
        for row in read_rows(path, columns, self.encoding):
            place = f"{path}, {unit(path)} {row.number}"
            image, said = row.fields
            name = self._name(image, path, f"{place}, column {self.image}")
            self._places.setdefault(name, f"{place}, column {self.image}")
            numbers.setdefault(name, row.number)
            if isinstance(said, list) and not said:
                raise UserError(f"{place}, column {self.caption}: the list of captions is empty: take the row out")
            for caption in said if isinstance(said, list) else [said]:
                if caption is not None and not isinstance(caption, str):
                    raise UserError(f"{place}, column {self.caption}: {caption!r} is not a text")
                captions.setdefault(name, []).append(" ".join((caption or "").split()))
        wanted = ["\n".join(several) for several in captions.values()]
        return Pictures(list(captions), wanted, str(path), unit(path), list(numbers.values()))

    def _name(self, image: Any, table: Path, place: str) -> str:
        if self._vectors is None:
            if not isinstance(image, str) or not image.strip():
                raise UserError(f"{place}: {image!r} is no file name")
            return str(table.parent / image)
        if isinstance(image, str) and image.strip().isdecimal():
            image = int(image)
        if not isinstance(image, int) or isinstance(image, bool):
            raise UserError(f"{place}: {image!r} is no row number of {self.features}")
        row = image
        if not 0 <= row < len(self._vectors):
            raise UserError(f"{place}: {self.features} has the rows 0 to {len(self._vectors) - 1}, and this is {row}")
        return str(row)

    def picture(self, name: str) -> np.ndarray:
        if self._vectors is not None:
            assert self.features is not None
            return as_vectors(self._vectors[int(name)][None], self.features, int(name))[0]
        return read_picture(Path(name), self.image_size, self._places[name])
