"""Cells in which all but one product acts on each unit by itself, and their fast path."""

from abc import abstractmethod
from itertools import groupby
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.state import State

Activation = Literal["sigmoid", "tanh", "relu", "linear"]
Gates = tuple[Tensor, ...]


class UnitwiseCell(Cell):
    """a_t = W x_t + b + U h_{t-1}; gates_t = their activations of a_t, a block each; from there on every unit for itself:
    state_t = update(gates_t, state_{t-1}).

    A subclass names its gates' activations and writes `update`. A state of several parts is a tuple that begins with h.

    The analytic path is a loop that builds no graph, keeps only the gates and the states, and has one product for U's
    gradient after the loop instead of one a step. The derivative of `update` comes from autograd, a step at a time;
    `update_backward` in closed form makes it faster.

    Args:
        input_size, hidden_size: see `Cell`.
        gates: the activation of each block of hidden_size entries of a_t.
        bias: whether there is a b.
        weight_drop: probability that an entry of U is dropped, drawn once a sequence (DropConnect; Merity et al. 2018).
    """

    paths: ClassVar[tuple[str, ...]] = ("analytic", "loop")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        gates: tuple[Activation, ...],
        bias: bool = True,
        weight_drop: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.gates = gates
        self.weight_drop = weight_drop
        # Glorot & Bengio 2010; orthogonal, a block a gate (Saxe et al. 2014); zero.
        self.W = nn.Parameter(torch.empty(len(gates) * hidden_size, input_size))
        self.U = nn.Parameter(torch.empty(len(gates) * hidden_size, hidden_size))
        self.b = nn.Parameter(torch.zeros(len(gates) * hidden_size)) if bias else None
        for block in self.W.data.chunk(len(gates)):
            nn.init.xavier_uniform_(block)
        for block in self.U.data.chunk(len(gates)):
            nn.init.orthogonal_(block)

    @abstractmethod
    def update(self, gates: Gates, state: State) -> State:
        """gates: (batch, hidden_size) each; the state before the step -> the state after it. Changes nothing in place."""

    def update_parameters(self) -> tuple[nn.Parameter, ...]:
        """The parameters that `update` itself reads; none for most."""
        return ()

    def update_backward(self, gates: Gates, state: State, new: State, d_new: State) -> tuple[Gates, State]:
        """The derivative of `update`, without a graph: by hand where a subclass overrides this.

        Args:
            gates, state, new: what `update` was given and what it returned.
            d_new: the loss's gradient for `new`, in its shape.

        Returns:
            The gradients for `gates` and for `state`, in their shapes; None for a part that has none.
        """
        raise NotImplementedError

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)

    def draw_masks(self, batch_size: int, like: Tensor) -> Masks:
        return (F.dropout(self.U, self.weight_drop),) if self.training and self.weight_drop else ()

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        (U,) = masks or (self.U,)
        return self.update(self.activate(px_t + F.linear(self.output(state), U)), state)

    def activate(self, a_t: Tensor) -> Gates:
        """a_t: (..., gates * hidden_size) -> the gates, (..., hidden_size) each."""
        blocks = a_t.chunk(len(self.gates), dim=-1)
        return tuple(_ACTIVATIONS[name](block) for name, block in zip(self.gates, blocks, strict=True))

    def output(self, state: State) -> Tensor:
        return cast(Tensor, state if isinstance(state, Tensor) else state[0])

    def analytic(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, without a graph."""
        (U,) = masks or (self.U,)
        return run_analytic(self, self.project(x), U, state, lengths)


_ACTIVATIONS: dict[str, Any] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "linear": lambda a: a,
}


def run_analytic(cell: Any, px: Tensor, U: Tensor | None, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    """The loop over a cell's `update`, and back over its derivative.

    Args:
        cell: has gates, update, update_parameters and update_backward, as `UnitwiseCell`.
        px: (time, batch, gates * hidden_size), the projected input.
        U: the recurrent matrix; None where gates see the input only.
        state, lengths: see `Cell.loop`.
    """
    single = isinstance(state, Tensor)
    parts = (state,) if single else state
    trajectories = _Analytic.apply(cell, px, U, len(parts), *parts, *cell.update_parameters())
    final = tuple(at_ends(values, part, lengths) for values, part in zip(trajectories, parts, strict=True))
    return cut_outputs(trajectories[0], lengths), final[0] if single else final


class _Analytic(torch.autograd.Function):
    """(projected input, U, parts of the state, parameters of update) -> the trajectory (time, batch, units) of each part."""

    @staticmethod
    def forward(ctx: Any, cell: Any, px: Tensor, U: Tensor | None, count: int, *rest: Tensor) -> tuple[Tensor, ...]:
        initial, parameters = rest[:count], rest[count:]
        with torch.autocast(px.device.type, enabled=False):
            U_t = None if U is None else U.to(px.dtype).t()
            # a_t, and then the activations in its place.
            gates = px if U is None and set(cell.gates) == {"linear"} else torch.empty_like(px)
            if U_t is None and gates is not px:
                gates.copy_(px)
                _activate(cell.gates, gates)
            now: Any = initial
            kept: list[tuple[Tensor, ...]] = []
            for px_t, gates_t in zip(px.unbind(0), gates.unbind(0), strict=True):
                if U_t is not None:
                    torch.addmm(px_t, now[0].to(px.dtype), U_t, out=gates_t)
                    _activate(cell.gates, gates_t)
                new = cell.update(gates_t.chunk(len(cell.gates), -1), now[0] if count == 1 else now)
                now = (new,) if count == 1 else new
                kept.append(now)
        trajectories = tuple(torch.stack(values) for values in zip(*kept, strict=True))
        ctx.save_for_backward(gates, U, *initial, *trajectories, *parameters)
        ctx.cell, ctx.count = cell, count
        ctx.set_materialize_grads(False)
        return trajectories

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *d_trajectories: Tensor | None) -> Any:
        cell, count = ctx.cell, ctx.count
        gates, U, *saved = ctx.saved_tensors
        initial, trajectories, parameters = saved[:count], saved[count : 2 * count], saved[2 * count :]
        by_hand = type(cell).update_backward is not UnitwiseCell.update_backward
        steps = [values.unbind(0) for values in trajectories]
        from_above = [None if d is None else d.unbind(0) for d in d_trajectories]
        U_here = None if U is None else U.to(gates.dtype)
        d_a = torch.empty_like(gates)
        d: list[Any] = [None] * count
        d_parameters = [torch.zeros_like(parameter) for parameter in parameters]
        for t in range(len(gates) - 1, -1, -1):
            new = tuple(values[t] for values in steps)
            before = tuple(values[t - 1] for values in steps) if t else tuple(initial)
            for part, above in enumerate(from_above):
                if above is not None:
                    d[part] = above[t] if d[part] is None else d[part] + above[t]
                elif d[part] is None:
                    d[part] = torch.zeros_like(new[part])
            gates_t = gates[t].chunk(len(cell.gates), -1)
            if not by_hand:
                d_gates, d, shares = _differentiate(cell, gates_t, before, d, parameters)
                for total, share in zip(d_parameters, shares, strict=True):
                    total += share
            elif count == 1:
                d_gates, d_state = cell.update_backward(gates_t, before[0], new[0], d[0])
                d = [d_state]
            else:
                d_gates, d_state = cell.update_backward(gates_t, before, new, tuple(d))
                d = list(d_state)
            for name, d_gate, gate, out in zip(
                cell.gates, d_gates, gates_t, d_a[t].chunk(len(cell.gates), -1), strict=True
            ):
                _activation_backward(name, d_gate, gate, out)
            if U_here is not None:
                through_U = torch.mm(d_a[t], U_here).to(new[0].dtype)
                d[0] = through_U if d[0] is None else d[0] + through_U
        d_U = None
        if U is not None:
            h = trajectories[0]
            # Of every step but the first, and of the first, whose h is the initial one.
            d_U = d_a[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1).to(d_a.dtype)
            d_U = d_U.addmm_(d_a[0].t(), initial[0].to(d_a.dtype)).to(U.dtype)
        return (None, d_a, d_U, None, *d, *d_parameters)


def _activate(names: tuple[Activation, ...], a: Tensor) -> None:
    """In place; neighbours with the same activation at once."""
    width = a.shape[-1] // len(names)
    start = 0
    for name, group in groupby(names):
        stop = start + width * len(list(group))
        block = a[..., start:stop]
        if name == "sigmoid":
            block.sigmoid_()
        elif name == "tanh":
            block.tanh_()
        elif name == "relu":
            block.relu_()
        start = stop


def _activation_backward(name: Activation, d_gate: Tensor | None, gate: Tensor, out: Tensor) -> None:
    if d_gate is None:
        out.zero_()
        return
    d_gate = d_gate.to(out.dtype)
    if name == "sigmoid":
        torch.ops.aten.sigmoid_backward.grad_input(d_gate, gate, grad_input=out)
    elif name == "tanh":
        torch.ops.aten.tanh_backward.grad_input(d_gate, gate, grad_input=out)
    elif name == "relu":
        torch.mul(d_gate, gate > 0, out=out)
    else:
        out.copy_(d_gate)


def _differentiate(
    cell: Any, gates: Gates, state: tuple[Tensor, ...], d_new: list[Any], parameters: list[Tensor]
) -> tuple[Gates, list[Any], list[Tensor]]:
    """The derivative of one `update` by autograd: for gates, state and parameters."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (*gates, *state)]
        inside = leaves[: len(gates)], leaves[len(gates) :]
        answer = cell.update(inside[0], inside[1][0] if len(state) == 1 else tuple(inside[1]))
        new = (answer,) if len(state) == 1 else answer
        # A part that is handed on as it is (or from nowhere) has no graph of its own.
        pairs = [(value, d) for value, d in zip(new, d_new, strict=True) if value.requires_grad]
        wanted = [*leaves, *cell.update_parameters()]
        grads = torch.autograd.grad(
            [value for value, _ in pairs], wanted, [d.to(value.dtype) for value, d in pairs], allow_unused=True
        )
    ends = len(gates), len(gates) + len(state)
    shares = [
        torch.zeros_like(parameter) if share is None else share
        for parameter, share in zip(parameters, grads[ends[1] :], strict=True)
    ]
    return grads[: ends[0]], list(grads[ends[0] : ends[1]]), shares
