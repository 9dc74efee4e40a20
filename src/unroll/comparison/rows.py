"""What differs between runs, and which are alike but for their seed."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from unroll.comparison.run import Run, flat_config

_BESIDE_THE_POINT = ("logger", "launcher", "resume", "trust", "sweep", "choices", "test")


def differing(runs: Sequence[Run]) -> list[str]:
    """The keys that some run's command line names and that are not alike in all; then what else tells runs apart that would
    otherwise pass for the same but for their seed; `seed` last."""
    named = dict.fromkeys(key for run in runs for key in run.overrides)
    groups = ("task", "data", "model", "truncation", "experiment")
    keys = dict.fromkeys([*(group for group in groups), *named, "seed"])
    found = [
        key
        for key in keys
        if key.split(".")[0] not in _BESIDE_THE_POINT and len({run.setting(key) for run in runs}) > 1
    ]
    alike: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        alike.setdefault(tuple(run.setting(key) for key in found if key != "seed"), []).append(run)
    found += dict.fromkeys(key for group in alike.values() for key in _apart(group) if key not in found)
    return sorted(found, key=lambda key: key == "seed")


def _apart(runs: Sequence[Run]) -> list[str]:
    """The keys of their whole configs in which runs differ, without those that only repeat the seed."""
    first = runs[0].values
    return [
        key
        for key in first
        if key.split(".")[0] not in _BESIDE_THE_POINT
        and any(run.values.get(key) != first[key] for run in runs[1:])
        and any(run.values.get(key) != run.values.get("seed") for run in runs)
    ]


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


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What two configs do not have alike: key, and the value of each; empty where one has no such key."""
    ours, theirs = dict(flat_config(one)), dict(flat_config(two))
    return [
        (key, ours.get(key, ""), theirs.get(key, ""))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key, "") != theirs.get(key, "")
    ]
