"""Windows of context and future, cut from a table of series."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unroll.data.batches import EvenBatches
from unroll.data.grid_series import GridSeries
from unroll.data.series_lanes import Piece
from unroll.data.series_spec import Layout


class Windows(NamedTuple):
    """A batch of windows: [context | future].

    Attributes:
        targets: (context + prediction, batch, targets), standardized; NaN where missing.
        known: (context + prediction, batch, known): covariates whose future is known.
        observed: (context, batch, observed): those whose future is not.
        rows: (batch,) of int64: which of its split's windows each is.
        series: (batch,) of int64: which series each is of.
        share: the weight of this process's mean in that over all processes.
        begins: whether it starts from the initial state; without `since` it always does.
        since: of a stream: what lies between the batch before and the last future of this one, in one lane.
        origins: (batch,) of int64, of a stream: after how many steps of `since` each future begins.
    """

    targets: Tensor
    known: Tensor
    observed: Tensor
    rows: Tensor
    series: Tensor
    share: float = 1.0
    begins: bool = True
    since: "Piece | None" = None
    origins: Tensor | None = None

    def future(self, prediction_length: int) -> Tensor:
        """(prediction, batch, targets): what is to be forecast."""
        return self.targets[-prediction_length:]

    # Not named `to`: Lightning would take that to move a batch.
    def like(self, weight: Tensor) -> "Windows":
        """The same windows on the device of a model's weight, and in its precision."""
        targets, known, observed = (part.to(weight) for part in (self.targets, self.known, self.observed))
        rows, series = self.rows.to(weight.device), self.series.to(weight.device)
        moved = self._replace(targets=targets, known=known, observed=observed, rows=rows, series=series)
        return moved if self.since is None else moved._replace(since=self.since.like(weight))


def window_starts(
    one: GridSeries, split: str, context: int, future: int, targets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the windows of a split begin in a series.

    Args:
        one: the series.
        split: train, validation or test. The future of a window lies in it, its context also before.
        context, future: steps of a window.
        targets: how many of the first columns are.

    Returns:
        (windows,) of int64, their first steps; and (windows,) of bool, whether a target is seen in both of its parts.
    """
    begin, end = {
        "train": (0, one.borders[0]),
        "validation": one.borders[:2],
        "test": one.borders[1:],
    }[split]
    first = np.arange(max(begin, context) - context, end - future - context + 1)
    seen = np.isfinite(one.values[:, :targets]).any(axis=1)
    count = np.concatenate([[0], np.cumsum(seen)])
    middle = count[first + context]
    return first, (middle > count[first]) & (count[first + context + future] > middle)


class WindowBatches(EvenBatches):
    """Windows of a table, which is not copied but for the batch that is asked for.

    Args:
        table: (steps, columns) of float32: all series, one after the other.
        layout: of its columns.
        starts: (count,) of int64: the step of the table at which each window begins.
        series: (count,) of int64: which series it is of.
        context_length, prediction_length: steps.
        batch_size: windows a batch, over all processes.
        seed, rank, world_size: see `Batches`.
    """

    def __init__(
        self,
        table: Tensor,
        layout: Layout,
        starts: np.ndarray,
        series: np.ndarray,
        context_length: int,
        prediction_length: int,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(len(starts), batch_size, seed, rank, world_size)
        self.layout = layout
        self.starts = torch.from_numpy(starts)
        self.series = torch.from_numpy(series)
        self.context_length = context_length
        self._windows = table.unfold(0, context_length + prediction_length, 1)  # a view

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> Windows:
        return self.windows(rows)._replace(share=len(rows) * self.world_size / len(whole))

    def windows(self, rows: np.ndarray, after: int | None = None) -> Windows:
        """Some windows.

        Args:
            rows: their numbers.
            after: of a stream: the row up to whose future it was read; None: it is read from its beginning.
        """
        chosen = torch.from_numpy(rows)
        targets, known, observed = self.layout.split(self._windows[self.starts[chosen]].permute(2, 0, 1))
        return Windows(targets, known, observed[: self.context_length], chosen, self.series[chosen])


class StreamWindows(WindowBatches):
    """Windows of one series in the order of time, for a model that carries its state from each to the next.

    Args:
        table, layout, starts, series, context_length, prediction_length, batch_size, rank, world_size: see `WindowBatches`.
    """

    def __init__(self, table: Tensor, *arguments: Any, **keywords: Any) -> None:
        super().__init__(table, *arguments, **keywords)
        self.table = table

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> Windows:
        before = int(whole[0]) - 1
        batch = self._windows_after(rows, None if before < 0 else before, int(whole[-1]))
        return batch._replace(share=len(rows) * self.world_size / len(whole))

    def windows(self, rows: np.ndarray, after: int | None = None) -> Windows:
        return self._windows_after(rows, after, int(rows[-1]))

    def _windows_after(self, rows: np.ndarray, after: int | None, last: int) -> Windows:
        batch = super().windows(rows)
        begin = 0 if after is None else int(self.starts[after]) + self.context_length
        end = int(self.starts[last]) + self.context_length
        # Of the future's first step the covariates are read, and never the target.
        targets, known, observed = self.layout.split(self.table[begin : end + 1, None])
        since = Piece(targets, known, observed, batch.series[:1], end - begin, end - begin, after is None)
        return batch._replace(
            begins=after is None, since=since, origins=self.starts[batch.rows] + self.context_length - begin
        )
