"""Series from the Hugging Face Hub, or from a local folder in the same layout."""

from typing import Any

import numpy as np

from unroll.data.base import SPLITS
from unroll.data.grid_series import RawSeries
from unroll.data.hub import OnHub
from unroll.data.series import SeriesData
from unroll.data.series_spec import Columns
from unroll.data.time_grid import day_stands_first, parse_times, zone_of
from unroll.errors import UserError, did_you_mean


class HubSeries(OnHub, SeriesData):
    """The rows of a dataset with a column of times and one or more of numbers: one series.

    A dataset in three splits is one series, cut where they meet; one with train only is cut by `sizes`.

    Args:
        preferred: without a config_name the first of these that the dataset has is read.
        time: the times' column.
        **others: see `OnHub` and `SeriesData`.
    """

    instead = "data=load_curve or data=series_files"

    def __init__(self, preferred: list[str], time: str, **others: Any) -> None:
        super().__init__(**others)
        self.preferred = preferred
        self.time = time

    def read(self) -> tuple[Columns, list[RawSeries]]:
        parts = list(self.load(preferred=self.preferred).values())
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
        written = [time for part in parts for time in part[self.time][:]]
        day_first = day_stands_first(written)
        times = parse_times(written, lambda row: f"{self.place(row)}, column {self.time}", day_first)
        sizes = (len(parts[0]), len(parts[1]), len(parts[2])) if len(parts) == len(SPLITS) else None
        return columns, [
            RawSeries("", times, values, self.place, sizes, zone=zone_of(written[-1]), day_first=day_first)
        ]

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
