"""Zoneout (Krueger et al. 2017): at each step some units keep what they had."""

from collections.abc import Callable

import torch
from pydantic import PositiveInt
from torch import Tensor

from unroll.cells.base import Cell, Masks
from unroll.errors import UsageError
from unroll.schema import Probability
from unroll.state import State, flatten


class Zoneout(Cell):
    """Around a cell: every unit of every part of its state keeps its value of before with that part's probability.

    What is kept is drawn anew at each step; in evaluation the expectation is taken: p * before + (1 - p) * after.

    Not around cells whose state belongs together (`Cell.can_keep_units`): the scale that all parts of sLSTM's and mLSTM's
    share, the past that Skip's is.

    Args:
        input_size, hidden_size: see `Cell`.
        cell: makes the cell within: called as `cell(input_size, hidden_size)`.
        probabilities: one for each part of its state, in the state's order: for an LSTM those of h and c.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        cell: Callable[[int, int], Cell],
        probabilities: list[Probability],
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.cell = cell(input_size, hidden_size)
        self.probabilities = probabilities
        if not self.cell.can_keep_units:
            raise UsageError(
                f"model.cell.cell: the parts of {type(self.cell).__name__}'s state go together: no zoneout for it"
            )
        parts = len(flatten(self.cell.initial_state(1, torch.empty(0))))
        if len(probabilities) != parts:
            raise UsageError(
                f"model.cell.probabilities={probabilities}: the state of {type(self.cell).__name__} has {parts} parts"
            )

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        return self.cell.initial_state(batch_size, like)

    def output(self, state: State) -> Tensor:
        return self.cell.output(state)

    def draw_masks(self, batch_size: int, like: Tensor) -> Masks:
        return self.cell.draw_masks(batch_size, like)

    def weights_of_steps(self, masks: Masks) -> Masks:
        return self.cell.weights_of_steps(masks)

    def project(self, x: Tensor) -> Tensor:
        return self.cell.project(x)

    def input_map(self) -> tuple[Tensor, Tensor | None] | None:
        return self.cell.input_map()

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        new = self.cell.step(px_t, state, *masks)
        if isinstance(state, Tensor):
            (p,) = self.probabilities
            return self._keep(state, new, p)
        return tuple(self._keep(*parts) for parts in zip(state, new, self.probabilities, strict=True))

    def _keep(self, before: Tensor, after: Tensor, p: float) -> Tensor:
        after = after.to(before.dtype)
        if self.training:
            return torch.where(torch.rand_like(before) < p, before, after)
        return torch.lerp(after, before, p)
