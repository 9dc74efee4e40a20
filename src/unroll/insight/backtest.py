"""Forecasts of a split as they would have been made at the time, one origin after the other."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unroll.data.series import SeriesData
from unroll.forecast_scores import in_unit
from unroll.insight.forecasts import TABLE_LEVELS, Fan, draw_fans
from unroll.state import State
from unroll.writing import write_csv

if TYPE_CHECKING:
    from unroll.tasks.forecasting import Forecasting

_AT_ONCE = 64  # windows
_FANS = 6  # forecasts that are drawn
_ROWS = 200_000  # of the table, at most, where no stride is asked for


def write_backtest(
    task: "Forecasting", data: SeriesData, splits: str, stride: int | None, table: Path, picture: Path
) -> tuple[list[str], list[list[object]]]:
    """Forecasts from origins that lie apart: as a table, and a few of them drawn.

    Args:
        task: forecasts.
        data: has the splits.
        splits: one, or several joined by +.
        stride: steps between two origins; None: as many as a forecast has, or more where the table would be too long.
        table: a CSV file; a row for each target and time.
        picture: a PNG file.

    Returns:
        Header and rows of the table, of those that are drawn.
    """
    spec = task.spec
    loader = data.eval_dataloader(splits)
    steps, context = spec.prediction_length, spec.context_length
    names = spec.columns.targets
    chosen = [0]
    for row in range(1, len(loader.starts)):
        apart = int(loader.starts[row] - loader.starts[chosen[-1]])
        if apart >= (stride or steps) or loader.series[row] != loader.series[chosen[-1]]:
            chosen.append(row)
    if stride is None:
        at_most = max(1, _ROWS // (steps * len(names)))
        chosen = chosen[:: -(-len(chosen) // at_most)]
    drawn = {chosen[index] for index in np.linspace(0, len(chosen) - 1, min(_FANS, len(chosen))).astype(int)}
    several = len(spec.names) > 1
    header = [*(["series"] if several else []), "origin", "time", "target", "value", "mean"]
    header += [str(level) for level in TABLE_LEVELS] if task.scores.is_distribution else []
    rows: list[list[object]] = []
    shown: list[list[object]] = []
    fans: list[Fan] = []
    state: State | None = None
    for begin in range(0, len(chosen), _AT_ONCE):
        some = np.array(chosen[begin : begin + _AT_ONCE])
        batch = loader.windows(some, chosen[begin - 1] if begin else None)
        mean, spread, state = task.forecast(batch, state)
        truth = in_unit(batch.targets, task.units(batch))
        for index, row in enumerate(some.tolist()):
            times = data.times(int(loader.starts[row]), context + steps)
            series = spec.names[int(batch.series[index])]
            for target, name in enumerate(names):
                bands = None if spread is None else spread[:, :, index, target]
                told: list[list[object]] = [
                    [
                        *([series] if several else []),
                        str(times[context - 1]),
                        str(times[context + t]),
                        name,
                        _rounded(truth[context + t, index, target]),
                        _rounded(mean[t, index, target]),
                        *([] if bands is None else map(_rounded, bands[:, t])),
                    ]
                    for t in range(steps)
                ]
                rows += told
                if row in drawn:
                    shown += told
            if row in drawn:
                column = len(fans) % len(names)  # another target in each
                title = " ".join(part for part in (series, names[column]) if part)
                bands = None if spread is None else spread[:, :, index, column]
                fans.append(Fan(title, times, truth[:, index, column], mean[:, index, column], bands))
    write_csv(table, header, rows)
    draw_fans(fans, picture)
    return header, shown


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.6g}")
