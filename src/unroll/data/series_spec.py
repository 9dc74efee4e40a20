"""What of a series a model must know, and what it reads of one."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from unroll.data.time_grid import calendar_features


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
    centre: tuple[tuple[float, ...], ...]
    scale: tuple[tuple[float, ...], ...]
    naive_error: tuple[tuple[float, ...], ...]

    @property
    def known_size(self) -> int:
        """Features whose future is known, those of the calendar among them."""
        calendar = calendar_features(pd.DatetimeIndex(["2000-01-01"]), self.frequency).shape[1] if self.calendar else 0
        return len(self.columns.known) + calendar

    @property
    def identity(self) -> str:
        """See `Data.spec`."""
        return json.dumps([asdict(self.columns), self.calendar, self.frequency, self.names, self.centre, self.scale])

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
