"""A series as it was read, and the same on its regular grid."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unroll.data.time_grid import place_on_grid
from unroll.errors import UserError


@dataclass(frozen=True)
class RawSeries:
    """A series as it was read.

    Attributes:
        name: which one, among several; empty where there is one only.
        times: (rows,), in any order.
        values: (rows, columns) of float64; NaN where missing.
        place: tells where a row stands, for messages.
        sizes: rows of train, validation and test, where the source says.
    """

    name: str
    times: pd.DatetimeIndex
    values: np.ndarray
    place: Callable[[int], str]
    sizes: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class GridSeries:
    """A series on its regular grid.

    Attributes:
        name: see `RawSeries`.
        times: (steps,).
        values: (steps, columns) of float64; NaN where missing.
        borders: the steps at which validation and test begin, and the end.
    """

    name: str
    times: pd.DatetimeIndex
    values: np.ndarray
    borders: tuple[int, int, int]


def check_order(one: RawSeries, told: str) -> None:
    """Are there rows, and do their times increase?

    Args:
        one: a series.
        told: what it is called in messages.

    Raises:
        UserError: they do not.
    """
    if not len(one.times):
        raise UserError(f"{told}: has no rows")
    backwards = np.flatnonzero(np.diff(one.times.asi8) <= 0)
    if len(backwards):
        row = int(backwards[0]) + 1
        if (one.times[:row] == one.times[row]).any():
            of = f" of series {one.name}" if one.name else ""
            hint = "" if one.name else "; if the file has several series, name their column by data.series"
            raise UserError(f"{one.place(row)}: the time {one.times[row]}{of} stands there twice{hint}")
        raise UserError(
            f"{one.place(row)}: the time {one.times[row]} is before that of the row above: sort the rows by time"
        )


def fill_grid(one: RawSeries, frequency: str, told: str) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]:
    """A series on its regular grid.

    Args:
        one: a series whose times increase.
        frequency: of the grid.
        told: what it is called in messages.

    Returns:
        The grid's times; the values, (steps, columns), NaN where there was no row; and the step of each row.

    Raises:
        UserError: a time that lies beside the grid, or most of the grid is empty.
    """
    steps, count = place_on_grid(one.times, frequency, one.place)
    if count > 2 * len(one.times) + 10:
        raise UserError(
            f"{told}: has {len(one.times):,} of the {count:,} steps that a frequency of {frequency} has in its time: set "
            "data.frequency to the right one"
        )
    values = np.full((count, one.values.shape[1]), np.nan)
    values[steps] = one.values
    return pd.date_range(one.times[0], periods=count, freq=frequency), values, steps
