"""Pictures and tables of forecasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unroll.forecast_scores import INTERVALS, LEVELS, ForecastScores
from unroll.insight.pictures import BLACK, BLUE, COLOURS, GREY, MARKERS, first_of, new_figure, save_figure
from unroll.writing import write_csv

TABLE_LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Of the quantiles that stand in tables and bound the bands of a fan."""
_SHOWN_BEFORE = 3  # of the context, as many prediction lengths are shown


@dataclass(frozen=True)
class Fan:
    """A forecast of one target of one window, in the data's unit.

    Attributes:
        title: which.
        times: (context + prediction,).
        truth: (context + prediction,); NaN where missing or not yet known.
        mean: (prediction,).
        quantiles: (levels, prediction) at `TABLE_LEVELS`; None of a model that gives points only.
    """

    title: str
    times: pd.DatetimeIndex
    truth: np.ndarray
    mean: np.ndarray
    quantiles: np.ndarray | None


def draw_fans(fans: Sequence[Fan], picture: Path) -> None:
    """A panel for each."""
    columns = 1 if len(fans) == 1 else 2
    rows = -(-len(fans) // columns)
    figure, parts = new_figure(5.5 * columns + 1, 2.7 * rows + 0.6, nrows=rows, ncols=columns, squeeze=False)
    for axes, fan in zip(parts.flat, fans, strict=False):
        _draw_fan(axes, fan)
    first_of(parts, len(fans))
    handles, labels = parts.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=len(labels))
    save_figure(figure, picture)


def _draw_fan(axes: Any, fan: Fan) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    steps = len(fan.mean)
    shown = slice(max(0, len(fan.times) - (_SHOWN_BEFORE + 1) * steps), None)
    future = fan.times[-steps:]
    axes.plot(fan.times[shown], fan.truth[shown], color=BLACK, linewidth=1, label="truth")
    if fan.quantiles is not None:
        for percent, shade in zip(sorted(INTERVALS, reverse=True), (0.15, 0.3, 0.5), strict=True):
            low, high = (TABLE_LEVELS.index(level) for level in INTERVALS[percent])
            axes.fill_between(
                future,
                fan.quantiles[low],
                fan.quantiles[high],
                color=BLUE,
                alpha=shade,
                linewidth=0,
                label=f"{percent} %",
            )
    axes.plot(future, fan.mean, color=BLUE, linewidth=1.5, label="mean of the forecast")
    axes.axvline(fan.times[-steps - 1], color=GREY, linewidth=0.8)
    axes.set_title(fan.title, fontsize=9, parse_math=False)
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    # Not the end's month and year below all ticks: the first ones may be of another.
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlabel(f"from {fan.times[shown][0]:%Y-%m-%d %H:%M}".removesuffix(" 00:00"), fontsize=8, loc="left")
    axes.grid(alpha=0.3)


def draw_horizon(scores: dict[str, ForecastScores], name: str, label: str, picture: Path) -> None:
    """A score against the step of the forecast, a line for each method."""
    figure, axes = new_figure(7.5, 4.2)
    for number, (method, found) in enumerate(scores.items()):
        values = found.by_step()[name]
        axes.plot(
            range(1, len(values) + 1),
            values,
            color=COLOURS[number % len(COLOURS)],
            linewidth=2.5 if number == 0 else 1.2,
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            markevery=max(1, len(values) // 12),
            label=method,
        )
    axes.set_xlabel("step of the forecast")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, picture)


def draw_calibration(scores: ForecastScores, picture: Path) -> None:
    """How often values lie below a quantile, against how often they should; on the diagonal intervals are what they say."""
    figure, axes = new_figure(5, 4.6)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="calibrated")
    axes.plot(LEVELS, scores.calibration(), color=BLUE, marker="o", markersize=4, label="this model")
    axes.set_xlabel("level of the quantile")
    axes.set_ylabel("share of values below it")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper left")
    save_figure(figure, picture)


def write_horizon(scores: dict[str, ForecastScores], path: Path) -> None:
    """Each score of each method for each step, as CSV."""
    rows = []
    for method, found in scores.items():
        by_step = found.by_step()
        rows += [
            [method, step + 1, *(f"{values[step]:.6g}" for values in by_step.values())]
            for step in range(found.sums.shape[1])
        ]
    write_csv(path, ["method", "step", *next(iter(scores.values())).names], rows)
