"""What of a series a model must know, and what it reads of one."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from unroll.data.base import DAMAGED
from unroll.data.grid_series import GridSeries
from unroll.data.time_grid import calendar_features
from unroll.errors import UserError
from unroll.writing import written_whole

Table = tuple[tuple[float, ...], ...]
"""A number for each series and column."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a series are, in their order.

    Attributes:
        targets: forecast.
        known: covariates whose future is known: a holiday, a price, a weather forecast.
        observed: covariates that are known up to now only.
    """

    targets: tuple[str, ...]
    known: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Targets, known, observed."""
        return self.targets + self.known + self.observed


@dataclass(frozen=True)
class SeriesSpec:
    """What a model, its scores and its forecasts must know of the data.

    Attributes:
        time, series: the columns of times and of the series' names (None: there is one series), as files have them.
        columns: what is forecast, from what.
        calendar: whether the place in day, week and year is given with the known covariates.
        frequency: as pandas names it.
        season_length: steps of a season, of the seasonal naive forecast and of mase.
        is_stream: whether a model reads the series from its beginning, and carries a state, instead of windows.
        context_length: steps that a forecast looks back at; of a stream, those that simple forecasts and pictures do.
        prediction_length: steps that it looks ahead.
        names: the series'.
        centre, scale: for each series and column: a value is standardized by (value - centre) / scale.
        naive_error: for each series and target: the mean absolute error on train, in the unit of the data, of a forecast
            that repeats the season before. 0: it has none.
        day_first: see `day_stands_first`.
    """

    time: str
    series: str | None
    columns: Columns
    calendar: bool
    frequency: str
    season_length: int
    is_stream: bool
    context_length: int
    prediction_length: int
    names: tuple[str, ...]
    centre: Table
    scale: Table
    naive_error: Table
    day_first: bool | None = None

    @property
    def known_size(self) -> int:
        """Features whose future is known, those of the calendar among them."""
        calendar = calendar_features(pd.DatetimeIndex(["2000-01-01"]), self.frequency).shape[1] if self.calendar else 0
        return len(self.columns.known) + calendar

    @property
    def layout(self) -> "Layout":
        """Of a table of `features`."""
        return Layout(len(self.columns.targets), self.known_size, len(self.columns.observed))

    def write(self, path: Path) -> None:
        """As JSON."""
        with written_whole(path) as unfinished:
            unfinished.write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "SeriesSpec":
        """What was written.

        Raises:
            UserError: it is not there, or not whole.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            columns = Columns(**{role: tuple(map(str, names)) for role, names in stored.pop("columns").items()})
            tables: dict[str, Any] = {
                key: tuple(tuple(map(float, row)) for row in stored.pop(key))
                for key in ("centre", "scale", "naive_error")
            }
            names = tuple(map(str, stored.pop("names")))
            spec = cls(columns=columns, names=names, **tables, **stored)
            pd.tseries.frequencies.to_offset(spec.frequency)
        except (*DAMAGED, AttributeError) as error:
            raise UserError(f"{path}: is not there, or not whole ({error!r})") from None
        return spec

    @property
    def identity(self) -> str:
        """See `Data.spec`."""
        return json.dumps([asdict(self.columns), self.calendar, self.frequency, self.names, self.centre, self.scale])

    def with_series(self, name: str, values: np.ndarray) -> "SeriesSpec":
        """The same with one more series, which training never had: its targets are standardized by what is known of it, if
        those of training were by theirs.

        Args:
            name: of the series.
            values: (steps, columns), in the unit of the data, up to now.
        """
        targets = len(self.columns.targets)
        centre, scale = np.array(self.centre[0]), np.array(self.scale[0])
        if any(set(row[:targets]) != {0} for row in self.centre) or any(
            set(row[:targets]) != {1} for row in self.scale
        ):
            centre[:targets], scale[:targets] = centre_and_scale(values[:, :targets])
        return replace(
            self,
            names=(*self.names, name),
            centre=(*self.centre, *_table([centre])),
            scale=(*self.scale, *_table([scale])),
            naive_error=(*self.naive_error, (0.0,) * targets),
        )

    def standardize(self, values: np.ndarray, series: int) -> np.ndarray:
        """(steps, columns) in the unit of the data -> standardized."""
        return (values - np.array(self.centre[series])) / np.array(self.scale[series])

    def features(self, times: pd.DatetimeIndex, values: np.ndarray, series: int) -> np.ndarray:
        """What a model reads of a series: (steps, targets + known + calendar + observed) of float32.

        Targets are NaN where missing; a missing covariate is at its mean.
        """
        scaled = self.standardize(values, series)
        targets, known = len(self.columns.targets), len(self.columns.known)
        covariates = np.nan_to_num(scaled[:, targets:])
        parts = [scaled[:, :targets], covariates[:, :known]]
        if self.calendar:
            parts.append(calendar_features(times, self.frequency))
        return np.concatenate([*parts, covariates[:, known:]], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """How many columns of a table are what, in their order."""

    targets: int
    known: int
    observed: int

    def split(self, block: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., columns) -> targets, known, observed: views."""
        targets, known, observed = block.split([self.targets, self.known, self.observed], dim=-1)
        return targets, known, observed


def centre_and_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, (steps, columns) -> (columns,) each; NaN is left out.

    What does not move has no scale of its own: 1.
    """
    seen = np.maximum(np.isfinite(values).sum(axis=0), 1)
    centre = np.nansum(values, axis=0) / seen
    scale = np.sqrt(np.nansum((values - centre) ** 2, axis=0) / seen)
    return centre, np.where(scale > 1e-9 * np.maximum(np.abs(centre), 1e-9), scale, 1.0)


def scales(grids: list[GridSeries], targets: int, season: int, standardize: bool) -> tuple[Table, Table, Table]:
    """`SeriesSpec`'s centre, scale and naive_error, all of them from train.

    Args:
        grids: the series, whose first columns are the targets.
        targets: how many.
        season: steps.
        standardize: whether the targets are; covariates always are.
    """
    centres, scales, errors = [], [], []
    for one in grids:
        train = one.values[: one.borders[0]]
        centre, scale = centre_and_scale(train)
        if not standardize:
            centre[:targets], scale[:targets] = 0, 1
        lag = min(season, max(1, len(train) - 1))
        change = np.abs(train[lag:, :targets] - train[:-lag, :targets])
        both = np.isfinite(change).sum(axis=0)
        errors.append(np.nansum(change, axis=0) / np.where(both, both, 1))
        centres.append(centre)
        scales.append(scale)
    # Covariates mean the same in every series: one scale for all of them.
    together = np.concatenate([one.values[: one.borders[0], targets:] for one in grids])
    for index in range(len(grids)):
        centres[index][targets:], scales[index][targets:] = centre_and_scale(together)
    return _table(centres), _table(scales), _table(errors)


def _table(rows: list[np.ndarray]) -> Table:
    return tuple(tuple(map(float, row)) for row in rows)
