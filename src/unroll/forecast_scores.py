"""How good forecasts are: errors of points, and of distributions that are given as sample paths."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from unroll.models.forecaster import Forecast

LEVELS = (0.025, *(step / 20 for step in range(1, 20)), 0.975)
"""Of the quantiles at which calibration is looked at."""
INTERVALS = {50: (0.25, 0.75), 80: (0.1, 0.9), 95: (0.025, 0.975)}
"""Central intervals, in percent, and the quantiles that they lie between."""
_WEIGHTED = tuple(step / 10 for step in range(1, 10))  # levels of the weighted quantile loss

_POINT = ("mse", "mae", "smape", "mase")
_SPREAD = ("crps", "wql", *(f"coverage_{percent}" for percent in INTERVALS))


def score_names(is_distribution: bool) -> tuple[str, ...]:
    """What `ForecastScores` has."""
    return _POINT + (_SPREAD if is_distribution else ())


def quantiles(ordered: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Quantiles of sample paths.

    Args:
        ordered: (paths, ...), sorted.
        levels: each in 0 to 1.

    Returns:
        (levels, ...). The k-th of n stands at the level k / (n + 1), which is where it lies on average (Hyndman & Fan 1996,
        type 6); between them linear.
    """
    count = len(ordered)
    place = (torch.tensor(levels, dtype=torch.float64) * (count + 1) - 1).clamp(0, count - 1)
    below = place.floor().long().clamp(max=max(count - 2, 0))
    share = (place - below).to(ordered.dtype).to(ordered.device).view(-1, *[1] * (ordered.dim() - 1))
    below = below.to(ordered.device)
    low, high = ordered[below], ordered[(below + 1).clamp(max=count - 1)]
    return low + share * (high - low)


def crps(ordered: Tensor, y: Tensor) -> Tensor:
    """Continuous ranked probability score E|X - y| - E|X - X'| / 2 (Gneiting & Raftery 2007, equation 21).

    Args:
        ordered: (paths, ...): draws of X, sorted.
        y: (...).

    Returns:
        (...). The second mean is over pairs of different draws, with which the score does not hang on their number, on
        average (Ferro 2014).
    """
    count = len(ordered)
    ranks = torch.arange(1, count + 1, dtype=ordered.dtype, device=ordered.device)
    weights = (2 * ranks - count - 1).view(-1, *[1] * y.dim())
    return (ordered - y).abs().mean(0) - (weights * ordered).sum(0) / (count * max(count - 1, 1))


def pinball(q: Tensor, y: Tensor, level: float) -> Tensor:
    """The quantile loss: what a quantile q at `level` costs when y comes."""
    return torch.maximum(level * (y - q), (level - 1) * (y - q))


class Units(NamedTuple):
    """From standardized values to the data's unit: value * scale + centre; all (batch, targets).

    Attributes:
        centre, scale: see above.
        naive_error: mean absolute error of the seasonal naive forecast on train, in the data's unit; 0: there is none.
    """

    centre: Tensor
    scale: Tensor
    naive_error: Tensor


def in_unit(values: Tensor, units: Units) -> np.ndarray:
    """Standardized values (..., batch, targets) in the data's unit."""
    centre, scale, _ = (unit.to(values.device).double() for unit in units)
    return (values.double() * scale + centre).cpu().numpy()


class ForecastScores(Metric):
    """Means over all windows, targets and steps that have a value; and for each step of the horizon.

    mse and mae: of the mean and of the median, standardized. smape: 200 |y - f| / (|y| + |f|), in percent, in the data's
    unit. mase: absolute error over that of the seasonal naive forecast on train (Hyndman & Koehler 2006). crps: standardized.
    wql: the quantile losses at 0.1, ..., 0.9, doubled, over the sum of all |y|, in the data's unit (as in DeepAR and its
    successors). coverage_50, _80, _95: the share of values inside that central interval.

    Args:
        prediction_length: steps.
        is_distribution: whether forecasts have sample paths.
        of_all: whether each process sees a part of the windows; `compute` then brings them together, and all have to call it.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor
    below: Tensor

    def __init__(self, prediction_length: int, is_distribution: bool, of_all: bool = False) -> None:
        super().__init__(sync_on_compute=of_all)
        self.is_distribution = is_distribution
        self.names = score_names(is_distribution)
        shape = len(self.names), prediction_length
        self.add_state("sums", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(shape), dist_reduce_fx="sum")
        self.add_state("below", torch.zeros(len(LEVELS)), dist_reduce_fx="sum")

    def update(self, forecast: Forecast, y: Tensor, units: Units) -> None:
        """Add some windows.

        Args:
            forecast: standardized.
            y: (prediction, batch, targets), standardized; NaN where missing.
            units: of the batch.
        """
        seen = y.isfinite()
        y = y.nan_to_num(0.0)
        mean = forecast.mean.to(y.dtype)
        ordered = None if forecast.paths is None else forecast.paths.to(y.dtype).sort(0).values
        middle = mean if ordered is None else quantiles(ordered, (0.5,))[0]
        real, said = (value * units.scale + units.centre for value in (y, middle))
        error = (real - said).abs()
        scaled = units.naive_error > 0
        scores = [
            (y - mean) ** 2,
            (y - middle).abs(),
            200 * error / (real.abs() + said.abs()).clamp(min=torch.finfo(y.dtype).tiny),
            error / torch.where(scaled, units.naive_error, 1.0),
        ]
        weights = [seen, seen, seen, seen & scaled]
        if ordered is not None:
            at = dict(zip(LEVELS, quantiles(ordered, LEVELS), strict=True))
            losses = torch.stack([pinball(at[level], y, level) for level in _WEIGHTED])
            scores += [crps(ordered, y), 2 * units.scale * losses.mean(0)]
            weights += [seen, seen]
            for low, high in INTERVALS.values():
                scores.append(((y >= at[low]) & (y <= at[high])).to(y.dtype))
                weights.append(seen)
            self.below += torch.stack([((y <= at[level]) & seen).sum() for level in LEVELS]).to(self.below.dtype)
        for index, (name, score, weight) in enumerate(zip(self.names, scores, weights, strict=True)):
            over = weight * real.abs() if name == "wql" else weight
            self.sums[index] += (score * weight).sum((1, 2)).to(self.sums.dtype)
            self.counts[index] += over.sum((1, 2)).to(self.counts.dtype)

    def compute(self) -> dict[str, float]:
        self._total = self.sums.clone(), self.counts.clone(), self.below.clone()
        values = self.sums.sum(1) / self.counts.sum(1)
        return dict(zip(self.names, values.tolist(), strict=True))

    def by_step(self) -> dict[str, list[float]]:
        """Each score for each step of the horizon, after `compute`."""
        sums, counts, _ = self._total
        return dict(zip(self.names, (sums / counts).tolist(), strict=True))

    def calibration(self) -> list[float]:
        """For each of `LEVELS`, the share of values at or below that quantile, after `compute`."""
        _, counts, below = self._total
        return (below / counts[self.names.index("crps")].sum()).tolist()
