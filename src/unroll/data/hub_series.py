"""Series from the Hugging Face Hub, or from a local folder in the same layout."""

from pathlib import Path
from typing import Any

import numpy as np

from unroll.data.base import SPLITS
from unroll.data.grid_series import RawSeries
from unroll.data.hub import load_splits
from unroll.data.series import SeriesData
from unroll.data.series_spec import Columns
from unroll.data.time_grid import parse_times
from unroll.errors import UserError, did_you_mean


class HubSeries(SeriesData):
    """The rows of a dataset with a column of times and one or more of numbers: one series.

    A dataset in three splits is one series, cut where they meet; one with train only is cut by `sizes`.

    Args:
        hub_id: name on the Hub; null where only a local folder will do.
        revision: commit of the Hub's repository; null for the newest.
        config_name: the dataset's configuration; null: the first of `preferred` that it has, else its default.
        preferred: see there.
        path: a local folder in the Hub's layout, read in place of the Hub.
        time: the times' column.
        **series_data: see `SeriesData`.
    """

    def __init__(
        self,
        hub_id: str | None,
        revision: str | None,
        config_name: str | None,
        preferred: list[str],
        path: str | None,
        time: str,
        **series_data: Any,
    ) -> None:
        super().__init__(**series_data)
        self.hub_id = hub_id
        self.revision = revision
        self.config_name = config_name
        self.preferred = preferred
        self.path = path
        self.time = time

    @property
    def source(self) -> str:
        return self.path or str(self.hub_id)

    def read(self) -> tuple[Columns, list[RawSeries]]:
        splits = load_splits(
            self.hub_id,
            self.revision,
            self.config_name,
            Path(self.path) if self.path else None,
            needed=("train",),
            offline="data=load_curve or data=series_files",
            preferred=self.preferred,
        )
        parts = [splits[split] for split in SPLITS if split in splits]
        names = parts[0].column_names
        target = self.target
        if target is None:
            target = [name for name in names if name not in {self.time, *self.known, *self.observed}]
        columns = Columns(tuple(target), self.known, self.observed)
        for option, name in [("time", self.time), *(("target, known or observed", name) for name in columns.all)]:
            if name not in names:
                raise UserError(
                    f"{self.source}: there is no column {name} (data.{option}); {did_you_mean(name, names)}"
                )
        values = np.concatenate([self._numbers(part, columns.all) for part in parts])
        times = parse_times(
            [time for part in parts for time in part[self.time][:]],
            lambda row: f"{self.place(row)}, column {self.time}",
        )
        sizes = (len(parts[0]), len(parts[1]), len(parts[2])) if len(parts) == len(SPLITS) else None
        return columns, [RawSeries("", times, values, self.place, sizes)]

    def place(self, row: int) -> str:
        """Where a row stands, for messages; of several splits the rows are counted through."""
        return f"{self.source}, row {row + 1}"

    def _numbers(self, part: Any, names: tuple[str, ...]) -> np.ndarray:
        columns = part.select_columns(list(names)).to_pandas()
        for name in names:
            try:
                columns[name] = columns[name].astype(float)
            except (TypeError, ValueError) as error:
                raise UserError(f"{self.source}, column {name}: has what is no number: {error}") from None
            infinite = np.flatnonzero(np.isinf(columns[name]))
            if len(infinite):
                raise UserError(f"{self.place(int(infinite[0]))}, column {name}: is infinite")
        return columns[list(names)].to_numpy(float)
