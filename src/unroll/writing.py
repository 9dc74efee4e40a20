"""Files that are whole or not there."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` when the block ends well, and is taken away when it does not.

    What is killed or finds the disk full half-way leaves the old file as it was.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _opened(path: Path) -> TextIO:
    # A file's name may be any bytes, and stand in a table.
    return path.open("w", newline="", encoding="utf-8", errors="backslashreplace")


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished, _opened(unfinished) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
