"""The pictures of runs side by side."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unroll.comparison.rows import Row, rows_of
from unroll.comparison.run import Run
from unroll.insight.pictures import COLOURS, GREY, MARKERS, new_figure, save_figure

_LETTERS = 56  # of a line's name
_LINES = 12  # in one picture, at most; the best


def draw_heat_map(runs: Sequence[Run], picture: Path) -> bool:
    """The watched metric for each pair of two choices: the two with most values. False where there are not two."""
    from matplotlib.patches import Rectangle

    rows = [row for row in rows_of(runs) if row.values]
    if not rows:
        return False
    keys = list(rows[0].settings)
    values = {key: list(dict.fromkeys(row.settings[key] for row in rows)) for key in keys}
    keys = sorted((key for key in keys if len(values[key]) > 1), key=lambda key: -len(values[key]))[:2]
    if len(keys) < 2:
        return False
    down, across = keys
    ordered = {key: sorted(values[key], key=natural) for key in keys}
    table = np.full((len(ordered[down]), len(ordered[across])), np.nan)
    for i, one in enumerate(ordered[down]):
        for j, two in enumerate(ordered[across]):
            cell = [row.mean for row in rows if (row.settings[down], row.settings[across]) == (one, two)]
            if cell:  # of further choices, the mean over them
                table[i, j] = np.mean(cell)
    if np.isfinite(table).mean() <= 0.5:  # a search does not try every pair
        return False
    figure, axes = new_figure(2.5 + 0.9 * table.shape[1], 1.6 + 0.45 * table.shape[0])
    less = runs[0].less_is_better
    shown = axes.imshow(table, cmap="viridis_r" if less else "viridis", aspect="auto")
    axes.set_xticks(range(table.shape[1]), ordered[across])
    axes.set_yticks(range(table.shape[0]), ordered[down])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    low, high = np.nanmin(table), np.nanmax(table)
    for (i, j), value in np.ndenumerate(table):
        if not math.isnan(value):
            dark = (value - low) / (high - low or 1) < 0.5
            colour = "white" if dark != less else "black"
            axes.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=9, color=colour)
    best = np.unravel_index(np.nanargmin(table) if less else np.nanargmax(table), table.shape)
    frame = Rectangle(
        (float(best[1]) - 0.5, float(best[0]) - 0.5), 1, 1, fill=False, edgecolor=COLOURS[1], linewidth=2.5
    )
    averaged = [key for key in rows[0].settings if key not in keys and len({row.settings[key] for row in rows}) > 1]
    if averaged:
        axes.set_title(f"mean over {', '.join(averaged)}", fontsize=9, loc="left")
    else:
        axes.add_patch(frame)
    figure.colorbar(shown, ax=axes, label=runs[0].label)
    save_figure(figure, picture)
    return True


def draw_curves(runs: Sequence[Run], picture: Path) -> bool:
    """The watched metric against updates and against seconds of training; of each choice its mean over seeds."""
    rows = [row for row in rows_of(runs) if any(run.curve("step") for run in row.runs)][:_LINES]
    if not rows:
        return False
    figure, parts = new_figure(12, 4.8, ncols=2, sharey=True)
    for axes, against, told in (
        (parts[0], "step", "step (updates of the weights)"),
        (parts[1], "seconds", "seconds of training"),
    ):
        ends = []
        for index, row in enumerate(rows):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            curves = [curve for run in row.runs if (curve := run.curve(against))]
            for curve in curves:
                axes.plot(*zip(*curve, strict=True), color=colour, alpha=0.25 if len(curves) > 1 else 1, linewidth=1)
            x, y = _mean(curves)
            style = "-" if index < len(COLOURS) else "--"
            label = _label(row)
            axes.plot(x, y, style, color=colour, marker=marker, markersize=4, label=label)
            ends.append(y)
        axes.set_xlabel(told)
        axes.grid(alpha=0.3)
        low, high = _sensible(ends, runs[0].less_is_better)
        axes.set_ylim(low, high)
    parts[0].set_ylabel(runs[0].label)
    parts[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(figure, picture)
    return True


def draw_frontier(runs: Sequence[Run], picture: Path) -> bool:
    """The watched metric against parameters and against seconds; a line joins those that nothing beats in both."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator

    rows = [row for row in rows_of(runs) if row.values]
    if len(rows) < 2:
        return False
    figure, parts = new_figure(12, 4.8, ncols=2, sharey=True)
    less = runs[0].less_is_better
    for axes, path, told in (
        (parts[0], ("parameters",), "parameters"),
        (parts[1], ("train_seconds",), "seconds of training"),
    ):
        written = (
            EngFormatter() if path == ("parameters",) else FuncFormatter(lambda x, _: f"{x:g}")
        )  # 0.7 is not 700 m
        points = [(max(row.average(*path), 1e-3), row.mean) for row in rows]
        for index, (row, (x, y)) in enumerate(zip(rows, points, strict=True)):
            spread = None if math.isnan(row.spread) else row.spread
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            axes.errorbar(x, y, yerr=spread, color=colour, marker=marker, linestyle="", label=_label(row))
        front = frontier(points, less)
        axes.plot(*zip(*front, strict=True), color=GREY, linewidth=1, zorder=0)
        axes.set_xscale("log")
        if max(x for x, _ in points) < 20 * min(x for x, _ in points):
            axes.xaxis.set_minor_formatter(written)
            axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 3.0, 5.0)))
        axes.xaxis.set_major_formatter(written)
        axes.tick_params(axis="x", which="minor", labelsize=8)
        axes.set_xlabel(told)
        axes.grid(alpha=0.3, which="both")
    parts[0].set_ylabel(runs[0].label)
    if len(rows) <= _LINES:
        parts[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(figure, picture)
    return True


def _label(row: Row) -> str:
    """Its settings, or where they are too many for a legend, the runs' names."""
    if row.title and len(row.title) <= _LETTERS:
        return row.title
    names = ", ".join(run.name for run in row.runs)
    return names if len(names) <= _LETTERS else f"{names[: _LETTERS - 1]}…"


def frontier(points: Sequence[tuple[float, float]], less_is_better: bool) -> list[tuple[float, float]]:
    """Of points (cost, score) those that no other beats in both, by rising cost."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], point[1] if less_is_better else -point[1])):
        if not front or (y < front[-1][1] if less_is_better else y > front[-1][1]):
            front.append((x, y))
    return front


def _mean(curves: Sequence[Sequence[tuple[float, float]]]) -> tuple[list[float], list[float]]:
    """Over runs whose points belong together one by one, as far as the shortest goes."""
    length = min(map(len, curves))
    table = np.array([curve[:length] for curve in curves])
    return table[..., 0].mean(0).tolist(), table[..., 1].mean(0).tolist()


def _sensible(ends: Sequence[Sequence[float]], less_is_better: bool) -> tuple[float | None, float | None]:
    """Limits that do not let one run that went astray flatten all others. What is better than all others is kept."""
    values = np.array([value for curve in ends for value in curve])
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    low, high = np.quantile(values, [0.0, 1.0])
    if less_is_better:
        near = np.quantile(values, 0.9)
        high = min(high, near + 2 * (near - low)) if near > low else high
    else:
        near = np.quantile(values, 0.1)
        low = max(low, near - 2 * (high - near)) if near < high else low
    margin = 0.05 * ((high - low) or abs(high) or 1)
    return float(low - margin), float(high + margin)


def natural(text: str) -> tuple[int, float, str]:
    """k8 before k16, and 0.5 before 1e3."""
    for candidate in (text, text.lstrip("k")):
        try:
            return 0, float(candidate), text
        except ValueError:
            continue
    return 1, 0.0, text
