"""What a model needs to beat: forecasts that need no training, and a linear one."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from unroll.data.base import SPLITS
from unroll.data.series import SeriesData
from unroll.data.windows import WindowBatches
from unroll.distributions import Draws, Gaussian
from unroll.forecast_scores import ForecastScores, Units
from unroll.models.forecaster import Forecast

_FITTED = 20_000  # training windows that the linear forecast is fitted on, at most, spread evenly
_SPREAD = 2_000  # training windows that the errors are taken from
_LEVELS = 50  # sizes of error, from none to the greatest but for a hundredth, each up and down


class SimpleForecast(ABC):
    """The future of a context. Its intervals are what it was wrong by on train, at each step, up as often as down."""

    name: str

    @abstractmethod
    def point(self, context: Tensor) -> Tensor:
        """(steps, batch, targets) -> (prediction, batch, targets)."""


class LastValue(SimpleForecast):
    """All that comes is as the last value."""

    name = "last value"

    def __init__(self, prediction_length: int) -> None:
        self.prediction_length = prediction_length

    def point(self, context: Tensor) -> Tensor:
        return context[-1:].expand(self.prediction_length, -1, -1)


class SeasonalNaive(SimpleForecast):
    """The last season again and again; of a context that is shorter than one, the last value."""

    name = "seasonal naive"

    def __init__(self, prediction_length: int, season_length: int) -> None:
        self.prediction_length = prediction_length
        self.season_length = season_length

    def point(self, context: Tensor) -> Tensor:
        season = self.season_length if len(context) >= self.season_length else 1
        steps = torch.arange(self.prediction_length, device=context.device)
        return context[len(context) - season + steps % season]


class Drift(SimpleForecast):
    """The straight line through the first and the last value of the context."""

    name = "drift"

    def __init__(self, prediction_length: int) -> None:
        self.prediction_length = prediction_length

    def point(self, context: Tensor) -> Tensor:
        steps = torch.arange(1, self.prediction_length + 1, device=context.device)[:, None, None]
        return context[-1] + steps * (context[-1] - context[0]) / max(1, len(context) - 1)


class Linear(SimpleForecast):
    """Each step of the future is a weighted sum of the context, relative to its last value; least squares on train, the same
    weights for all targets. DLinear (Zeng et al. 2023) is such a map too, found by gradient descent."""

    name = "linear"

    def __init__(self, context: Tensor, future: Tensor) -> None:
        """context: (steps, windows, targets) with no gaps; future: (prediction, windows, targets), NaN where missing."""
        whole = future.isfinite().all(0)  # windows and targets without a gap
        last = context[-1]
        x = (context - last)[:, whole].double()
        y = (future - last)[:, whole].double()
        x = torch.cat([x, torch.ones_like(x[:1])])
        gram = x @ x.T
        gram += 1e-6 * gram.diagonal().mean().clamp(min=1e-6) * torch.eye(len(gram), device=x.device)
        self.weights = torch.linalg.solve(gram, x @ y.T).T.float()  # (prediction, context + 1)

    def point(self, context: Tensor) -> Tensor:
        last = context[-1]
        x = context - last
        x = torch.cat([x, torch.ones_like(x[:1])])
        return torch.einsum("hl,lbc->hbc", self.weights.to(x), x) + last


def simple_forecasts(
    data: SeriesData, splits: list[str], units: Units, is_distribution: bool
) -> dict[str, dict[str, ForecastScores]]:
    """Score them on the very windows of splits: name -> split -> scores.

    Args:
        data: its train is what they are fitted on.
        splits: to be scored.
        units: of each series, (series, targets).
        is_distribution: whether they are to be given intervals, too.
    """
    spec = data.spec
    train = data.eval_dataloader("train")
    context, future = _spread_out(train, spec.context_length, _FITTED)
    methods: list[SimpleForecast] = [
        LastValue(spec.prediction_length),
        SeasonalNaive(spec.prediction_length, spec.season_length),
        Drift(spec.prediction_length),
        Linear(context, future),
    ]
    every = max(1, context.shape[1] // _SPREAD)
    context, future = context[:, ::every], future[:, ::every]
    sizes = {}
    for method in methods:
        error = (method.point(context) - future).abs()
        levels = torch.linspace(0, 0.99, _LEVELS)
        # A step at a time: torch sorts no more than 16 million numbers at once.
        sizes[method.name] = torch.stack([torch.nanquantile(step, levels, dim=0) for step in error], dim=1)
    found: dict[str, dict[str, ForecastScores]] = {method.name: {} for method in methods}
    for split in splits:
        loader = data.eval_dataloader(split)
        for method in methods:
            scores = ForecastScores(spec.prediction_length, is_distribution)
            scores.set_dtype(torch.float64)
            for batch in loader:
                past, y = batch.targets[: spec.context_length], batch.future(spec.prediction_length)
                point = method.point(filled(past))
                size = sizes[method.name][:, :, None].nan_to_num(0.0)
                paths = torch.cat([point - size, point + size[1:]]) if is_distribution else None
                scores.update(Forecast(point, paths), y, Units(*(unit[batch.series] for unit in units)))
            found[method.name][split] = scores
    return found


def best_possible(
    data: SeriesData, splits: str, units: Units, samples: int, seed: int, is_distribution: bool
) -> ForecastScores | None:
    """Where the data is generated: what a forecast would score that knows all there is to know. None elsewhere.

    Args:
        data: see `SeriesData.ideal`.
        splits: one, or several joined by +.
        units: of each series, (series, targets).
        samples: paths, drawn from what is known.
        seed: of the paths.
        is_distribution: whether it is to have paths.
    """
    ideals = [data.ideal(split) for split in sorted(data.named_splits(splits), key=SPLITS.index)]
    if any(ideal is None for ideal in ideals):
        return None
    mean, std = (
        torch.from_numpy(np.concatenate([part[index] for part in ideals if part is not None])) for index in (0, 1)
    )
    scores = ForecastScores(data.spec.prediction_length, is_distribution)
    scores.set_dtype(torch.float64)
    paths = torch.arange(samples)[:, None, None]
    for batch in data.eval_dataloader(splits):
        mu, sigma = (part[batch.rows].transpose(0, 1).float() for part in (mean, std))
        targets = torch.arange(mu.shape[-1])
        drawn = [
            Gaussian().draw((mu[t], sigma[t]), Draws(seed, paths, batch.rows[None, :, None], t, targets))
            for t in range(len(mu))
        ]
        forecast = Forecast(mu, torch.stack(drawn, dim=1) if is_distribution else None)
        scores.update(forecast, batch.future(len(mu)), Units(*(table[batch.series] for table in units)))
    return scores


def filled(context: Tensor) -> Tensor:
    """(steps, batch, targets) with each missing value as the one before it; as 0, the mean, where there is none."""
    seen = context.isfinite()
    steps = torch.arange(len(context), device=context.device)[:, None, None]
    last = torch.where(seen, steps, -1).cummax(0).values
    return torch.where(last >= 0, context.nan_to_num(0.0).gather(0, last.clamp(min=0)), 0.0)


def _spread_out(loader: WindowBatches, context_length: int, most: int) -> tuple[Tensor, Tensor]:
    count = len(loader.starts)
    rows = np.arange(0, count, -(-count // most))
    targets = loader.windows(rows).targets
    return filled(targets[:context_length]), targets[context_length:]
