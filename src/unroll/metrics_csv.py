"""metrics.csv: every number that is logged, in the run's folder."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from unroll.writing import written_whole


class MetricsCSV(Logger):
    """A row for each time that something is logged; what was not logged then is left empty.

    Lightning's own CSV logger empties the folder of a resumed run, which is why this is not it.

    Args:
        path: the file. Rows that are there are kept.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = []
        self.rows = 0
        if path.exists():
            with path.open(newline="") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or [])
                self.rows = sum(1 for _ in reader)

    @property
    def name(self) -> str:
        return "metrics.csv"

    @property
    def version(self) -> str:
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> "MetricsCSV":
        return self

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run's config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": step, **{key: value for key, value in metrics.items() if key != "step"}}
        new = [key for key in row if key not in self._columns]
        if new or not self.path.exists():  # it may have been taken away
            self._rewrite(self._columns + new, self.rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)
        self.rows += 1

    @rank_zero_only
    def cut(self, rows: int) -> None:
        """Keep the first `rows` rows: what was logged after the checkpoint that a run resumes from is logged again."""
        if rows < self.rows:
            self._rewrite(self._columns, rows)

    def _rewrite(self, columns: list[str], rows: int) -> None:
        kept: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                kept = list(csv.DictReader(file))[:rows]
        with written_whole(self.path) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(kept)
        self._columns = columns
        self.rows = len(kept)
