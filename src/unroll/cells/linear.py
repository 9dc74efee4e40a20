"""Cells whose state enters linearly: h_t = a_t * h_{t-1} + b_t, with a_t and b_t from the input alone."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.state import State


class LinearCell(Cell):
    """A subclass writes `project`, from x to what a_t and b_t are made of, and `coefficients`, which makes them.

    Two fast paths follow: `analytic`, a step after the other in place (the fastest on a CPU), and `scan`, all steps at once
    in log2(time) rounds (Hillis & Steele 1986; Martin & Cundy 2018), for a GPU, and for steps of a few hundred numbers.

    Both multiply and add a_t and b_t as they are. With |a_t| <= 1 nothing grows: no logarithms and no quotients of
    running products, which overflow or cancel on long sequences.
    """

    paths: ClassVar[tuple[str, ...]] = ("analytic", "scan", "loop")

    @abstractmethod
    def coefficients(self, px: Tensor) -> tuple[Tensor, Tensor]:
        """px: (..., p), the projected input -> a and b, (..., hidden_size)."""

    def path(self, x: Tensor, lengths: Tensor | None) -> str:
        # On a CPU the rounds cost more than they save, but for steps so small that to call for each is what takes long.
        return "analytic" if x.device.type == "cpu" and x.shape[1] * self.hidden_size > 512 else "scan"

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        a, b = self.coefficients(px_t)
        return a * state + b

    def analytic(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, without a graph."""
        return self._by(StepByStep, x, state, lengths)

    def scan(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, by a parallel scan."""
        return self._by(Scan, x, state, lengths)

    def _by(
        self, way: type[torch.autograd.Function], x: Tensor, state: State, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        a, b = self.coefficients(self.project(x))
        h = way.apply(a.to(state.dtype), b.to(state.dtype), state)
        return cut_outputs(h, lengths), at_ends(h, state, lengths)


class StepByStep(torch.autograd.Function):
    """(a, b, h_0) -> h: h_t = a_t * h_{t-1} + b_t; a and b are (time, ...), h_0 is (...)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h_0: Tensor) -> Tensor:
        h = torch.empty_like(b)
        h_t = h_0
        for a_t, b_t, place in zip(a.unbind(0), b.unbind(0), h.unbind(0), strict=True):
            h_t = torch.addcmul(b_t, a_t, h_t, out=place)
        ctx.save_for_backward(a, h, h_0)
        return h

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, h_0 = ctx.saved_tensors
        # d_h_t = d_y_t + a_{t+1} d_h_{t+1}: the same recurrence, from the end.
        d_h = torch.empty_like(h)
        d_h[-1] = d_h_t = d_y[-1]
        steps = zip(d_y.unbind(0)[-2::-1], a.unbind(0)[:0:-1], d_h.unbind(0)[-2::-1], strict=True)
        for d_y_t, a_after, place in steps:
            d_h_t = torch.addcmul(d_y_t, a_after, d_h_t, out=place)
        d_a = torch.empty_like(a)
        torch.mul(d_h[0], h_0, out=d_a[0])
        torch.mul(d_h[1:], h[:-1], out=d_a[1:])
        return d_a, d_h, d_h[0] * a[0]


class Scan(torch.autograd.Function):
    """As `StepByStep`, in log2(time) rounds."""

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
