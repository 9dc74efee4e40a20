"""Runs side by side, on the terminal and in a file."""

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from unroll.comparison.rows import differences, differing, rows_of
from unroll.comparison.run import Run
from unroll.durations import clock

_LONGEST = 32  # letters of a word that is not broken
_KEYS = 3  # that have a column each; more of them stand in one together


def comparison_table(runs: Sequence[Run], console: Console) -> Table:
    """A line for each choice, the best first and marked: the watched metric, size, speed and time.

    Numbers are never broken. Where the terminal is too narrow for all, choices share a column; then speed and time go, and
    then the size.
    """
    few = 0 < len(rows_of(runs)[0].settings) <= _KEYS
    forms = [(few, 3), (False, 3), (False, 1), (False, 0)]
    tables = [_table(runs, apart, numbers) for apart, numbers in forms]
    unbounded = console.options.update_width(10_000)
    fits = [table for table in tables if console.measure(table, options=unbounded).minimum <= console.width]
    return [*fits, tables[-1]][0]


def _table(runs: Sequence[Run], apart: bool, numbers: int) -> Table:
    """With a column for each choice, or one for all; and so many of the numbers beside the metric."""
    rows = rows_of(runs)
    table = Table(box=box.SIMPLE)
    for heading in list(rows[0].settings) if apart else ["choices"]:
        table.add_column(heading, overflow="fold")
    units = sorted({run.summary["throughput"]["unit"] for run in runs if run.summary})
    for heading in [runs[0].metric, "parameters", " ".join(units) or "throughput", "training"][: 1 + numbers]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("run", justify="right", overflow="fold")
    for row in rows:
        states = [run.state for run in row.runs]
        told = ", ".join(
            f"{states.count(state)} {state}" if len(states) > 1 else state
            for state in ("pruned", "failed", "running", "unfinished")
            if state in states
        )
        if row.values:
            value = f"{row.mean:.4f}" + ("" if math.isnan(row.spread) else f" ± {row.spread:.4f}")
        else:
            value = "nan" if {"finished", "pruned"} & set(states) else told
        named = ", ".join(run.name for run in row.runs[:4]) + (", ..." if len(row.runs) > 4 else "")
        table.add_row(
            *(row.settings.values() if apart else [row.title or _called(row.runs)]),
            value,
            *[
                _whole(row.average("parameters")),
                _whole(row.average("throughput", "value")),
                "" if math.isnan(row.average("train_seconds")) else clock(row.average("train_seconds")),
            ][:numbers],
            named + (f" ({told})" if told and row.values else ""),
            style="bold" if row is rows[0] and row.values and len(rows) > 1 else None,
        )
    for column in table.columns:  # rich would take a mean and its spread for two words, and break others to make room
        pieces = [piece for cell in [column.header, *column.cells] for piece in _pieces(str(cell), column.no_wrap)]
        column.min_width = min(_LONGEST, max(map(len, pieces)))
    return table


def _pieces(cell: str, whole: bool) -> list[str]:
    return [cell] if whole else cell.split() or [""]


def _called(runs: Sequence[Run]) -> str:
    """What no choice tells from others: a run's name, or what several of different seeds have in common."""
    choices = runs[0].config["choices"]
    return runs[0].name if len(runs) == 1 else f"{choices['task']} · {choices['data']} · {choices['model']}"


def _whole(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.0f}"


def table_of_runs(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]]:
    """Every run in a row: header and rows, for a CSV file."""
    keys = differing(runs)
    metrics = sorted({name for run in runs if run.summary for name in run.summary["metrics"]})
    rest = [
        "parameters",
        "steps",
        "epochs",
        "train_seconds",
        "throughput",
        "unit",
        "device",
        "precision",
        "memory_horizon",
    ]
    header = ["run", "folder", "state", *keys, *metrics, *rest, "failure"]
    rows = []
    for run in runs:
        summary = run.summary or {}
        throughput = summary.get("throughput", {})
        told = {**summary, "throughput": throughput.get("value"), "unit": throughput.get("unit")}
        memory = summary.get("memory_horizon", {})
        told["memory_horizon"] = "; ".join(f"{cell}: {found['told']}" for cell, found in memory.items())
        scores = summary.get("metrics", {})
        rows.append(
            [
                run.name,
                run.folder,
                run.state,
                *(run.setting(key) for key in keys),
                *(scores.get(name) for name in metrics),
                *(told.get(key) for key in rest),
                run.failure,
            ]
        )
    return header, rows


def pair_tables(one: Run, two: Run) -> list[Table]:
    """Two runs: what differs in their configs, and what in their results."""
    configs = Table(title="config", box=box.SIMPLE)
    results = Table(title="result", box=box.SIMPLE)
    for table in (configs, results):
        table.add_column("")
        for run in (one, two):
            table.add_column(run.name, overflow="fold", justify="right" if table is results else "left")
    for key, ours, theirs in differences(one.config, two.config):
        if key != "choices.sweep":
            configs.add_row(key, ours, theirs)
    summaries: list[dict[str, Any]] = [run.summary or {"metrics": {}} for run in (one, two)]
    for name in dict.fromkeys(name for summary in summaries for name in summary["metrics"]):
        results.add_row(name, *(_score(summary["metrics"].get(name)) for summary in summaries))
    for name in ("parameters", "steps", "train_seconds"):
        results.add_row(name, *(_score(summary.get(name)) for summary in summaries))
    results.add_row("state", one.state, two.state)
    return [configs, results]


def _score(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else ""
