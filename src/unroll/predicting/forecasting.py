"""A file of series in, their future out."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from unroll.arguments import seed, up_to
from unroll.data.grid_series import RawSeries, check_order, fill_grid, told
from unroll.data.series_files import read_series
from unroll.data.series_spec import SeriesSpec
from unroll.data.time_grid import later
from unroll.data.windows import Windows
from unroll.errors import UsageError, UserError, did_you_mean
from unroll.forecast_scores import Units, in_unit
from unroll.insight.forecasts import TABLE_LEVELS, Fan, draw_fans
from unroll.predicting.streaming import check_output
from unroll.writing import write_csv

if TYPE_CHECKING:
    from unroll.tasks.forecasting import Forecasting

_AT_ONCE = 256  # series that are forecast together
_DRAWN = 6


def add_forecasting_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a task that forecasts."""
    parser.add_argument(
        "--input",
        type=Path,
        help="the series up to now: .csv, .tsv, .jsonl or .parquet with the columns that the run was trained on; where it "
        "has covariates known in advance, rows for the future too, with the target left empty",
    )
    parser.add_argument(
        "--output", type=Path, help="CSV to write, with a picture .png beside it (default: to the screen)"
    )
    parser.add_argument("--time", metavar="COLUMN", help="column of the times (default: as in training)")
    parser.add_argument("--series", metavar="COLUMN", help="column of the series' names (default: as in training)")
    parser.add_argument("--encoding", default="utf-8", help="of the input file (default: utf-8)")
    parser.add_argument("--decimal-comma", action="store_true", help="numbers are written as 1,5")
    parser.add_argument("--samples", type=up_to(100_000), metavar="N", help="sample paths (default: the run's)")
    parser.add_argument("--seed", type=seed, help="of the sample paths")


def forecast_file(task: "Forecasting", options: argparse.Namespace) -> None:
    """predict.py for a task that forecasts: what follows the last value of each series of a file.

    Raises:
        UserError: something is wrong with the input, or with the output's name.
    """
    if options.input is None:
        raise UsageError("which series? give --input FILE.csv, with the columns that the run was trained on")
    if options.output is not None:
        check_output(options.output, options.input)
        if options.output.suffix != ".csv":
            raise UsageError(f"--output {options.output}: a .csv is written")
    if options.samples is not None:
        task.samples = max(2, options.samples)
    if options.seed is not None:
        task.noise_seed = options.seed
    began = time.perf_counter()
    table, fans = forecasts_of(
        task, options.input, options.time, options.series, options.encoding, options.decimal_comma
    )
    _write(table, options.output)
    written = ""
    if options.output is not None:
        picture = options.output.with_suffix(".png")
        draw_fans(fans, picture)
        written = f" -> {options.output}, {picture}"
    steps, column = task.spec.prediction_length, options.series or task.spec.series
    count = f"{table[column].nunique():,} series, " if column else ""
    moments = table[task.spec.time]
    print(
        f"{count}{steps} steps from {moments.iloc[0]} to {moments.iloc[steps - 1]}, in "
        f"{time.perf_counter() - began:.1f} s{written}",
        file=sys.stderr,
    )


def forecasts_of(
    task: "Forecasting",
    path: Path,
    time: str | None,
    series: str | None,
    encoding: str,
    decimal_comma: bool,
) -> tuple[pd.DataFrame, list[Fan]]:
    """What follows the last value of each series of a file.

    Args:
        task: trained.
        path, encoding, decimal_comma: see `SeriesFiles`.
        time, series: the columns; None: as in training.

    Returns:
        A row for each series, target and step: the series' name where there are several, the time, the target, the mean,
        and the quantiles at `TABLE_LEVELS` where the model gives a distribution; and pictures of the first of them.

    Raises:
        UserError: something is wrong with the file.
    """
    spec = task.spec
    column = series or spec.series
    raw = read_series(path, spec.columns, time or spec.time, column, encoding, decimal_comma, "--", spec.day_first)
    found, new = [], []
    for one in raw:
        times, window, history = _context(one, spec, told(str(path), one.name))
        if one.name not in spec.names:
            new.append(one.name)
            spec = spec.with_series(one.name, history)
        found.append((spec.names.index(one.name), times, window))
    if new:
        near = did_you_mean(new[0], [name for name in task.spec.names if name]).partition("Valid:")[0].rstrip()
        print(
            f"note: {path}: {len(new):,} of {len(raw):,} series are none of training's and standardized by their own values; "
            f"the first: {new[0]}" + (f"; {near}" if near else ""),
            file=sys.stderr,
        )
    header = [*([column] if column else []), spec.time, "target", "mean"]
    header += [str(level) for level in TABLE_LEVELS] if task.model.output.is_distribution else []
    rows: list[list[object]] = []
    fans: list[Fan] = []
    for start in range(0, len(found), _AT_ONCE):
        chunk = found[start : start + _AT_ONCE]
        windows = _windows(chunk, spec)
        units = _units(windows, spec)
        mean, spread, _ = task.forecast(windows, units=units)
        truth = in_unit(windows.targets, units)
        for index, (number, times, _) in enumerate(chunk):
            for target, name in enumerate(spec.columns.targets):
                bands = None if spread is None else spread[:, :, index, target]
                rows += [
                    [
                        *([spec.names[number]] if column else []),
                        _clock(times[t - spec.prediction_length], raw[start + index]),
                        name,
                        mean[t, index, target],
                        *([] if bands is None else bands[:, t]),
                    ]
                    for t in range(spec.prediction_length)
                ]
                if len(fans) < _DRAWN:
                    title = " ".join(part for part in (spec.names[number], name) if part)
                    shown = slice(-spec.context_length - spec.prediction_length, None)  # of a stream there is more
                    fans.append(Fan(title, times[shown], truth[shown, index, target], mean[:, index, target], bands))
    return pd.DataFrame(rows, columns=header), fans


def _clock(moment: pd.Timestamp, series: RawSeries) -> pd.Timestamp:
    """As the clock of the file shows it."""
    return moment if series.zone is None else moment.tz_localize("UTC").tz_convert(series.zone)


def _write(table: pd.DataFrame, path: Path | None) -> None:
    rows = [
        [f"{value:.6g}" if isinstance(value, float) else value for value in row]
        for row in table.itertuples(index=False, name=None)
    ]
    if path is not None:
        write_csv(path, list(table.columns), rows)
        return
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(rows)


def _context(one: RawSeries, spec: SeriesSpec, place: str) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]:
    """Times and values, (context + prediction, columns), of the window after a series' last value, of a stream with all that
    came before as its context; and all values up to there."""
    check_order(one, place)
    times, values, steps = fill_grid(one, spec.frequency, place)
    if len(times) > len(steps):
        print(f"note: {place}: {len(times) - len(steps):,} steps have no row and are taken as missing", file=sys.stderr)
    targets = len(spec.columns.targets)
    seen = np.flatnonzero(np.isfinite(values[:, :targets]).any(axis=1))
    if not len(seen):
        raise UserError(f"{place}: has no value of {', '.join(spec.columns.targets)}")
    now = int(seen[-1]) + 1
    context, future = now if spec.is_stream else spec.context_length, spec.prediction_length
    if now < context:
        raise UserError(
            f"{place}: has {now:,} steps up to its last value, and the run looks back at {context:,} "
            "(data.context_length): give a longer history"
        )
    window = np.full((context + future, values.shape[1]), np.nan)
    window[:context] = values[now - context : now]
    given = values[now : now + future, targets : targets + len(spec.columns.known)]
    window[context : context + len(given), targets : targets + len(spec.columns.known)] = given
    ahead = later(times[now - 1], spec.frequency, future)
    for index, name in enumerate(spec.columns.known):
        missing = np.flatnonzero(np.isnan(window[context:, targets + index]))
        if len(missing):
            raise UserError(
                f"{place}: {name} is known in advance, and has no value at {ahead[missing[0]]}: the forecast needs it up to "
                f"{ahead[-1]}, in rows of their own with {spec.columns.targets[0]} left empty"
            )
    return times[now - context : now].append(ahead), window, values[:now]


def _windows(found: list[tuple[int, pd.DatetimeIndex, np.ndarray]], spec: SeriesSpec) -> Windows:
    table = torch.from_numpy(
        np.stack([spec.features(times, values, number) for number, times, values in found], axis=1)
    )
    targets, known, observed = spec.layout.split(table)
    numbers = torch.tensor([number for number, _, _ in found])
    return Windows(targets, known, observed[: -spec.prediction_length], numbers, numbers)


def _units(windows: Windows, spec: SeriesSpec) -> Units:
    targets = len(spec.columns.targets)
    tables = (torch.tensor(table)[windows.series, :targets] for table in (spec.centre, spec.scale, spec.naive_error))
    return Units(*tables)
