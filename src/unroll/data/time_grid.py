"""Regular times: which frequency a series has, where its rows lie, and where each step stands in the day, week and year."""

import datetime
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from unroll.errors import UsageError, UserError

_BY_CALENDAR = ("YS", "YE", "QS", "QE", "MS", "ME")  # those of months lie on those of years, too
_DAY = pd.Timedelta(days=1)
_WEEK = pd.Timedelta(days=7)
_FOUR_WEEKS = 4 * _WEEK
_YEAR = pd.Timedelta(days=365.25)
# What times of so many digits are: places of the calendar, or counted since 1970 (for 2001 to 2286; 9 for 1973 to 2001).
_FORMATS = {6: "%Y%m", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_UNITS = {9: "s", 10: "s", 13: "ms", 16: "us", 19: "ns"}


def infer_frequency(times: pd.DatetimeIndex) -> str | None:
    """The frequency of increasing times, as pandas names it (h, 15min, D, MS, ...); some times may be missing.

    Returns:
        That of most steps; None of fewer than three times.
    """
    if len(times) < 3:
        return None
    found = pd.infer_freq(times)
    if found is not None:
        return str(getattr(found, "freqstr", found))  # pandas 4 gives an offset
    steps, counts = np.unique(np.diff(times.to_numpy()), return_counts=True)
    step = pd.Timedelta(steps[counts.argmax()])
    if step >= _FOUR_WEEKS:
        for alias in _BY_CALENDAR:
            if times.isin(pd.date_range(times[0], times[-1], freq=alias)).all():
                return alias
    if step == _DAY and len(times) > 7 and (times.day_of_week < 5).all():
        return "B"
    if step == _WEEK:
        return f"W-{times[0].strftime('%a').upper()}"
    return "D" if step == _DAY else str(pd.tseries.frequencies.to_offset(step).freqstr)


def check_frequency(frequency: str) -> None:
    """Is it one that pandas knows?

    Raises:
        UsageError: it is not.
    """
    try:
        pd.tseries.frequencies.to_offset(frequency)
    except ValueError:
        raise UsageError(
            f"data.frequency={frequency}: is none; as pandas names them: h, 15min, D, B, W-SUN, MS, QS, YS, ..."
        ) from None


def place_on_grid(times: pd.DatetimeIndex, frequency: str, place: Callable[[int], str]) -> tuple[np.ndarray, int]:
    """Where times lie on the regular grid that begins with the first of them.

    Args:
        times: increasing.
        frequency: of the grid.
        place: tells where the row of a time stands, for messages.

    Returns:
        The step of each, (rows,) of int, and the number of the grid's steps.

    Raises:
        UserError: one lies beside the grid.
    """
    grid = pd.date_range(times[0], times[-1], freq=frequency)
    steps = grid.get_indexer(times)
    beside = np.flatnonzero(steps < 0)
    if len(beside):
        hint = "are frequencies mixed? Set data.frequency, or repair the row"
        within = not (times.is_month_start | times.is_month_end).any()
        if step_length(frequency) >= _FOUR_WEEKS and within and (times.day == times[0].day).all():
            hint = f"months are told by their first or their last day, not by day {times[0].day}"
        raise UserError(
            f"{place(int(beside[0]))}: {times[beside[0]]} is no step of the frequency {frequency} from {times[0]}: {hint}"
        )
    return steps, len(grid)


def later(time: pd.Timestamp, frequency: str, steps: int) -> pd.DatetimeIndex:
    """The `steps` times that follow one."""
    return pd.date_range(time, periods=steps + 1, freq=frequency)[1:]


def step_length(frequency: str) -> pd.Timedelta:
    """How long a step is, on average."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    first = offset.rollforward(pd.Timestamp(2001, 1, 1))
    return (first + 12 * offset - first) / 12


def season_length(frequency: str) -> int:
    """Steps after which a series of this frequency is most like itself: those of a day, if it has several a day; else of
    a week; else of a year; 1 where there is no such."""
    if frequency == "B":
        return 5
    step = step_length(frequency)
    for cycle in (_DAY, _WEEK, _YEAR):
        if round(cycle / step) > 1:
            return round(cycle / step)
    return 1


def calendar_features(times: pd.DatetimeIndex, frequency: str) -> np.ndarray:
    """Where each time stands in the day, the week and the year, where a step is shorter than those.

    Sines and cosines of a cycle and of its first harmonics: two of the day, three of the week (with which its days are
    told apart), two of the year.

    Returns:
        (steps, features) of float32, each in -1 to 1.
    """
    step = step_length(frequency)
    hour = (times.hour + times.minute / 60 + times.second / 3600).to_numpy() / 24
    cycles = [
        (_DAY, hour, 2),
        (_WEEK, times.day_of_week.to_numpy() / 7, 3),
        (_YEAR, (times.day_of_year.to_numpy() - 1) / 365.25, 2),
    ]
    features = [
        wave(2 * np.pi * harmonic * position)
        for cycle, position, harmonics in cycles
        if step < 0.9 * cycle
        for harmonic in range(1, harmonics + 1)
        for wave in (np.sin, np.cos)
    ]
    return np.stack(features, axis=1).astype(np.float32) if features else np.zeros((len(times), 0), np.float32)


def zone_of(written: object) -> datetime.timezone | None:
    """How far a time's clock stands from UTC; None of a time that does not say."""
    try:
        offset = pd.Timestamp(str(written)).utcoffset()
    except ValueError:
        return None
    return None if offset is None else datetime.timezone(offset)


def day_stands_first(written: list[object], in_training: bool | None = None) -> bool | None:
    """Is 01/02/2024 February 1?

    The reading is taken that makes times of the most; then that of training; then that which goes one way and lies
    on the regular grid of a frequency. If both do, the day comes first in 01.02.2024, and the month in 01/02/2024.

    Args:
        written: as they stand in a file, or in one series of it.
        in_training: what was answered there.

    Returns:
        None: all are written as ISO 8601, or mean the same in both readings.
    """
    if not _read_as(written, None).isna().any():
        return None
    month, day = _read_as(written, False), _read_as(written, True)
    if month.equals(day):
        return None
    unread = month.isna().sum() - day.isna().sum()
    if unread:
        return bool(unread > 0)
    if in_training is not None:
        return in_training
    fits = [_regularity(times) for times in (month, day)]
    return fits[1] > fits[0] or (fits[1] == fits[0] and any("." in str(value).split(" ")[0] for value in written))


def _read_as(written: list[object], day_first: bool | None) -> "pd.Series[pd.Timestamp]":
    values = pd.Series([_text_of(value) for value in written], dtype=object)
    counted = _of_digits(values)
    if counted is not None:
        return counted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of formats that differ between rows
        if day_first is None:
            return pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        return pd.to_datetime(values, errors="coerce", utc=True, dayfirst=day_first)


def _text_of(value: object) -> object:
    """Numbers as they are written: pandas would take 2024 for nanoseconds. Where a column has a gap they are 2024.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | float) and value == value else value


def _of_digits(values: "pd.Series[str]") -> "pd.Series[pd.Timestamp] | None":
    """Times of which most are so many digits and nothing else; None where pandas reads them as they are."""
    text = values.astype(str)
    there = values.notna() & (text != "")
    lengths = text.str.len().where(text.str.fullmatch("[0-9]+"), 0)
    digits = lengths[there].mode().iloc[0] if there.any() else 0
    if digits in _FORMATS:
        alike = text.where((lengths == digits) & text.str[:4].between("1678", "2261"))
        times = pd.to_datetime(alike, errors="coerce", utc=True, format=_FORMATS[digits])
        # Of seconds, one in a hundred looks like an hour of some day.
        if digits not in _UNITS or 2 * times.notna().sum() > there.sum():
            return times
    if digits in _UNITS:
        unit = _UNITS[digits]
        numbers = pd.to_numeric(text.where(lengths.map(_UNITS) == unit), errors="coerce")
        return pd.to_datetime(numbers, unit=unit, errors="coerce", utc=True)
    return None


def _regularity(times: "pd.Series[pd.Timestamp]") -> tuple[int, float]:
    """How few of the steps between rows go against the others, and the share of a grid's places that are taken."""
    known = pd.DatetimeIndex(times.dropna()).tz_localize(None)
    steps = np.diff(known.asi8)
    against = min((steps < 0).sum(), (steps > 0).sum())
    each = known.unique().sort_values()
    frequency = infer_frequency(each)
    if frequency is None:
        return -int(against), 0.0
    places = (each[-1] - each[0]) / step_length(frequency) + 1
    if places < 100 * len(each):
        grid = pd.date_range(each[0], each[-1], freq=frequency)
        return -int(against), float(each.isin(grid).sum() / max(len(grid), len(each)))
    return -int(against), float(len(each) / places)


def parse_times(written: list[object], place: Callable[[int], str], day_first: bool | None = None) -> pd.DatetimeIndex:
    """Times as they stand in a file. With time zones they become UTC.

    Args:
        written: strings as ISO 8601 and its kin, digits as 202401 and 2024013112, numbers of seconds or parts of them since
            1970, or datetimes.
        place: tells where each stands, for messages.
        day_first: what `day_stands_first` answers.

    Raises:
        UserError: one is missing or cannot be read.
    """
    parsed = _read_as(written, None)
    if parsed.isna().any():
        kin = _read_as(written, bool(day_first))
        parsed = kin if kin.isna().sum() < parsed.isna().sum() else parsed
    unread = np.flatnonzero(parsed.isna())
    if len(unread):
        value = written[unread[0]]
        if value is None or value == "" or value != value:
            raise UserError(f"{place(int(unread[0]))}: the time is missing: fill it in, or take the row out")
        raise UserError(f"{place(int(unread[0]))}: {value!r} is no time; write it as 2026-01-31 or 2026-01-31 12:00:00")
    times = pd.DatetimeIndex(parsed.dt.tz_localize(None))
    whole = times.as_unit("s")
    return whole if (whole == times).all() else times.as_unit("us")
