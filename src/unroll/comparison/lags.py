"""The picture of memory tasks: how much is remembered, by how far back it lies, beside how far gradients reach."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unroll.comparison.pictures import natural
from unroll.comparison.rows import Row, rows_of
from unroll.comparison.run import Run
from unroll.insight.pictures import BLACK, ORANGE, first_of, new_figure, save_figure

LAG = "data.lag"


def draw_lags(runs: Sequence[Run], folder: Path) -> list[Path]:
    """The watched metric for each choice and lag; where it was measured, how far gradients reached before training; and how
    far training let them go.

    Args:
        runs: of one task.
        folder: for lags.png, with a row for each value of the setting that has most, and a panel for each of the next; and
            for a second picture with these two the other way round.

    Returns:
        The pictures; none where there are not several lags and several values of one or two other settings.
    """
    rows = [row for row in rows_of(runs) if row.values]
    keys = list(rows[0].settings) if rows else []
    values = {key: len({row.settings[key] for row in rows}) for key in keys}
    others = sorted((key for key in keys if key != LAG and values[key] > 1), key=lambda key: -values[key])
    if values.get(LAG, 0) < 2 or len(others) not in (1, 2):
        return []
    down, panels = [*others, ""][:2]
    pictures = [folder / "lags.png"]
    _draw(rows, down, panels, pictures[0])
    if panels:
        pictures.append(folder / f"lags_by_{panels.rpartition('.')[2]}.png")
        _draw(rows, panels, down, pictures[1])
    return pictures


def _draw(rows: Sequence[Row], down: str, panels: str, picture: Path) -> None:
    found = {
        key: sorted({row.settings.get(key, "") for row in rows}, key=natural, reverse=key == "truncation")
        for key in (LAG, down, panels)
    }
    lags = found[LAG]
    count = len(found[panels])
    across = 1 if len(lags) > 4 or count == 1 else 2
    shape = math.ceil(count / across), across
    height = 0.9 + shape[0] * (0.55 + 0.33 * len(found[down]))
    figure, parts = new_figure(8.0, height, nrows=shape[0], ncols=across, squeeze=False)
    every = [row.mean for row in rows]
    is_share = rows[0].runs[0].metric.endswith("accuracy")
    low, high = (0.0, 1.0) if is_share else (min(every), max(every))
    less = rows[0].runs[0].less_is_better
    shown: Any = None
    cuts: list[float] = []
    reached: list[float] = []
    for axes, panel in zip(parts.flat, found[panels], strict=False):
        inside = [row for row in rows if row.settings.get(panels, "") == panel]
        table = np.array([[_mean(inside, {down: one, LAG: lag}) for lag in lags] for one in found[down]])
        shown = axes.imshow(table, cmap="viridis_r" if less else "viridis", vmin=low, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(table):
            if not math.isnan(value):
                dark = (value - low) / (high - low or 1) < 0.6
                colour = "white" if dark != less else BLACK
                axes.text(j, i - 0.14, f"{value:.2f}", ha="center", va="center", fontsize=9, color=colour)
        for i, one in enumerate(found[down]):
            line = [row for row in inside if row.settings[down] == one]
            cuts.append(_horizon(line))
            reach = _reach_at_start(line)
            reached.append(reach)
            marker = ">" if reach >= float(lags[-1]) else "o"
            axes.plot(_place(lags, reach), i + 0.3, marker, color=ORANGE, markeredgecolor="white", markersize=7)
            for colour, width in (("white", 3.5), (BLACK, 1.5)):
                axes.plot([_place(lags, cuts[-1])] * 2, [i - 0.45, i + 0.45], color=colour, linewidth=width)
        axes.set_xticks(range(len(lags)), lags)
        axes.set_yticks(range(len(found[down])), found[down])
        axes.set_ylabel(down.removeprefix("model.cell."))
        axes.tick_params(length=0)
        axes.set_title(f"{panels}: {panel}" if panel else "", fontsize=10, loc="left")
    kept = first_of(parts, count)
    for axes in kept[-across:]:
        axes.set_xlabel(
            "lag (steps between what is to be remembered and the question)" if across == 1 else "lag (steps)"
        )
    figure.colorbar(shown, ax=kept, label=rows[0].runs[0].label, pad=0.01)
    caption = []
    if not all(map(math.isnan, reached)):
        caption.append(
            "Circles: how far gradients reach in the untrained network (1 % of the largest is left); arrows: further."
        )
    if not all(map(math.isnan, cuts)):
        caption.append("Bars: where training cuts gradients.")
    figure.supxlabel("\n".join(caption), fontsize=8, x=0.01, ha="left")
    save_figure(figure, picture)


def _mean(rows: Sequence[Row], wanted: dict[str, str]) -> float:
    return next(
        (row.mean for row in rows if all(row.settings.get(key) == value for key, value in wanted.items())), math.nan
    )


def _reach_at_start(rows: Sequence[Row]) -> float:
    """In steps, the furthest of their cells: a short sequence shows no more than its length. NaN: it was not measured."""
    reached = [
        cell["steps_at_start"]
        for row in rows
        for run in row.runs
        for cell in (run.summary or {}).get("memory_horizon", {}).values()
        if "steps_at_start" in cell
    ]
    return max(reached, default=math.nan)


def _horizon(rows: Sequence[Row]) -> float:
    """How many steps training lets gradients go back; NaN: all the way, or not alike in all."""
    settings = [(row.runs[0].setting("truncation.horizon"), row.runs[0].setting("truncation.length")) for row in rows]
    found = {length if horizon == "null" else horizon for horizon, length in settings}
    return float(found.pop()) if len(found) == 1 and found != {"null"} else math.nan


def _place(lags: Sequence[str], steps: float) -> float:
    """Where so many steps lie on the axis of lags, whose values stand at even distances; outside it at its edge."""
    if math.isnan(steps):
        return math.nan
    place = np.interp(math.log(max(steps, 1)), [math.log(float(lag)) for lag in lags], range(len(lags)))
    beyond = 0.42 if steps >= float(lags[-1]) else -0.42 if steps < float(lags[0]) else 0.0
    return float(place) + beyond
