"""A generated load curve: the power that a town draws, each hour, with noise of known size."""

from typing import Any

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt

from unroll.data.grid_series import RawSeries
from unroll.data.series import SeriesData
from unroll.data.series_spec import Columns
from unroll.errors import UsageError

_BEGIN = "2021-01-01"
_HOLIDAYS = ((1, 1), (1, 6), (5, 1), (6, 24), (8, 15), (10, 3), (11, 1), (12, 25), (12, 26))  # month, day
_NOISE = 25.0  # MW: standard deviation


class LoadCurve(SeriesData):
    """Hourly load in MW, with temperature and holidays as covariates whose future is known.

        load_t = m_t + 25 MW n_t,     n_t ~ N(0, 1)

    m: a daily rhythm that is another one on working days, Saturdays, Sundays and holidays; heating below 15 °C, cooling above
    22 °C; longer evenings in winter; a slow rise. The temperature has a year, a day, and weather that lasts some days. Nobody
    can do better than to know m: of that forecast the mean squared error is (25 MW)^2, and the crps 25 MW / sqrt(pi).

    Args:
        noise_seed: another one, other weather and noise.
        **series: see `SeriesData`; `sizes` are steps.
    """

    def __init__(self, noise_seed: NonNegativeInt, **series: Any) -> None:
        super().__init__(**series)
        if any((size < 2 and size != 0) or size != int(size) for size in self.sizes):
            raise UsageError(f"data.sizes={self.sizes}: of generated data they are hours, as [26280,2184,2184]")
        self.noise_seed = noise_seed

    @property
    def source(self) -> str:
        return "load_curve"

    def read(self) -> tuple[Columns, list[RawSeries]]:
        draw = np.random.default_rng(self.noise_seed)
        count = int(sum(self.sizes))
        times = pd.date_range(_BEGIN, periods=count, freq="h").as_unit("s")
        hour, year = times.hour.to_numpy(), (times.day_of_year.to_numpy() - 1) / 365.25
        weather = _persistent(0.99, 3 * np.sqrt(1 - 0.99**2), draw.standard_normal(count))
        temperature = (
            10 - 10 * np.cos(2 * np.pi * (year - 0.04)) + 4 * np.cos(2 * np.pi * (hour - 15) / 24) + weather
        ).round(1)
        holiday = np.isin(times.month * 100 + times.day, [month * 100 + day for month, day in _HOLIDAYS])
        self._mean = _mean(times, temperature, holiday)
        load = self._mean + _NOISE * draw.standard_normal(count)
        values = np.stack([load, temperature, holiday.astype(float)], axis=1)
        columns = Columns(("load",), ("temperature", "holiday"))
        return columns, [RawSeries("", times, values, lambda row: f"load_curve, hour {row}")]

    def ideal(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        starts, _ = self.windows(split)
        mean = self._mean[starts[:, None] + self.context_length + np.arange(self.prediction_length)]
        centre, scale = self.spec.centre[0][0], self.spec.scale[0][0]
        return ((mean - centre) / scale)[..., None], np.full((*mean.shape, 1), _NOISE / scale)


def _persistent(persistence: float, size: float, news: np.ndarray) -> np.ndarray:
    """An autoregressive process of first order, from its stationary distribution on."""
    state = news[0] * size / np.sqrt(1 - persistence**2)
    states = [state]
    for new in news[1:]:
        state = persistence * state + size * new
        states.append(state)
    return np.array(states)


def _mean(times: pd.DatetimeIndex, temperature: np.ndarray, holiday: np.ndarray) -> np.ndarray:
    hour = times.hour.to_numpy()
    free = (times.day_of_week == 6) | holiday
    saturday = (times.day_of_week == 5) & ~free
    working = ~free & ~saturday
    morning, noon, evening = _bump(hour, 8, 2), _bump(hour, 13, 3), _bump(hour, 19, 2.5)
    rhythm = np.select(
        [working, saturday, free],
        [
            190 * morning + 160 * noon + 180 * evening,
            60 * morning + 130 * noon + 150 * evening,
            20 * morning + 110 * noon + 140 * evening,
        ],
    )
    winter = np.cos(2 * np.pi * (times.day_of_year.to_numpy() - 1) / 365.25)
    return (
        500
        + 0.0015 * np.arange(len(times))
        + rhythm
        + 60 * np.maximum(winter, 0) * evening
        + 7 * np.maximum(15 - temperature, 0)
        + 9 * np.maximum(temperature - 22, 0)
    )


def _bump(hour: np.ndarray, at: float, width: float) -> np.ndarray:
    away = np.minimum(np.abs(hour - at), 24 - np.abs(hour - at))
    return np.exp(-((away / width) ** 2) / 2)
