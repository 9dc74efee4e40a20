"""Scores of forecasts against closed forms, and forecasts that need no training against worked examples."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from unroll.forecast_scores import INTERVALS, LEVELS, ForecastScores, Units, crps, pinball, quantiles
from unroll.insight.simple_forecasts import Drift, LastValue, Linear, SeasonalNaive, filled
from unroll.models.forecaster import Forecast


def ones(batch, targets):
    return Units(torch.zeros(batch, targets), torch.ones(batch, targets), torch.full((batch, targets), 0.5))


def test_crps_of_a_normal_distribution_has_its_closed_form():
    generator = torch.Generator().manual_seed(1)
    paths = torch.randn(400_000, 5, generator=generator, dtype=torch.float64) * 2 + 1
    y = torch.tensor([-3.0, 0.0, 1.0, 2.5, 7.0], dtype=torch.float64)
    z = ((y - 1) / 2).numpy()
    # Gneiting & Raftery 2007, page 367.
    expected = 2 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi))
    np.testing.assert_allclose(crps(paths.sort(0).values, y).numpy(), expected, rtol=0.01)


def test_crps_is_its_definition_and_does_not_hang_on_the_number_of_paths():
    paths, y = torch.randn(9, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    pairs = (paths[:, None] - paths[None]).abs().sum((0, 1)) / (9 * 8)
    torch.testing.assert_close(crps(paths.sort(0).values, y), (paths - y).abs().mean(0) - pairs / 2)
    many = torch.randn(5, 200_000, dtype=torch.float64)
    y = torch.randn(200_000, dtype=torch.float64)
    assert crps(many.sort(0).values, y).mean().item() == pytest.approx(1 / math.sqrt(math.pi), rel=0.01)


def test_quantiles_of_few_paths_hold_what_they_say():
    generator = torch.Generator().manual_seed(2)
    ordered = torch.rand(99, 50_000, generator=generator).sort(0).values
    for level, value in zip(LEVELS, quantiles(ordered, LEVELS), strict=True):
        assert value.mean().item() == pytest.approx(level, abs=0.001)
    expected = np.quantile(ordered[:, :50].numpy(), LEVELS, axis=0, method="weibull")
    np.testing.assert_allclose(quantiles(ordered[:, :50], LEVELS).numpy(), expected, rtol=1e-5)


def test_the_quantile_loss_is_least_at_the_quantile():
    y = torch.from_numpy(stats.norm.rvs(size=20_000, random_state=0))
    for level in (0.1, 0.5, 0.9):
        costs = {q: pinball(torch.tensor(q), y, level).mean().item() for q in np.linspace(-2, 2, 81)}
        assert min(costs, key=costs.get) == pytest.approx(stats.norm.ppf(level), abs=0.06)


def test_scores_are_their_definitions():
    paths = torch.randn(19, 3, 4, 2, dtype=torch.float64)
    y = torch.randn(3, 4, 2, dtype=torch.float64)
    units = Units(*(torch.rand(4, 2, dtype=torch.float64) + 0.5 for _ in range(3)))
    scores = ForecastScores(3, True)
    scores.set_dtype(torch.float64)
    for some in (slice(0, 1), slice(1, 4)):  # in two batches
        part = Units(*(unit[some] for unit in units))
        scores.update(Forecast(paths[:, :, some].mean(0), paths[:, :, some]), y[:, some], part)
    found = scores.compute()
    mean, median = paths.mean(0), paths.median(0).values
    real, said = y * units.scale + units.centre, median * units.scale + units.centre
    error = (real - said).abs()
    assert found["mse"] == pytest.approx(((y - mean) ** 2).mean().item())
    assert found["mae"] == pytest.approx((y - median).abs().mean().item())
    assert found["smape"] == pytest.approx((200 * error / (real.abs() + said.abs())).mean().item())
    assert found["mase"] == pytest.approx((error / units.naive_error).mean().item())
    ordered = paths.sort(0).values
    losses = 0.0
    for level in np.arange(1, 10) / 10:
        q = torch.from_numpy(np.quantile(ordered.numpy(), level, axis=0, method="weibull"))
        losses += 2 * (pinball(q, y, level) * units.scale).sum().item() / 9
    assert found["wql"] == pytest.approx(losses / real.abs().sum().item())
    for percent, (low, high) in INTERVALS.items():
        low, high = np.quantile(ordered.numpy(), (low, high), axis=0, method="weibull")
        inside = (y.numpy() >= low) & (y.numpy() <= high)
        assert found[f"coverage_{percent}"] == pytest.approx(inside.mean())
        for step in range(3):
            assert scores.by_step()[f"coverage_{percent}"][step] == pytest.approx(inside[step].mean())


def test_a_missing_value_is_as_one_that_is_not_there():
    paths, y = torch.randn(9, 3, 4, 1), torch.randn(3, 4, 1)
    y[:, 2] = float("nan")
    whole, without = ForecastScores(3, True), ForecastScores(3, True)
    whole.update(Forecast(paths.mean(0), paths), y, ones(4, 1))
    kept = [0, 1, 3]
    without.update(Forecast(paths.mean(0)[:, kept], paths[:, :, kept]), y[:, kept], ones(3, 1))
    assert whole.compute() == pytest.approx(without.compute())
    assert whole.calibration() == pytest.approx(without.calibration())


def test_forecasts_that_need_no_training():
    context = torch.tensor([3.0, 1, 2, 5, 3, 4]).view(-1, 1, 1)
    assert LastValue(4).point(context).flatten().tolist() == [4, 4, 4, 4]
    assert SeasonalNaive(5, 3).point(context).flatten().tolist() == [5, 3, 4, 5, 3]
    assert SeasonalNaive(3, 7).point(context).flatten().tolist() == [4, 4, 4]
    torch.testing.assert_close(Drift(2).point(context).flatten(), torch.tensor([4.2, 4.4]))
    holes = context.clone()
    holes[[0, 3, 4]] = float("nan")
    assert filled(holes).flatten().tolist() == [0, 1, 2, 2, 2, 4]


def test_the_linear_forecast_is_least_squares():
    generator = torch.Generator().manual_seed(3)
    context, weights = torch.randn(6, 500, 2, generator=generator), torch.randn(3, 6, generator=generator)
    last = context[-1]
    future = torch.einsum("hl,lbc->hbc", weights, context - last) + last + 0.7
    linear = Linear(context, future)
    torch.testing.assert_close(linear.point(context), future, rtol=0, atol=1e-3)
    future += torch.randn(future.shape, generator=generator)
    future[1, :50] = float("nan")
    linear = Linear(context, future)
    x = np.concatenate([(context - last)[:, 50:].reshape(6, -1).numpy(), np.ones((1, 900))])
    expected = np.linalg.lstsq(x.T, (future - last)[:, 50:].reshape(3, -1).numpy().T, rcond=None)[0].T
    np.testing.assert_allclose(linear.weights.numpy(), expected, atol=1e-3)
