"""One page to review runs on: a table to sort, curves to point at, configs and samples. It needs no network."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unroll.comparison.rows import differing, of_each_task, rows_of
from unroll.comparison.run import Run
from unroll.writing import written_whole

_POINTS = 200  # of a curve
_SAMPLE = 2_000  # characters
_TEMPLATE = Path(__file__).with_name("page.html")


def write_review_page(runs: Sequence[Run], title: str, told: str, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        runs: of one task or several.
        title: what the page is called.
        told: the line below.
        path: of the HTML file.
    """
    data = {"title": title, "told": told, "tasks": [_task(name, some) for name, some in of_each_task(runs).items()]}
    # Nothing in a config or a sample can end the script that holds it.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    page = _TEMPLATE.read_text(encoding="utf-8").replace("DATA", text, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")


def _task(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    rows = rows_of(runs)
    group = {run.folder: index for index, row in enumerate(rows) for run in row.runs}
    best = {run.folder for run in rows[0].runs} if rows[0].values and len(rows) > 1 else set()
    configs = [run.values for run in runs]
    common = {key: value for key, value in configs[0].items() if all(config.get(key) == value for config in configs)}
    curves = [_curves(run) for run in runs]
    keys = differing(runs)
    return {
        "name": name,
        "metric": runs[0].metric,
        "less": runs[0].less_is_better,
        "keys": keys,
        "common": common,
        "metrics": sorted({metric for run in runs if run.summary for metric in run.summary["metrics"]}),
        "curves": sorted(
            {metric for found in curves for metric in found}, key=lambda metric: (metric[:4] != "val/", metric)
        ),
        "runs": [
            {
                "index": index,
                "group": group[run.folder],
                "best": run.folder in best,
                "name": run.name,
                "folder": str(run.folder),
                "state": run.state,
                "failure": run.failure,
                "settings": {key: run.setting(key) for key in keys},
                "metrics": {} if run.summary is None else run.summary["metrics"],
                "parameters": None if run.summary is None else run.summary["parameters"],
                "seconds": None if run.summary is None else run.summary["train_seconds"],
                "speed": None if run.summary is None else run.summary["throughput"]["value"],
                "curves": curves[index],
                "config": {key: value for key, value in configs[index].items() if common.get(key) != value},
                "samples": _samples(run.folder),
            }
            for index, run in enumerate(runs)
        ],
    }


def _curves(run: Run) -> dict[str, list[tuple[float, float, float]]]:
    """Of each metric (step, seconds, value), thinned out evenly."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    seconds = 0.0
    for row in run.history:
        seconds = row.get("train_seconds", seconds)
        for name, value in row.items():
            if (name.startswith(("train/", "val/")) or name == "learning_rate") and math.isfinite(value):
                found.setdefault(name, []).append((row["step"], round(seconds, 2), float(f"{value:.6g}")))
    return {
        name: [
            points[index] for index in np.linspace(0, len(points) - 1, min(len(points), _POINTS)).round().astype(int)
        ]
        for name, points in found.items()
    }


def _samples(folder: Path) -> list[tuple[str, str]]:
    """What it wrote last, and examples of its answers."""
    written = sorted((folder / "samples").glob("*.txt"))[-1:]
    found = [(path.name, path.read_text(encoding="utf-8", errors="replace")[:_SAMPLE]) for path in written]
    for path in sorted((folder / "evaluation").glob("validation_*examples.csv")):
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = ["  |  ".join(row) for _, row in zip(range(8), csv.reader(file), strict=False)]
        found.append((path.name, "\n".join(rows)[:_SAMPLE]))
    return found
