"""One long series in lanes: how a forecaster of a stream is trained."""

from typing import NamedTuple

import torch
from torch import Tensor

from unroll.data.lanes import Lanes
from unroll.data.series_spec import Layout


class Piece(NamedTuple):
    """The next piece of every lane of a stream; each step but the first is said from those before it.

    Attributes:
        targets: (1 + history + window, lanes, targets), standardized; NaN where missing.
        known: (1 + history + window, lanes, known).
        observed: (1 + history + window, lanes, observed).
        rows: (lanes,) of int64: their numbers.
        scored: steps of the window.
        advance: after how many steps the next piece begins.
        begins: whether this is the first of a pass: there is nothing to carry on from.
        first_lane: the number of the first lane here among the lanes of all devices.
        lanes: how many lanes all devices have together.
        share: the weight of this process's mean in that over all processes: alike, since all have as many lanes.
        rate: its length as a share of the usual one.
    """

    targets: Tensor
    known: Tensor
    observed: Tensor
    rows: Tensor
    scored: int
    advance: int
    begins: bool
    first_lane: int = 0
    lanes: int = 1
    share: float = 1.0
    rate: float = 1.0

    @property
    def lanes_here(self) -> int:
        """How many of them this process has."""
        return self.targets.shape[1]

    def like(self, weight: Tensor) -> "Piece":
        """The same on the device of a model's weight, and in its precision."""
        targets, known, observed = (part.to(weight) for part in (self.targets, self.known, self.observed))
        return self._replace(targets=targets, known=known, observed=observed, rows=self.rows.to(weight.device))


class SeriesLanes(Lanes):
    """The training part of one series in lanes, as `Piece`s.

    Args:
        table: (steps, columns) of float32: that part.
        layout: of its columns.
        lanes, length, history, rank, world_size, vary: see `Lanes`.
    """

    def __init__(
        self,
        table: Tensor,
        layout: Layout,
        lanes: int,
        length: int,
        history: int,
        rank: int,
        world_size: int,
        vary: int | None = None,
    ) -> None:
        super().__init__(len(table), lanes, length, history, True, rank, world_size, vary)
        self.table = table
        self.layout = layout

    def window(self, begin: int, position: int, end: int, advance: int) -> Piece:
        block = torch.stack([self.table[start + begin : start + end + 1] for start, _ in self.bounds], dim=1)
        rows = torch.arange(self.first_lane, self.first_lane + len(self.bounds))
        return Piece(
            *self.layout.split(block),
            rows,
            scored=end - position,
            advance=advance,
            begins=position == 0,
            first_lane=self.first_lane,
            lanes=self.lanes,
            rate=(end - position) / self.length,
        )
