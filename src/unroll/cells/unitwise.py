"""Cells in which all but one product acts on each unit by itself, and their fast path."""

from abc import abstractmethod
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.state import State


class UnitwiseCell(Cell):
    """a_t = W x_t + b + U h_{t-1}, and from there on every unit for itself: state_t = update(a_t, state_{t-1}).

    A subclass writes `update`. That alone gives it the plain loop; with `update_backward`, its derivative, it also has
    the analytic path: a loop that builds no graph, keeps only a_t and the states, and has one product for U's gradient
    after the loop instead of one a step.

    A state of several parts is a tuple that begins with h.

    Args:
        input_size, hidden_size: see `Cell`.
        gates: a_t has gates * hidden_size entries: a block a gate.
        bias: whether there is a b.
        weight_drop: probability that an entry of U is dropped, drawn once a sequence (DropConnect; Merity et al. 2018).
    """

    def __init__(
        self, input_size: int, hidden_size: int, gates: int = 1, bias: bool = True, weight_drop: float = 0.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.gates = gates
        self.weight_drop = weight_drop
        self.make_parameters(bias)

    def make_parameters(self, bias: bool) -> None:
        """W (Glorot & Bengio 2010), U (orthogonal, a block a gate: Saxe et al. 2014) and b (zero)."""
        self.W = nn.Parameter(torch.empty(self.gates * self.hidden_size, self.input_size))
        self.U = nn.Parameter(torch.empty(self.gates * self.hidden_size, self.hidden_size))
        self.b = nn.Parameter(torch.zeros(self.gates * self.hidden_size)) if bias else None
        for block in self.W.data.chunk(self.gates):
            nn.init.xavier_uniform_(block)
        for block in self.U.data.chunk(self.gates):
            nn.init.orthogonal_(block)

    @abstractmethod
    def update(self, a_t: Tensor, state: State) -> State:
        """a_t: (batch, gates * hidden_size); the state before the step -> the state after it. Changes nothing in place."""

    def update_backward(self, a_t: Tensor, state: State, new: State, d_new: State, d_a: Tensor) -> State:
        """The derivative of `update`, without a graph.

        Args:
            a_t, state, new: what `update` was given and what it returned.
            d_new: the loss's gradient for `new`, in its shape.
            d_a: is filled with the gradient for a_t.

        Returns:
            The gradient for `state`, in its shape, as far as it does not pass through a_t; new tensors. None for a part
            that has none.
        """
        raise NotImplementedError

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)

    def draw_masks(self, batch_size: int, like: Tensor) -> Masks:
        return (F.dropout(self.U, self.weight_drop),) if self.training and self.weight_drop else ()

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        (U,) = masks or (self.U,)
        return self.update(px_t + F.linear(self.output(state), U), state)

    def output(self, state: State) -> Tensor:
        return cast(Tensor, state if isinstance(state, Tensor) else state[0])

    def analytic(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, with the derivative that `update_backward` says."""
        (U,) = masks or (self.U,)
        return run_analytic(self, self.project(x), U, state, lengths)


class AnalyticCell(UnitwiseCell):
    """A `UnitwiseCell` whose subclass also writes `update_backward`."""

    paths: ClassVar[tuple[str, ...]] = ("analytic", "loop")


def sigmoid_backward(d: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """d * y (1 - y): back through y = sigmoid(a), in one pass; into `out` if that is given."""
    if out is None:
        return cast(Tensor, torch.ops.aten.sigmoid_backward(d, y))
    return cast(Tensor, torch.ops.aten.sigmoid_backward.grad_input(d.to(out.dtype), y.to(out.dtype), grad_input=out))


def tanh_backward(d: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """d * (1 - y^2): back through y = tanh(a), in one pass; into `out` if that is given."""
    if out is None:
        return cast(Tensor, torch.ops.aten.tanh_backward(d, y))
    return cast(Tensor, torch.ops.aten.tanh_backward.grad_input(d.to(out.dtype), y.to(out.dtype), grad_input=out))


def run_analytic(cell: Any, px: Tensor, U: Tensor | None, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    """The loop over `cell.update` and back over `cell.update_backward`; without U, a_t is the projected input itself."""
    single = isinstance(state, Tensor)
    parts = (state,) if single else state
    trajectories = _Analytic.apply(cell, px, U, *parts)
    final = tuple(at_ends(trajectory, part, lengths) for trajectory, part in zip(trajectories, parts, strict=True))
    return cut_outputs(trajectories[0], lengths), final[0] if single else final


class _Analytic(torch.autograd.Function):
    """(projected input, U, parts of the state) -> the trajectory (time, batch, units) of each part."""

    @staticmethod
    def forward(ctx: Any, cell: Any, px: Tensor, U: Tensor | None, *parts: Tensor) -> tuple[Tensor, ...]:
        single = len(parts) == 1
        kept: list[tuple[Tensor, ...]] = []
        with torch.autocast(px.device.type, enabled=False):
            a = px if U is None else torch.empty_like(px)
            U_t = None if U is None else U.to(px.dtype).t()
            now = parts
            for px_t, a_t in zip(px.unbind(0), a.unbind(0), strict=True):
                if U_t is not None:
                    torch.addmm(px_t, now[0].to(px.dtype), U_t, out=a_t)
                new = cell.update(a_t, now[0] if single else now)
                now = (new,) if single else new
                kept.append(now)
        trajectories = tuple(torch.stack(values) for values in zip(*kept, strict=True))
        ctx.save_for_backward(a, U, *parts, *trajectories)
        ctx.cell = cell
        ctx.set_materialize_grads(False)
        return trajectories

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *d_trajectories: Tensor | None) -> Any:
        a, U, *saved = ctx.saved_tensors
        count = len(saved) // 2
        initial, trajectories = saved[:count], saved[count:]
        steps = [list(trajectory.unbind(0)) for trajectory in trajectories]
        from_above = [None if d is None else d.unbind(0) for d in d_trajectories]
        U_here = None if U is None else U.to(a.dtype)
        d_a = torch.empty_like(a)
        d: list[Any] = [None] * count
        single = count == 1
        for t in range(len(a) - 1, -1, -1):
            new = [values[t] for values in steps]
            before = [values[t - 1] for values in steps] if t else initial
            for part in range(count):
                above = from_above[part]
                if above is not None:
                    d[part] = above[t] if d[part] is None else d[part] + above[t]
                elif d[part] is None:
                    d[part] = torch.zeros_like(new[part])
            if single:
                d = [ctx.cell.update_backward(a[t], before[0], new[0], d[0], d_a[t])]
            else:
                d = list(ctx.cell.update_backward(a[t], before, new, d, d_a[t]))
            if U_here is not None:
                through_U = torch.mm(d_a[t], U_here).to(new[0].dtype)
                d[0] = through_U if d[0] is None else d[0].add_(through_U)
        d_U = None
        if U is not None:
            h = trajectories[0]
            # Of every step but the first, and of the first, whose h is the initial one.
            d_U = d_a[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1).to(a.dtype)
            d_U = d_U.addmm_(d_a[0].t(), initial[0].to(a.dtype)).to(U.dtype)
        return (None, d_a, d_U, *d)
