"""Your own series: CSV, TSV, JSON lines or Parquet, a row a time."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unroll.data.grid_series import RawSeries
from unroll.data.series import SeriesData
from unroll.data.series_spec import Columns
from unroll.data.tables import columns_of, read_rows, unit
from unroll.data.time_grid import day_stands_first, parse_times, zone_of
from unroll.errors import UsageError, UserError

_MISSING = {"", "na", "n/a", "nan", "null", "none", "-"}
_ROW_NUMBERS = re.compile(r"\s*|Unnamed: \d+")
"""What the column of row numbers that pandas writes is called, by itself and by who reads it without care."""
_COMMA = re.compile(r"[-+]?[\d.]*,\d+")
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
_GROUPED_BY_POINTS = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?")


class SeriesFiles(SeriesData):
    """A file of rows with a column of times and one or more of numbers; a column of names, if it has several series.

    Args:
        path: the file.
        time: the times' column.
        series: the column that says which series a row is of; None: there is one.
        encoding: of text files.
        decimal_comma: numbers are written as 1,5.
        **series_data: see `SeriesData`.
    """

    def __init__(
        self, path: str, time: str, series: str | None, encoding: str, decimal_comma: bool, **series_data: Any
    ) -> None:
        super().__init__(**series_data)
        self.path = Path(path)
        self.time = time
        self.series = series
        self.encoding = encoding
        self.decimal_comma = decimal_comma

    @property
    def source(self) -> str:
        return str(self.path)

    def read(self) -> tuple[Columns, list[RawSeries]]:
        target = self.target
        if target is None:
            others = {self.time, self.series, *self.known, *self.observed}
            target = [
                name
                for name in columns_of(self.path, self.encoding)
                if name not in others and not _ROW_NUMBERS.fullmatch(name)
            ]
            if not target:
                raise UserError(f"{self.path}: has no column that could be forecast: {self.time} is the only one")
        columns = Columns(tuple(target), self.known, self.observed)
        return columns, read_series(
            self.path, columns, self.time, self.series, self.encoding, self.decimal_comma, "data."
        )


def read_series(
    path: Path,
    columns: Columns,
    time: str,
    series: str | None,
    encoding: str,
    decimal_comma: bool,
    option: str,
    day_first: bool | None = None,
) -> list[RawSeries]:
    """The series of a file, each in the order of its rows.

    Args:
        path, time, series, encoding, decimal_comma: see `SeriesFiles`.
        columns: those to read.
        option: what stands before the options' names in messages: `data.` or `--`.
        day_first: in the dates that training read, see `day_stands_first`.

    Raises:
        UserError: the file cannot be read, a time is none, a number is none.
    """
    roles = {time: f"{option}time"} | ({series: f"{option}series"} if series else {})
    for name in columns.all:
        if name in roles:
            raise UsageError(f"{roles[name]}={name}: is a column of numbers too: each column is one thing")
    if time == series:
        raise UsageError(f"{option}time and {option}series are the same column, {time}")
    names = {**roles, **dict.fromkeys(columns.targets, "data.target")}
    names |= {**dict.fromkeys(columns.known, "data.known"), **dict.fromkeys(columns.observed, "data.observed")}
    written: dict[str, tuple[list[object], list[list[float]], list[int]]] = {}
    skip = len(roles)
    for row in read_rows(path, names, encoding):
        name = ""
        if series:
            if row.fields[1] is None or not str(row.fields[1]).strip():
                raise UserError(
                    f"{path}, {unit(path)} {row.number}, column {series}: which series the row is of is missing"
                )
            name = str(row.fields[1]).strip()
        times, values, numbers = written.setdefault(name, ([], [], []))
        times.append(row.fields[0].strip() if isinstance(row.fields[0], str) else row.fields[0])
        values.append(
            [
                number
                if type(number) is float and math.isfinite(number)
                else _number(number, decimal_comma, path, row.number, column, option)
                for column, number in zip(columns.all, row.fields[skip:], strict=True)
            ]
        )
        numbers.append(row.number)
    if not written:
        raise UserError(f"{path}: has a header and no rows")
    found = []
    day_first = day_stands_first(max((times for times, *_ in written.values()), key=len), day_first)
    for name, (times, values, numbers) in written.items():
        parsed = parse_times(times, _place(path, numbers, f", column {time}"), day_first)
        zone = zone_of(times[-1])
        found.append(RawSeries(name, parsed, np.array(values), _place(path, numbers), zone=zone, day_first=day_first))
    return found


def _place(path: Path, numbers: list[int], column: str = "") -> Callable[[int], str]:
    return lambda row: f"{path}, {unit(path)} {numbers[row]}{column}"


def _number(written: object, decimal_comma: bool, path: Path, number: int, column: str, option: str) -> float:
    place = f"{path}, {unit(path)} {number}, column {column}"
    if written is None:
        return math.nan
    if isinstance(written, str):
        text = written.strip()
        if text.lower() in _MISSING:
            return math.nan
        said = "--decimal-comma" if option == "--" else f"{option}decimal_comma=true"
        if decimal_comma:
            if "." in text and not _GROUPED_BY_POINTS.fullmatch(text):
                raise UserError(f"{place}: {written!r}: its point cannot be between thousands, and {said} was said")
            text = text.replace(".", "").replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            hints = []
            if not decimal_comma and _COMMA.fullmatch(text):
                hints.append(f"if the comma is the decimal sign: {said}")
            if not decimal_comma and _GROUPED.fullmatch(text):
                hints.append("if it is between thousands: write the number without it")
            raise UserError("; ".join([f"{place}: {written!r} is no number", *hints])) from None
    else:
        try:
            value = float(written)  # type: ignore[arg-type]  # int, Decimal, numpy's own
        except (TypeError, ValueError):
            raise UserError(f"{place}: {written!r} is no number") from None
    if math.isinf(value):
        raise UserError(f"{place}: is infinite: write the number, or leave it empty if it is not known")
    return value
