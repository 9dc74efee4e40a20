"""Pictures and tables, where they can be looked at online."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""Columns and rows."""


def is_shown(loggers: Iterable[Logger]) -> bool:
    """Whether one of them shows anything."""
    return any(isinstance(logger, WandbLogger) for logger in loggers)


def show(
    loggers: Iterable[Logger],
    pictures: Mapping[str, Path],
    tables: Mapping[str, Table] | None = None,
    under: str = "",
    step: int | None = None,
) -> None:
    """Give what was written into a run's folder to those of its loggers that can show it: W&B's.

    Args:
        loggers: the run's, or none.
        pictures, tables: by their names.
        under: what stands before each name: a split.
        step: the update they belong to; None: the last.
    """
    before = f"{under}/" if under else ""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            for name, (columns, rows) in (tables or {}).items():
                logger.log_table(f"{before}{name}", columns=list(columns), data=[list(row) for row in rows])
            for name, picture in pictures.items():
                logger.log_image(f"{before}{name}", [str(picture)], step=step)
