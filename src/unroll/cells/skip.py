"""Connections that reach further back (Lin et al. 1996; Goodfellow et al. 2016, sections 10.9.1 and 10.9.3)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.analytic import run_analytic
from unroll.cells.base import Cell, Masks, cut_outputs
from unroll.cells.rnn import Nonlinearity
from unroll.cells.unitwise import Gates, UnitwiseCell
from unroll.schema import Probability
from unroll.state import State


class Skip(UnitwiseCell):
    """h_t = f(W x_t + U_1 h_{t-1} + U_d h_{t-d} + b), or without the edge of length 1: f(W x_t + U_d h_{t-d} + b).

    Along the edge of length d a gradient passes tau steps in tau / d factors. Without the other edge the sequence falls
    apart into d independent ones, of every d-th step each: the fast path runs them side by side.

    The state is the last d values of h, (batch, d, hidden_size), the oldest first.

    Args:
        input_size, hidden_size: see `Cell`.
        distance: d.
        recent: whether there is an edge of length 1 too.
        nonlinearity: f, `tanh` or `relu`.
        bias, weight_drop: see `UnitwiseCell`; U is U_d here.
    """

    paths: ClassVar[tuple[str, ...]] = ("interleaved", "loop")
    can_keep_units = False
    branch = Cell.branch  # the state of a branch would have the steps beside each other

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        distance: PositiveInt,
        recent: bool,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        weight_drop: Probability = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, (nonlinearity,), bias, weight_drop)
        self.distance = distance
        self.U_1 = nn.Parameter(nn.init.orthogonal_(torch.empty(hidden_size, hidden_size))) if recent else None
        if self.U_1 is not None:
            # Both edges together start with the length of what they map, as one alone does.
            self.U_1.data *= 0.5**0.5
            self.U.data *= 0.5**0.5
            self.paths = ("loop",)  # type: ignore[misc]

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        return like.new_zeros(batch_size, self.distance, self.hidden_size)

    def output(self, state: State) -> Tensor:
        h: Tensor = state[:, -1]
        return h

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        (U,) = masks or (self.U,)
        a_t = px_t + F.linear(state[:, 0], U)
        if self.U_1 is not None:
            a_t = a_t + F.linear(state[:, -1], self.U_1)
        (h,) = self.activate(a_t)
        return torch.cat([state[:, 1:], h[:, None].to(state.dtype)], dim=1)

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        (h,) = gates
        return h

    def interleaved(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`: d sequences side by side, time / d steps long."""
        (U,) = masks or (self.U,)
        time, batch, _ = x.shape
        d = self.distance
        px = F.pad(self.project(x), (0, 0, 0, 0, 0, -time % d))
        first = state.transpose(0, 1)  # (d, batch, hidden_size)
        y, _ = run_analytic(self, px.view(-1, d * batch, px.shape[2]), U, first.reshape(d * batch, -1), None)
        y = y.view(-1, batch, self.hidden_size)[:time]
        known = torch.cat([first, y.to(first.dtype)])
        if lengths is None:
            return y, known[time:].transpose(0, 1).clone(memory_format=torch.contiguous_format)
        steps = lengths[:, None] + torch.arange(d, device=x.device)
        return cut_outputs(y, lengths), known[steps, torch.arange(batch, device=x.device)[:, None]]
