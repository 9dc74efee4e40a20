"""Time series on regular grids, split by time: the format behind every forecast."""

import hashlib
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from unroll.data.base import SPLITS, Data
from unroll.data.grid_series import GridSeries, RawSeries, on_grids, told
from unroll.data.series_lanes import SeriesLanes
from unroll.data.series_spec import Columns, SeriesSpec, scales
from unroll.data.time_grid import check_frequency, season_length
from unroll.data.windows import StreamWindows, WindowBatches, window_starts
from unroll.errors import UsageError, UserError
from unroll.truncation import Truncation

_LISTED = 8  # names in a line


class SeriesData(Data):
    """Series, split by time: train, then validation, then test. A subclass says where they come from: `read`.

    A window of validation or test has its future there; its context may reach back into the split before, as in the
    published protocols. Every such window is scored.

    Args:
        batch_size: windows a batch, over all devices; of a stream, its lanes.
        eval_batch_size: windows a batch in validation and test; speed only.
        truncation: of a stream: the steps between two updates. A window is read as a whole.
        context_length: steps that a forecast looks back at; of a stream, those that simple forecasts and pictures do.
        prediction_length: steps that it looks ahead.
        target: columns that are forecast; None: all that are nothing else.
        known: covariates whose future is known.
        observed: covariates that are known up to now only.
        calendar: add the place in day, week and year as known covariates, by the frequency.
        frequency: as pandas names it; None: found from the times.
        season_length: steps of a season; None: by the frequency.
        sizes: of train, validation and test, as shares or, if whole numbers, as steps; where the source has splits of
            its own they are not used. Test may be 0: there is none.
        standardize: subtract the mean and divide by the standard deviation that each column has in train; false leaves
            targets as they are, for counts.
        stream: a forecast looks back at all there is: the one series is read from its beginning, and a state carried. Its
            training part lies in as many lanes as `batch_size` says; in validation and test it is read in one.

    Raises:
        UsageError: sizes that are none.
    """

    def __init__(
        self,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        truncation: Truncation,
        context_length: PositiveInt,
        prediction_length: PositiveInt,
        target: list[str] | None,
        known: list[str],
        observed: list[str],
        calendar: bool,
        frequency: str | None,
        season_length: PositiveInt | None,
        sizes: Annotated[list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=3, max_length=3)],
        standardize: bool,
        stream: bool,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.truncation = truncation
        self.is_stream = stream
        self.context_length = context_length
        self.prediction_length = prediction_length
        self.target = target
        self.known = tuple(known)
        self.observed = tuple(observed)
        self.calendar = calendar
        self.frequency = frequency
        self.season_length = season_length
        self.sizes = sizes
        self.standardize = standardize
        self._seed = torch.initial_seed() % 2**31  # the run's, the same in every process: the order of the windows
        self._notes: list[str] = []
        if frequency is not None:
            check_frequency(frequency)
        roles = [*(target or ()), *known, *observed]
        for name in roles:
            if roles.count(name) > 1:
                raise UsageError(
                    f"data.target, known and observed: {name} stands in them twice; each column is one thing"
                )
        if any(0 < size < 1 for size in sizes) and abs(sum(sizes) - 1) > 1e-9:
            raise UsageError(f"data.sizes={sizes}: the shares are not 1 together")
        if not sizes[0] or not sizes[1]:
            raise UsageError(f"data.sizes={sizes}: train and validation need some of it")
        if self.is_stream and truncation.length is None:
            raise UsageError(
                "truncation=full with data.stream=true: a stream has no end; take one of truncation=k8 to k256, or "
                "truncation.length=N"
            )

    time = "time"
    """The column of times."""
    series: str | None = None
    """The column that tells several series apart."""

    @abstractmethod
    def read(self) -> tuple[Columns, list[RawSeries]]:
        """The series, at least one.

        Raises:
            UserError: they cannot be read.
        """

    @cached_property
    def _read(self) -> tuple[Columns, list[GridSeries], str]:
        """Columns, the series on their grids, and their frequency."""
        columns, raw = self.read()
        if self.is_stream and len(raw) > 1:
            raise UserError(
                f"{self.source}: has {len(raw):,} series, and one can be read as a stream: take data.stream=false"
            )
        self._day_first = next((one.day_first for one in raw if one.day_first is not None), None)
        grids, frequency, notes = on_grids(raw, self.frequency, self.sizes, self.source)
        self._notes += notes
        return columns, grids, frequency

    @cached_property
    def spec(self) -> SeriesSpec:
        columns, grids, frequency = self._read
        season = self.season_length or season_length(frequency)
        targets = len(columns.targets)
        centre, scale, naive_error = scales(grids, targets, season, self.standardize)
        return SeriesSpec(
            self.time,
            self.series,
            columns,
            self.calendar,
            frequency,
            season,
            self.is_stream,
            self.context_length,
            self.prediction_length,
            tuple(one.name for one in grids),
            centre,
            scale,
            naive_error,
            self._day_first,
        )

    def save_spec(self, folder: Path) -> None:
        self.spec.write(folder / "series.json")

    @staticmethod
    def load_spec(folder: Path) -> SeriesSpec:
        return SeriesSpec.read(folder / "series.json")

    def adopt(self, spec: SeriesSpec) -> None:
        columns, grids, frequency = self._read
        if columns != spec.columns:
            raise UserError(
                f"{self.source}: forecasts {_listed(columns.all)}, and the run was trained with {_listed(spec.columns.all)}"
            )
        if frequency != spec.frequency:
            raise UserError(
                f"{self.source}: its frequency is {frequency}, and the run was trained with {spec.frequency}"
            )
        lengths = (spec.context_length, spec.prediction_length)
        if lengths != (self.context_length, self.prediction_length) or spec.is_stream != self.is_stream:
            raise UserError(
                f"{self.source}: the run was trained with data.context_length={lengths[0]}, "
                f"data.prediction_length={lengths[1]} and data.stream={str(spec.is_stream).lower()}: give the same"
            )
        for one in grids:
            if one.name not in spec.names:
                raise UserError(
                    f"{self.source}: the run was not trained with the series {one.name!r}; it knows: {_listed(spec.names)}"
                )
        self.__dict__["spec"] = spec

    def prepare_data(self) -> None:
        """Read, check, put together.

        Raises:
            UserError: the series are not in order, or too short.
        """
        for split in self.splits:
            self.windows(split)
        if self.is_stream:
            assert self.truncation.length is not None
            there, wanted = self._read[1][0].borders[0], self.batch_size * self.truncation.length + 1
            if there < wanted:
                raise UserError(
                    f"{self.source}: train has {there:,} steps, and one window of truncation.length="
                    f"{self.truncation.length} in each of data.batch_size={self.batch_size} lanes are {wanted:,}: lower "
                    "them, or give a longer series"
                )

    @property
    def splits(self) -> tuple[str, ...]:
        grids = self._read[1]
        return SPLITS if any(one.borders[2] > one.borders[1] for one in grids) else SPLITS[:2]

    @cached_property
    def table(self) -> Tensor:
        """(steps, columns) of float32: what a model reads of all series, one after the other."""
        numbers = {name: index for index, name in enumerate(self.spec.names)}
        return torch.from_numpy(
            np.concatenate([self.spec.features(one.times, one.values, numbers[one.name]) for one in self._read[1]])
        )

    def windows(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Where in `table` the windows of a split begin, and which series each is of; both (count,) of int64.

        Those with nothing seen in their context, or in their future, are left out.

        Raises:
            UserError: there are none.
        """
        cache = self.__dict__.setdefault("_found", {})
        if split not in cache:
            cache[split] = self._find(split)
        return cache[split]

    def _find(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        grids = self._read[1]
        numbers = {name: index for index, name in enumerate(self.spec.names)}
        context, future = self.context_length, self.prediction_length
        targets = len(self.spec.columns.targets)
        starts, series = [], []
        offset = short = blank = 0
        for one in grids:
            first, some = window_starts(one, split, context, future, targets)
            short += not len(first)
            blank += int((~some).sum())
            starts.append(offset + first[some])
            series.append(np.full(int(some.sum()), numbers[one.name]))
            offset += len(one.times)
        if not sum(map(len, starts)):
            longest = max(grids, key=lambda one: one.borders[2])
            there = dict(zip(SPLITS, np.diff([0, *longest.borders]).tolist(), strict=True))[split]
            wanted = context + future if split == "train" else future
            what = f"data.prediction_length={future}"
            if split == "train":
                what = f"data.context_length={context} + {what}"
            if there >= wanted:
                raise UserError(f"{self.source}: nothing is seen in any window of {split}: its targets are all missing")
            raise UserError(
                f"{told(self.source, longest.name)}: {split} has {there:,} steps, and {what} = {wanted:,} are needed: "
                "lower them, change data.sizes, or give a longer series"
            )
        if short:
            self._notes.append(f"{split}: {short:,} of {len(grids):,} series are too short for a window and left out")
        if blank:
            self._notes.append(f"{split}: {blank:,} windows have nothing seen in context or future and are left out")
        return np.concatenate(starts), np.concatenate(series).astype(np.int64)

    def times(self, start: int, count: int) -> pd.DatetimeIndex:
        """The times of some steps of `table` that follow each other."""
        for one in self._read[1]:
            if start < len(one.times):
                return one.times[start : start + count]
            start -= len(one.times)
        raise IndexError(start)

    def ideal(self, split: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Where the data is generated: what a forecast can know at best of each window of a split, as the means and the
        standard deviations of normal distributions, both (windows, prediction, targets) and standardized. None elsewhere."""
        return None

    def describe(self) -> list[str]:
        columns, grids, frequency = self._read
        steps = sum(len(one.times) for one in grids)
        targets = np.concatenate([one.values[:, : len(columns.targets)] for one in grids])
        missing = np.isnan(targets).mean()
        first, last = min(one.times[0] for one in grids), max(one.times[-1] for one in grids)
        counts = ", ".join(f"{split} {len(self.windows(split)[0]):,}" for split in self.splits[self.is_stream :])
        season = f"season {self.spec.season_length}"
        lines = [
            f"{len(grids):,} series, {steps:,} steps of {frequency} from {first} to {last}; forecast: "
            f"{_listed(columns.targets)}"
        ]
        if self.is_stream:
            lines.append(
                f"a stream in {self.batch_size:,} lanes, an update every {self.truncation.length:,} steps; "
                f"{self.prediction_length:,} steps ahead from all that came before: {counts}; {season}"
            )
        else:
            lines.append(f"windows of {self.context_length} + {self.prediction_length}: {counts}; {season}")
        for role, names in (("known in advance", columns.known), ("observed", columns.observed)):
            if names:
                lines.append(f"{role}: {_listed(names)}")
        if missing:
            lines.append(f"{missing:.1%} of the targets are missing: masked in what is read and in the loss")
        still = [
            f"{one.name} {name}".strip()
            for one in grids
            for name, column in zip(columns.targets, one.values[: one.borders[0]].T, strict=False)
            if len(np.unique(column[np.isfinite(column)])) < 2
        ]
        if still:
            lines.append(f"note: train has no change in {_listed(tuple(still))}")
        return lines + self._notes

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all series and of their splits."""
        digest = hashlib.sha256()
        for one in self._read[1]:
            digest.update(f"\0{one.name}\0{one.times[0]}\0{one.borders}\0".encode())
            digest.update(np.ascontiguousarray(one.values).tobytes())
        return digest.hexdigest()

    def train_dataloader(self) -> WindowBatches | SeriesLanes:
        if not self.is_stream:
            return self._loader(WindowBatches, self.windows("train"), self.batch_size, self._seed)
        self.check_share("data.batch_size", self.batch_size)
        assert self.truncation.length is not None
        train = self.table[: self._read[1][0].borders[0]]
        length, history = self.truncation.length, self.truncation.history
        vary = self._seed if self.truncation.vary_length else None
        return SeriesLanes(train, self.spec.layout, self.batch_size, length, history, self.rank, self.world_size, vary)

    def eval_dataloader(self, splits: str) -> WindowBatches:
        """Several splits are scored together, in the order of time."""
        parts = [self.windows(name) for name in sorted(self.named_splits(splits), key=SPLITS.index)]
        starts, series = (np.concatenate([part[index] for part in parts]) for index in (0, 1))
        kind = StreamWindows if self.is_stream else WindowBatches
        return self._loader(kind, (starts, series), self.eval_batch_size, None)

    def _loader(
        self,
        kind: type[WindowBatches],
        windows: tuple[np.ndarray, np.ndarray],
        batch_size: int,
        seed: int | None,
    ) -> WindowBatches:
        return kind(
            self.table,
            self.spec.layout,
            *windows,
            self.context_length,
            self.prediction_length,
            batch_size,
            seed,
            self.rank,
            self.world_size,
        )


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown}, ... ({len(names)} in all)"
