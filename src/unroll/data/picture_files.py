"""Picture files as arrays."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unroll.errors import UserError, one_line

_GREY = (128, 128, 128)


def read_picture(path: Path, size: int, place: str = "") -> np.ndarray:
    """A picture file, (3, size, size) of uint8: made as large as fits, with grey beside it.

    Args:
        path: in any format that Pillow reads.
        size: pixels a side.
        place: where its name stands, for messages.

    Raises:
        UserError: no such file, or no picture.
    """
    from PIL import Image

    told = f"{place}: {path}" if place else str(path)
    with readable(told):
        if not path.exists():
            raise UserError(f"{told}: there is no such file (seen from {Path.cwd()})")
        with Image.open(path) as image:
            return as_array(image, size)


@contextmanager
def picture_of(splits: Mapping[str, Any], name: str, column: str, source: str) -> Iterator[Any]:
    """A picture of a dataset, as Pillow has it.

    Args:
        splits: the rows of each.
        name: its split and its number, from 0, as `train 7`.
        column: the pictures'.
        source: what the dataset is called in messages.

    Raises:
        UserError: it is none, or cannot be read; inside, what is done with it.
    """
    split, index = name.split()
    place = f"{source}, {split}, row {int(index) + 1}, column {column}"
    with readable(place):
        image = splits[split][int(index)][column]
        if not hasattr(image, "convert"):
            raise UserError(f"{place}: {type(image).__name__} is no picture")
        yield image


@contextmanager
def readable(told: str) -> Iterator[None]:
    """What goes wrong with a picture inside is told in one line.

    Args:
        told: which picture.

    Raises:
        UserError: it cannot be read, or is too large to be one.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{told}: cannot be read as a picture: {one_line(error)}") from None


def as_array(image: Any, size: int) -> np.ndarray:
    """A picture of Pillow's in the same form; what is transparent is white, and of 16 bits the upper 8 count."""
    from PIL import Image, ImageOps

    whole = ImageOps.exif_transpose(image)
    if whole.mode.startswith("I"):
        whole = Image.fromarray((np.asarray(whole) >> 8).clip(0, 255).astype(np.uint8))
    if whole.has_transparency_data:
        above = whole.convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    whole = whole.convert("RGB")
    return np.asarray(ImageOps.pad(whole, (size, size), color=_GREY)).transpose(2, 0, 1).copy()


def in_grey(image: Any, size: int) -> np.ndarray:
    """A picture of Pillow's, (size, size) of uint8: its brightness."""
    from PIL import Image

    return np.asarray(Image.fromarray(as_array(image, size).transpose(1, 2, 0)).convert("L"))


def read_in_grey(path: Path, size: int) -> np.ndarray:
    """A picture file in the same form.

    Raises:
        UserError: no such file, or no picture.
    """
    from PIL import Image

    return in_grey(Image.fromarray(read_picture(path, size).transpose(1, 2, 0)), size)


def write_picture(pixels: np.ndarray, path: Path) -> None:
    """(3, height, width) of uint8 as a PNG, whole or not at all."""
    from PIL import Image

    from unroll.writing import written_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        Image.fromarray(pixels.transpose(1, 2, 0)).save(unfinished, format="png")


def read_features(path: Path) -> np.ndarray:
    """A `.npy` file of vectors, (count, width) of float32, not loaded but mapped.

    Raises:
        UserError: it is something else.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file (seen from {Path.cwd()})")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: is no .npy file of numbers: {one_line(error)}") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "iuf":
        raise UserError(f"{path}: is no table of numbers, (pictures, width)")
    if 0 in found.shape:
        raise UserError(f"{path}: has no numbers: its shape is {found.shape}")
    return found


def as_vectors(table: np.ndarray, path: Path, first: int = 0) -> np.ndarray:
    """Some rows of such a file, (count, width) of float32.

    Args:
        table: the rows.
        path: the file, and
        first: the number of the first one, from 0, for messages.

    Raises:
        UserError: one is not finite.
    """
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is told below
        found = np.array(table, np.float32)
    wrong = np.flatnonzero(~np.isfinite(found).all(1))
    if len(wrong):
        raise UserError(f"{path}: row {first + int(wrong[0])} (from 0) is not finite in float32")
    return found
