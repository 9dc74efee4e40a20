"""Cells whose state enters linearly: h_t = a_t * h_{t-1} + b_t, with a_t and b_t from the input alone."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from unroll.cells.analytic import Activation, run_analytic
from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.cells.unitwise import Gates
from unroll.state import State


class LinearCell(Cell):
    """A subclass writes `project`, from x to what a_t and b_t are made of, and `coefficients`, which makes them.

    Two fast paths follow: `analytic`, a step after the other without a graph (the fastest on a CPU), and `scan`, all steps
    at once in log2(time) rounds (Hillis & Steele 1986; Martin & Cundy 2018), for a GPU.

    Both multiply and add a_t and b_t as they are. With |a_t| <= 1 nothing grows: no logarithms and no quotients of
    running products, which overflow or cancel on long sequences.
    """

    paths: ClassVar[tuple[str, ...]] = ("analytic", "scan", "loop")

    @abstractmethod
    def coefficients(self, px: Tensor) -> tuple[Tensor, Tensor]:
        """px: (..., p), the projected input -> a and b, (..., hidden_size)."""

    def path(self, x: Tensor, lengths: Tensor | None) -> str:
        return "analytic" if x.device.type == "cpu" else "scan"

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        a, b = self.coefficients(px_t)
        return a * state + b

    # What `run_analytic` takes, see `UnitwiseCell`: here of a_t and b_t, side by side.

    gates: tuple[Activation, ...] = ("linear", "linear")

    def update_parameters(self) -> tuple[Tensor, ...]:
        """None."""
        return ()

    def enter_parameters(self) -> tuple[Tensor, ...]:
        """None."""
        return ()

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        """The gates of one step; the state before it -> the state after it."""
        a, b = gates
        return torch.addcmul(b, a, state)

    def analytic(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, without a graph."""
        return run_analytic(self, torch.cat(self.coefficients(self.project(x)), dim=-1), None, state, lengths)

    def scan(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, by a parallel scan."""
        a, b = self.coefficients(self.project(x))
        h = linear_scan(a.to(state.dtype), b.to(state.dtype), state)
        return cut_outputs(h, lengths), at_ends(h, state, lengths)


def linear_scan(a: Tensor, b: Tensor, h_0: Tensor) -> Tensor:
    """h_t = a_t * h_{t-1} + b_t for all t at once.

    Args:
        a, b: (time, ...).
        h_0: (...), the state before the first step.

    Returns:
        (time, ...).
    """
    h: Tensor = _Scan.apply(a, b, h_0)
    return h


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h_0: Tensor) -> Tensor:
        first = torch.addcmul(b[0], a[0], h_0)
        h = _scan(a, torch.cat([first[None], b[1:]]))
        ctx.save_for_backward(a, h, h_0)
        return h

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, h_0 = ctx.saved_tensors
        # d_h_t = d_y_t + a_{t+1} d_h_{t+1}: the same recurrence, from the end.
        after = torch.cat([torch.zeros_like(a[:1]), a.flip(0)[:-1]])
        d_h = _scan(after, d_y.flip(0)).flip(0)
        before = torch.cat([h_0[None], h[:-1]])
        return d_h * before, d_h, d_h[0] * a[0]


def _scan(a: Tensor, b: Tensor) -> Tensor:
    """From a zero state, by doubling: after round k, (a, b)_t is the map over the 2^k steps that end with t."""
    distance = 1
    while distance < len(b):
        b = torch.cat([b[:distance], torch.addcmul(b[distance:], a[distance:], b[:-distance])])
        a = torch.cat([a[:distance], a[distance:] * a[:-distance]])
        distance *= 2
    return b
