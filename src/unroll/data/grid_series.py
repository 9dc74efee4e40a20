"""A series as it was read, and the same on its regular grid."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unroll.data.time_grid import infer_frequency, place_on_grid, step_length
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
        zone: of the last row's clock, where it says; `times` are of UTC then.
        day_first: see `day_stands_first`.
    """

    name: str
    times: pd.DatetimeIndex
    values: np.ndarray
    place: Callable[[int], str]
    sizes: tuple[int, int, int] | None = None
    zone: datetime.timezone | None = None
    day_first: bool | None = None


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
    count = round((one.times[-1] - one.times[0]) / step_length(frequency)) + 1  # about: a grid of all might not fit
    if count <= 3 * len(one.times) + 20:
        steps, count = place_on_grid(one.times, frequency, one.place)
    if count > 2 * len(one.times) + 10:
        raise UserError(
            f"{told}: has {len(one.times):,} of the {count:,} steps that a frequency of {frequency} has from "
            f"{one.times[0]} to {one.times[-1]}: set data.frequency to the right one, or take out rows that lie far off"
        )
    values = np.full((count, one.values.shape[1]), np.nan)
    values[steps] = one.values
    return pd.date_range(one.times[0], periods=count, freq=frequency), values, steps


def on_grids(
    raw: list[RawSeries], frequency: str | None, sizes: Sequence[float], source: str
) -> tuple[list[GridSeries], str, list[str]]:
    """Several series on the grids of one frequency, and where each is split.

    Args:
        raw: at least one.
        frequency: None: found from the times of the longest.
        sizes: of train, validation and test, as shares or as steps; used where a series brings none of its own.
        source: what they are called in messages.

    Returns:
        The series; the frequency; what is to be told of them.

    Raises:
        UserError: times that do not increase, that lie beside the grid or say no frequency; more steps asked for than
            there are.
    """
    for one in raw:
        check_order(one, told(source, one.name))
    if frequency is None:
        longest = max(raw, key=lambda one: len(one.times))
        frequency = infer_frequency(longest.times)
        if frequency is None:
            raise UserError(
                f"{told(source, longest.name)}: has {len(longest.times)} rows, too few to tell how far apart they are: "
                "set data.frequency"
            )
    grids, gaps, first_gap = [], 0, ""
    for one in raw:
        times, values, steps = fill_grid(one, frequency, told(source, one.name))
        count = len(times)
        if count > len(steps):
            gaps += count - len(steps)
            first_gap = first_gap or str(times[int(np.flatnonzero(np.diff(steps) > 1)[0]) + 1])
        if one.sizes is not None:  # of rows; gaps count into the split that they lie in
            begins = [int(steps[border]) if border < len(steps) else count for border in np.cumsum(one.sizes)]
            borders = (begins[0], begins[1], count)
        else:
            borders = _borders(count, sizes, told(source, one.name))
        grids.append(GridSeries(one.name, times, values, borders))
    notes = [f"gaps: {gaps:,} steps have no row and are taken as missing, the first {first_gap}"] if gaps else []
    return grids, frequency, notes


def _borders(count: int, sizes: Sequence[float], called: str) -> tuple[int, int, int]:
    train, validation, test = sizes
    if train <= 1:
        # As published code does: what rounding leaves over is validation's.
        return int(count * train), count - int(count * test), count
    borders = int(train), int(train + validation), int(train + validation + test)
    if borders[2] > count:
        raise UserError(f"{called}: has {count:,} steps, and data.sizes={sizes} are {borders[2]:,}")
    return borders


def told(source: str, name: str) -> str:
    """What a series is called in messages."""
    return f"{source}, series {name}" if name else source
