"""Runs side by side: what differs between them, and what came of it."""

import csv
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.table import Table

from unroll.durations import clock
from unroll.errors import UserError
from unroll.runs import CONFIG, FAILURE, SUMMARY, is_locked, read_config

State = Literal["finished", "running", "failed", "unfinished"]


@dataclass(frozen=True)
class Run:
    """A run, read from its folder.

    Attributes:
        folder: its own.
        name: what it is called beside others.
        config: resolved.
        overrides: what its command line said, key -> value.
        summary: what came of it; None of a run that has not come to its end.
        failure: why it failed, of a sweep's job; else empty.
    """

    folder: Path
    name: str
    config: dict[str, Any]
    overrides: dict[str, str]
    summary: dict[str, Any] | None
    failure: str

    @property
    def task(self) -> str:
        """What it learned."""
        return str(self.config["choices"]["task"])

    @property
    def metric(self) -> str:
        """What is watched."""
        return str(self.config["watch"]["metric"])

    @property
    def label(self) -> str:
        """What is watched, in words, with its unit."""
        return str(self.config["watch"]["label"])

    @property
    def less_is_better(self) -> bool:
        """Of the watched metric."""
        return bool(self.config["watch"]["mode"] == "min")

    @property
    def value(self) -> float:
        """The watched metric at the end; NaN if there is none."""
        found = None if self.summary is None else self.summary["metrics"].get(self.metric)
        return math.nan if found is None else float(found)

    @cached_property
    def state(self) -> State:
        """How it stands."""
        if self.summary is not None:
            return "finished"
        if self.failure:
            return "failed"
        return "running" if is_locked(self.folder) else "unfinished"

    def setting(self, key: str) -> str:
        """What it has for a key or group, as on a command line."""
        if key in self.overrides:
            return shortened(self.overrides[key])
        if key in self.config["choices"]:
            return str(self.config["choices"][key])
        node: Any = self.config
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                return ""
            node = node[part]
        return _written(node)

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The rows of metrics.csv, as far as they can be read; what a row does not have is left out."""
        return read_history(self.folder / "metrics.csv")[0]

    def curve(self, against: str) -> list[tuple[float, float]]:
        """The watched metric over training.

        Args:
            against: `step`, or `seconds` of training.
        """
        points = []
        seconds = 0.0
        first: tuple[float, float] | None = None  # step and seconds, where the rate is first known
        for row in self.history:
            if "train_seconds" in row:
                seconds = row["train_seconds"]
                first = first or (row["step"], seconds)
            if self.metric in row:
                points.append((row["step"] if against == "step" else seconds, row[self.metric]))
        if against == "seconds" and first is not None and first[0]:
            # Before the first row that knows the time: as fast as up to there.
            steps = [row["step"] for row in self.history if self.metric in row]
            points = [(x if x else step * first[1] / first[0], y) for (x, y), step in zip(points, steps, strict=True)]
        return points


def read_history(path: Path) -> tuple[list[dict[str, float]], str]:
    """The rows of a metrics.csv, and what is wrong with it, if something is: it is used as far as it goes."""
    rows: list[dict[str, float]] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, strict=True):
                if None in row or None in row.values():
                    return rows, f"{path}: line {len(rows) + 2} is cut off: used as far as it goes"
                rows.append({key: float(value) for key, value in row.items() if value})
    except FileNotFoundError:
        return [], ""
    except (OSError, ValueError, csv.Error) as error:
        return rows, f"{path}: line {len(rows) + 2} cannot be read ({error}): used as far as it goes"
    return rows, ""


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs of some folders: of a run itself, of a sweep, or of any folder that has some in it.

    Raises:
        UserError: a folder is not there, or has no runs.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: there is no such folder")
        configs = sorted(path.rglob(CONFIG), key=lambda config: _natural(config.parent))
        inside = [config.parent for config in configs if ".hydra" not in config.parts and "wandb" not in config.parts]
        failed = [reason.parent for reason in path.rglob(FAILURE) if reason.parent not in inside]  # before its config
        if not inside:
            told = f": {len(failed)} jobs failed before they began" if failed else ""
            raise UserError(f"{path}: there is no run in it{told}; runs lie in outputs/, sweeps in outputs/multirun/")
        found.update(dict.fromkeys(inside, path))
    return [_read(folder, _name(folder, above, len(paths))) for folder, above in found.items()]


def _read(folder: Path, name: str) -> Run:
    config = read_config(folder)
    try:
        summary = json.loads((folder / SUMMARY).read_text()) if (folder / SUMMARY).exists() else None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / SUMMARY}: cannot be read ({error})") from None
    reason = folder / FAILURE
    failure = reason.read_text().strip() if reason.exists() else ""
    return Run(folder, name, config, _overrides(folder), summary, failure)


def _overrides(folder: Path) -> dict[str, str]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        listed = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    except (OSError, YAMLError, OmegaConfBaseException):
        return {}
    found = {}
    for item in listed if isinstance(listed, list) else []:
        key, _, value = str(item).lstrip("+~").partition("=")
        if not key.startswith("hydra"):
            found[key] = value
    return found


def _name(folder: Path, above: Path, count: int) -> str:
    inside = folder.relative_to(above)
    if inside == Path():
        return folder.name
    return str(above.name / inside) if count > 1 else str(inside)


def _natural(path: Path) -> list[tuple[int, Any]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.parts]


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def shortened(text: str) -> str:
    """A number that a search has drawn, as it can be read."""
    try:
        return f"{float(text):.4g}" if len(text) > 9 else text
    except ValueError:
        return text


_BESIDE_THE_POINT = ("logger", "launcher", "resume", "trust", "sweep")


def differing(runs: Sequence[Run]) -> list[str]:
    """The keys that some run's command line names and that are not alike in all; `seed` last."""
    named = dict.fromkeys(key for run in runs for key in run.overrides)
    groups = ("task", "data", "model", "truncation", "experiment")
    keys = dict.fromkeys([*(group for group in groups), *named, "seed"])
    found = [
        key
        for key in keys
        if key.split(".")[0] not in _BESIDE_THE_POINT and len({run.setting(key) for run in runs}) > 1
    ]
    return sorted(found, key=lambda key: key == "seed")


@dataclass(frozen=True)
class Row:
    """Runs that are alike but for their seed.

    Attributes:
        settings: what they have for each key that differs elsewhere.
        runs: all of them.
    """

    settings: dict[str, str]
    runs: list[Run]

    @property
    def values(self) -> list[float]:
        """The watched metric of those that have one."""
        return [run.value for run in self.runs if not math.isnan(run.value)]

    @property
    def mean(self) -> float:
        """Over the seeds; NaN if there is none."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; NaN of fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def title(self) -> str:
        """Its settings in one line."""
        return " ".join(f"{key}={value}" for key, value in self.settings.items() if value)

    def average(self, *path: str) -> float:
        """The mean of a number in the summaries."""
        found = []
        for run in self.runs:
            node: Any = run.summary
            for part in path:
                node = node.get(part) if isinstance(node, dict) else None
            if isinstance(node, int | float):
                found.append(float(node))
        return statistics.fmean(found) if found else math.nan


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """Runs of one task, those that differ in their seed only together; the best first."""
    keys = [key for key in differing(runs) if key != "seed"]
    grouped: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        grouped.setdefault(tuple(run.setting(key) for key in keys), []).append(run)
    rows = [Row(dict(zip(keys, values, strict=True)), group) for values, group in grouped.items()]
    sign = 1 if runs[0].less_is_better else -1
    return sorted(rows, key=lambda row: (math.isnan(row.mean), sign * row.mean if row.values else 0.0))


def of_each_task(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs by what can be compared: the task, and what is watched."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(f"{run.task} ({run.metric})", []).append(run)
    return found


def comparison_table(runs: Sequence[Run]) -> Table:
    """A line for each choice, the best first and marked: the watched metric, size, speed and time."""
    rows = rows_of(runs)
    table = Table(box=box.SIMPLE)
    table.add_column("choices", overflow="fold")
    units = sorted({run.summary["throughput"]["unit"] for run in runs if run.summary})
    table.add_column(runs[0].metric, justify="right", no_wrap=True)
    for heading in ("parameters", " ".join(units) or "throughput", "training", "runs"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        states = [run.state for run in row.runs]
        told = ", ".join(
            f"{states.count(state)} {state}" if len(states) > 1 else state
            for state in ("failed", "running", "unfinished")
            if state in states
        )
        if row.values:
            value = f"{row.mean:.4f}" + ("" if math.isnan(row.spread) else f" ± {row.spread:.4f}")
        else:
            value = "nan" if "finished" in states else told
        named = ", ".join(run.name for run in row.runs[:4]) + (", ..." if len(row.runs) > 4 else "")
        table.add_row(
            row.title or row.runs[0].name,
            value,
            _whole(row.average("parameters")),
            _whole(row.average("throughput", "value")),
            "" if math.isnan(row.average("train_seconds")) else clock(row.average("train_seconds")),
            named + (f" ({told})" if told and row.values else ""),
            style="bold" if row is rows[0] and row.values and len(rows) > 1 else None,
        )
    return table


def _whole(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.0f}"


def table_of_runs(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]]:
    """Every run in a row: header and rows, for a CSV file."""
    keys = differing(runs)
    metrics = sorted({name for run in runs if run.summary for name in run.summary["metrics"]})
    rest = ["parameters", "steps", "epochs", "train_seconds", "throughput", "unit", "device", "precision"]
    header = ["run", "folder", "state", *keys, *metrics, *rest, "failure"]
    rows = []
    for run in runs:
        summary = run.summary or {}
        throughput = summary.get("throughput", {})
        told = {**summary, "throughput": throughput.get("value"), "unit": throughput.get("unit")}
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


def differences(one: Run, two: Run) -> list[tuple[str, str, str]]:
    """What two configs do not have alike: key, and the value of each; empty where one has no such key."""
    ours, theirs = (dict(flat_config(run.config)) for run in (one, two))
    return [
        (key, ours.get(key, ""), theirs.get(key, ""))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key, "") != theirs.get(key, "")
    ]


def flat_config(node: Any, path: str = "") -> list[tuple[str, str]]:
    """Every key of a config with its dots, and its value as it is written on a command line."""
    if isinstance(node, dict) and node:
        return [
            item for key, value in node.items() for item in flat_config(value, f"{path}.{key}" if path else str(key))
        ]
    return [(path, _written(node))]


def pair_tables(one: Run, two: Run) -> list[Table]:
    """Two runs: what differs in their configs, and what in their results."""
    configs = Table(title="config", box=box.SIMPLE)
    results = Table(title="result", box=box.SIMPLE)
    for table in (configs, results):
        table.add_column("")
        for run in (one, two):
            table.add_column(run.name, overflow="fold", justify="right" if table is results else "left")
    for key, ours, theirs in differences(one, two):
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
