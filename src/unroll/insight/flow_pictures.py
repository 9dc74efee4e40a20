"""Pictures and tables of how far gradients reach."""

import csv
import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from unroll.errors import UserError, one_line
from unroll.insight.pictures import COLOURS, GREY, MARKERS, first_of, legend_below, new_figure, save_figure
from unroll.writing import write_csv

if TYPE_CHECKING:
    from unroll.insight.gradient_flow import Flow

_DECADES = 8  # below the largest value: what lies deeper is nothing to any of them


def draw_flow(flows: Mapping[str, "Flow"], horizon: int | None, picture: Path) -> None:
    """The gradient by lag, and beside it the growth of the Jacobian: a line a cell.

    Args:
        flows: by the names of the cells.
        horizon: how far training lets gradients go; None: all the way.
        picture: a PNG file.
    """
    figure, (left, right) = new_figure(10.5, 4.8, ncols=2)
    for index, (name, flow) in enumerate(flows.items()):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        lags = np.arange(len(flow.median))
        style = {"color": colour, "marker": marker, "markevery": max(1, len(lags) // 8), "markersize": 4, "label": name}
        left.fill_between(lags, flow.low, flow.high, color=colour, alpha=0.15, linewidth=0)
        left.plot(lags, flow.median, **style)
        right.plot(lags, flow.growth, **style)
        if flow.faded:
            left.axvline(flow.horizon, color=colour, linestyle=":", linewidth=1)
    for axes, told in ((left, "gradient  ||dL_T / ds_t||"), (right, "Jacobian  ||ds_T / ds_t||")):
        axes.set_yscale("log")
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, top / 10**_DECADES), top)
        axes.set_xlabel("lag T - t (steps back from where the loss reads)")
        axes.set_ylabel(told)
        axes.grid(alpha=0.3)
        if horizon is not None and horizon < axes.get_xlim()[1]:
            axes.axvline(horizon, color=GREY, linestyle="--", linewidth=1, label=f"cut in training: {horizon}")
    left.legend(frameon=False, fontsize=8)
    told = "; ".join(f"{name}: {flow.told()}" for name, flow in flows.items())
    caption = (
        f"Memory horizon (dotted; the gradient stays below 1 % of its largest value beyond it): {told}. "
        "Lines: medians over sequences, bands: from a tenth to nine tenths of them."
    )
    figure.supxlabel("\n".join(textwrap.wrap(caption, 130)), fontsize=8, x=0.01, ha="left")
    save_figure(figure, picture)


def draw_flow_over_training(history: Sequence[tuple[int, Mapping[str, Sequence[float]]]], picture: Path) -> None:
    """How the gradient's reach changed in training: a panel a cell, lag against step, coloured by the share of the largest.

    Args:
        history: of each measurement its step, and of each cell the median by lag.
        picture: a PNG file.
    """
    names = list(history[-1][1])
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    figure, parts = new_figure(
        1.5 + 4.5 * columns, 0.8 + 3.2 * rows, nrows=rows, ncols=columns, squeeze=False, sharex=True
    )
    steps = [step for step, _ in history]
    shown = None
    for axes, name in zip(parts.flat, names, strict=False):
        length = min(len(found[name]) for _, found in history)
        table = np.array([found[name][:length] for _, found in history]).T
        largest = table.max(axis=0, keepdims=True)
        share = np.log10(np.maximum(table / np.where(largest > 0, largest, 1), 10.0**-_DECADES))
        # Measurements lie where they were made; each is as wide as half the way to its neighbours.
        middles = [(one + two) / 2 for one, two in pairwise(steps)]
        edges = [steps[0] - (middles[0] - steps[0] if middles else 0.5), *middles]
        edges.append(steps[-1] + (steps[-1] - middles[-1] if middles else 0.5))
        shown = axes.pcolormesh(edges, np.arange(length + 1) - 0.5, share, cmap="cividis", vmin=-4, vmax=0)
        if len(steps) > 1:
            axes.contour(steps, np.arange(length), share, levels=[-2], colors="white", linewidths=1)
        there = np.flatnonzero((share > -4).any(axis=1))
        axes.set_ylim(-0.5, there[-1] + 1.5)
        axes.set_title(name, fontsize=9)
        axes.set_ylabel("lag (steps)")
        axes.set_xlabel("step of training")
    bar = figure.colorbar(shown, ax=first_of(parts, len(names)), label="gradient, share of its largest")
    bar.set_ticks([0, -1, -2, -3, -4], labels=["1", "0.1", "0.01", "0.001", "0.0001 or less"])
    figure.supxlabel(
        "White: the memory horizon, where 1 % of the largest gradient is left.", fontsize=8, x=0.01, ha="left"
    )
    save_figure(figure, picture)


def write_flow(flows: Mapping[str, "Flow"], table: Path) -> None:
    """The curves, as CSV: a row for each cell and lag."""
    rows = [
        [name, lag, *(float(f"{line[lag]:.6g}") for line in (flow.median, flow.low, flow.high, flow.growth))]
        for name, flow in flows.items()
        for lag in range(len(flow.median))
    ]
    write_csv(table, ["cell", "lag", "median", "low", "high", "growth"], rows)


def read_flow(table: Path) -> dict[str, list[float]]:
    """The medians by lag of each cell, of what `write_flow` wrote.

    Raises:
        UserError: it is not that.
    """
    found: dict[str, list[float]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["cell"], []).append(float(row["median"]))
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: cannot be read ({one_line(error)})") from None
    return found


def draw_memories(curves: Mapping[str, Mapping[str, Sequence[float]]], picture: Path) -> None:
    """How far gradients reach in several runs: a panel for each cell that all of them have, a line a run.

    Args:
        curves: by the runs' titles, what `read_flow` gives.
        picture: a PNG file.
    """
    names = [name for name in next(iter(curves.values())) if all(name in cells for cells in curves.values())]
    figure, parts = new_figure(2.5 + 4.5 * len(names), 4.4, ncols=len(names), squeeze=False, sharey=True)
    for axes, name in zip(parts.flat, names, strict=True):
        for index, (title, cells) in enumerate(curves.items()):
            median = np.array(cells[name])
            share = median / median.max()
            axes.plot(
                np.arange(len(median)),
                np.where(share >= 10.0**-_DECADES, share, np.nan),
                color=COLOURS[index % len(COLOURS)],
                linestyle="-" if index < len(COLOURS) else "--",
                marker=MARKERS[index % len(MARKERS)],
                markevery=(index * 3, max(1, len(median) // 6)),
                markersize=4,
                label=title,
            )
        axes.axhline(0.01, color=GREY, linewidth=0.8, label="1 %: the memory horizon")
        axes.set_yscale("log")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("lag T - t (steps back from where the loss reads)")
        axes.grid(alpha=0.3)
    parts.flat[0].set_ylabel("gradient  ||dL_T / ds_t||, share of its largest")
    legend_below(figure, parts.flat[0])
    save_figure(figure, picture)


def flow_table(flows: Mapping[str, "Flow"]) -> Table:
    """A line a cell, for the terminal."""
    told = (
        "horizon: the lag beyond which the gradient stays below 1 % of its largest value; a step: what it changes by; "
        "radius: the spectral radius of a step; gates, units: how many are saturated"
    )
    table = Table(box=box.SIMPLE, caption=told, caption_justify="left")
    table.add_column("cell")
    for heading in ("horizon", "a step", "radius", "gates", "units"):
        table.add_column(heading, justify="right")
    for name, flow in flows.items():
        shares = ("" if math.isnan(share) else f"{share:.1%}" for share in (flow.gates, flow.units))
        radius = "" if math.isnan(flow.radius) else f"{flow.radius:.3f}"
        table.add_row(name, flow.told(), f"x {flow.rate:.3f}", radius, *shares)
    return table
