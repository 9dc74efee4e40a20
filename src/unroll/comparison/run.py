"""A run, read from its folder."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from unroll.errors import UserError
from unroll.locking import is_locked
from unroll.runs import CONFIG, FAILURE, SUMMARY, read_config, read_overrides

State = Literal["finished", "pruned", "running", "failed", "unfinished"]


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
            return "pruned" if self.summary.get("pruned_at") else "finished"
        if self.failure:
            return "failed"
        return "running" if is_locked(self.folder) else "unfinished"

    def setting(self, key: str) -> str:
        """What it has for a key or group, as on a command line."""
        if key in self.config["choices"]:
            return str(self.config["choices"][key])
        if key in self.values:
            return shortened(self.values[key])
        return shortened(self.overrides.get(key, ""))

    @cached_property
    def values(self) -> dict[str, str]:
        """Each key of its config, dotted, as it is written on a command line."""
        return dict(flat_config(self.config))

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
    found = {}
    for item in read_overrides(folder):
        key, _, value = item.lstrip("+~").partition("=")
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


def written(value: Any) -> str:
    """A value as it stands on a command line."""
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


def flat_config(node: Any, path: str = "") -> list[tuple[str, str]]:
    """Every key of a config with its dots, and its value as it is written on a command line."""
    if isinstance(node, dict) and node:
        return [
            item for key, value in node.items() for item in flat_config(value, f"{path}.{key}" if path else str(key))
        ]
    return [(path, written(node))]
