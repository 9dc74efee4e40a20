"""Cells in which all but one product acts on each unit by itself, and their fast path."""

from abc import abstractmethod
from collections.abc import Callable
from itertools import groupby
from typing import Any, ClassVar, Literal, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.state import State

Activation = Literal["sigmoid", "tanh", "relu", "linear"]
Gates = tuple[Tensor, ...]


class UnitwiseCell(Cell):
    """a_t = W x_t + b + U h_{t-1}; gates_t = their activations of a_t, a block each; from there on every unit for itself:
    state_t = update(gates_t, state_{t-1}).

    A subclass names its gates' activations and writes `update`. A state of several parts is a tuple that begins with h.

    The analytic path is a loop that builds no graph, keeps only the gates and the states, and has one product for U's
    gradient after the loop instead of one a step. The derivative of `update` is written down once from what autograd does.

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
    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        """gates: (batch, hidden_size) each; the state before the step -> the state after it. Changes nothing in place."""

    def update_parameters(self) -> tuple[Tensor, ...]:
        """What else `update` is given: parameters that it reads, (hidden_size,) each; none for most."""
        return ()

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)

    def draw_masks(self, batch_size: int, like: Tensor) -> Masks:
        return (F.dropout(self.U, self.weight_drop),) if self.training and self.weight_drop else ()

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        (U,) = masks or (self.U,)
        gates = self.activate(px_t + F.linear(self.output(state), U))
        return self.update(gates, state, *self.update_parameters())

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
        cell: has gates, update and update_parameters, as `UnitwiseCell`.
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
                for activate, block in _runs(cell.gates, gates):
                    activate(block)
            # Views of every step are taken at once: one by one, in the loop, they would cost as much as its arithmetic.
            gates_of = list(zip(*(block.unbind(0) for block in gates.chunk(len(cell.gates), -1)), strict=True))
            runs = [(activate, block.unbind(0)) for activate, block in _runs(cell.gates, gates)]
            now: Any = initial
            kept: list[tuple[Tensor, ...]] = []
            for t, (px_t, a_t) in enumerate(zip(px.unbind(0), gates.unbind(0), strict=True)):
                if U_t is not None:
                    torch.addmm(px_t, now[0].to(px.dtype), U_t, out=a_t)
                    for activate, blocks in runs:
                        activate(blocks[t])
                new = cell.update(gates_of[t], now[0] if count == 1 else now, *parameters)
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
        derivative = None
        befores = [(first, *values.unbind(0)[:-1]) for first, values in zip(initial, trajectories, strict=True)]
        from_above = [None if d is None else d.unbind(0) for d in d_trajectories]
        gates_of = list(zip(*(block.unbind(0) for block in gates.chunk(len(cell.gates), -1)), strict=True))
        U_here = None if U is None else U.to(gates.dtype)
        d_a = torch.empty_like(gates)
        d_a_of = d_a.unbind(0)
        backs = [
            (_BACKWARD[name], block.unbind(0))
            for name, block in zip(cell.gates, d_a.chunk(len(cell.gates), -1), strict=True)
        ]
        d: list[Any] = [None] * count
        d_parameters = [torch.zeros_like(parameter) for parameter in parameters]
        for t in range(len(gates) - 1, -1, -1):
            for part, above in enumerate(from_above):
                if above is not None:
                    d[part] = above[t] if d[part] is None else d[part] + above[t]
                elif d[part] is None:
                    d[part] = torch.zeros_like(initial[part])
            arguments = [*gates_of[t], *(values[t] for values in befores), *parameters, *d]
            if derivative is None:
                derivative = _derivative(cell, count, arguments)
            answer = derivative(*arguments)
            for (back, outs), d_gate, gate in zip(backs, answer, gates_of[t], strict=False):
                back(d_gate, gate, outs[t])
            d = answer[len(backs) : len(backs) + count]
            for total, share in zip(d_parameters, answer[len(backs) + count :], strict=True):
                if share is not None:
                    total += share
            if U_here is not None:
                through_U = torch.mm(d_a_of[t], U_here).to(initial[0].dtype)
                d[0] = through_U if d[0] is None else d[0] + through_U
        d_U = None
        if U is not None:
            h = trajectories[0]
            # Of every step but the first, and of the first, whose h is the initial one.
            d_U = d_a[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1).to(d_a.dtype)
            d_U = d_U.addmm_(d_a[0].t(), initial[0].to(d_a.dtype)).to(U.dtype)
        return (None, d_a, d_U, None, *d, *d_parameters)


_IN_PLACE: dict[str, Callable[[Tensor], Any]] = {
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "linear": lambda a: a,
}


def _runs(names: tuple[Activation, ...], a: Tensor) -> list[tuple[Callable[[Tensor], Any], Tensor]]:
    """In-place activations and the blocks of `a` that they are for; neighbours with the same one together."""
    width = a.shape[-1] // len(names)
    found = []
    start = 0
    for name, group in groupby(names):
        stop = start + width * len(list(group))
        if name != "linear":
            found.append((_IN_PLACE[name], a[..., start:stop]))
        start = stop
    return found


def _sigmoid_back(d: Tensor | None, gate: Tensor, out: Tensor) -> None:
    if d is None:
        out.zero_()
    else:
        torch.ops.aten.sigmoid_backward.grad_input(d, gate, grad_input=out)


def _tanh_back(d: Tensor | None, gate: Tensor, out: Tensor) -> None:
    if d is None:
        out.zero_()
    else:
        torch.ops.aten.tanh_backward.grad_input(d, gate, grad_input=out)


def _relu_back(d: Tensor | None, gate: Tensor, out: Tensor) -> None:
    if d is None:
        out.zero_()
    else:
        torch.mul(d, gate > 0, out=out)


def _linear_back(d: Tensor | None, gate: Tensor, out: Tensor) -> None:
    if d is None:
        out.zero_()
    else:
        out.copy_(d)


_BACKWARD: dict[str, Callable[[Tensor | None, Tensor, Tensor], None]] = {
    "sigmoid": _sigmoid_back,
    "tanh": _tanh_back,
    "relu": _relu_back,
    "linear": _linear_back,
}


_derivatives: WeakKeyDictionary[Any, dict[Any, Callable[..., list[Any]]]] = WeakKeyDictionary()


def _derivative(cell: Any, count: int, arguments: list[Tensor]) -> Callable[..., list[Any]]:
    """The derivative of `update` as a straight list of operations, written down once from what autograd does.

    Run a step at a time, autograd itself would cost more than the operations on (batch, hidden_size).

    Args:
        cell: see `run_analytic`.
        count: parts of the state.
        arguments: of a step: gates, state, update's parameters, and gradients for the new state.

    Returns:
        A function of such arguments; it returns the gradients for gates, state and parameters, None for what has none.
    """
    known = _derivatives.setdefault(cell, {})
    key = tuple((argument.shape, argument.dtype) for argument in arguments)
    if key not in known:
        gates, inputs = len(cell.gates), len(arguments) - count

        trained = [parameter.requires_grad for parameter in cell.update_parameters()]

        def back(*tensors: Tensor) -> list[Any]:
            with torch.enable_grad():
                leaves = [
                    tensor.detach().requires_grad_(wanted)
                    for tensor, wanted in zip(tensors, [True] * (gates + count) + trained, strict=False)
                ]
                state = leaves[gates : gates + count]
                answer = cell.update(
                    tuple(leaves[:gates]), state[0] if count == 1 else tuple(state), *leaves[gates + count :]
                )
                new = (answer,) if count == 1 else answer
                d_new = [d.to(value.dtype) for value, d in zip(new, tensors[inputs:], strict=True)]
                wanted = [leaf for leaf in leaves if leaf.requires_grad]
                found = iter(torch.autograd.grad(new, wanted, d_new, allow_unused=True))
                return [next(found) if leaf.requires_grad else None for leaf in leaves]

        with torch.enable_grad():
            traced = make_fx(back)(*arguments)
        for node in traced.graph.nodes:
            if node.target is torch.ops.aten.detach.default:
                node.replace_all_uses_with(node.args[0])
        traced.graph.eliminate_dead_code()
        traced.recompile()
        known[key] = traced.forward
    return known[key]
