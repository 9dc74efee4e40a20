"""The analytic path over time: a loop that builds no graph."""

from collections.abc import Callable
from itertools import groupby
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from unroll.cells.base import at_ends, cut_outputs
from unroll.errors import UserError
from unroll.state import State

Activation = Literal["sigmoid", "tanh", "relu", "linear"]

_IN_PLACE: dict[str, Callable[[Tensor], Any]] = {
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
    "relu": torch.relu_,
}

# (gradient for y, y, out), where y = activation(a): writes the gradient for a.
_BACK: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "sigmoid": lambda d, y, out: torch.ops.aten.sigmoid_backward.grad_input(d, y, grad_input=out),
    "tanh": lambda d, y, out: torch.ops.aten.tanh_backward.grad_input(d, y, grad_input=out),
    "relu": lambda d, y, out: torch.mul(d, y > 0, out=out),
    "linear": lambda d, y, out: out.copy_(d),
}


def run_analytic(cell: Any, px: Tensor, U: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    """The loop over a cell's `update`, and back over its derivative.

    Args:
        cell: has what `UnitwiseCell` says: gates, enter, enter_parameters, update and update_parameters.
        px: (time, batch, gates * hidden_size), the projected input.
        U: the recurrent matrix.
        state, lengths: see `Cell.loop`.
    """
    single = isinstance(state, Tensor)
    parts = (state,) if single else state
    trajectories = _Analytic.apply(cell, px, U, len(parts), *parts, *cell.update_parameters(), *cell.enter_parameters())
    final = tuple(at_ends(values, part, lengths) for values, part in zip(trajectories, parts, strict=True))
    return cut_outputs(trajectories[0], lengths), final[0] if single else final


class _Analytic(torch.autograd.Function):
    """(projected input, U, parts of the state, parameters of update and enter) -> the trajectory (time, batch, units) of
    each part."""

    @staticmethod
    def forward(ctx: Any, cell: Any, px: Tensor, U: Tensor, count: int, *rest: Tensor) -> tuple[Tensor, ...]:
        initial, parameters = rest[:count], rest[count:]
        inside = len(cell.update_parameters())
        of_update, of_enter = parameters[:inside], parameters[inside:]
        with torch.autocast(px.device.type, enabled=False):
            U_t = U.to(px.dtype).t()
            # a_t, and then the activations in its place.
            gates = torch.empty_like(px)
            # U h_{t-1} is kept where something is done with it before it joins a_t.
            entering = torch.empty_like(px) if of_enter else None
            # Views of every step are taken at once: one by one, in the loop, they would cost as much as its arithmetic.
            gates_of = _blocks(gates, len(cell.gates))
            activations = [(activate, block.unbind(0)) for activate, block in _activations(cell.gates, gates)]
            now: Any = initial
            trajectories = tuple(part.new_empty(len(px), *part.shape) for part in initial)
            places = [trajectory.unbind(0) for trajectory in trajectories]
            for t, (px_t, a_t) in enumerate(zip(px.unbind(0), gates.unbind(0), strict=True)):
                h = now[0].to(px.dtype)
                if entering is None:
                    torch.addmm(px_t, h, U_t, out=a_t)
                else:
                    torch.mm(h, U_t, out=entering[t])
                    torch.add(px_t, cell.enter(entering[t], *of_enter), out=a_t)
                for activate, blocks in activations:
                    activate(blocks[t])
                new = cell.update(gates_of[t], now[0] if count == 1 else now, *of_update)
                now = (new,) if count == 1 else new
                for place, value in zip(places, now, strict=True):
                    place[t].copy_(value)
        ctx.save_for_backward(gates, entering, U, *initial, *trajectories, *parameters)
        ctx.cell, ctx.count, ctx.inside = cell, count, inside
        ctx.set_materialize_grads(False)
        return trajectories

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *d_trajectories: Tensor | None) -> Any:
        cell, count = ctx.cell, ctx.count
        gates, entering, U, *saved = ctx.saved_tensors
        initial, trajectories, parameters = saved[:count], saved[count : 2 * count], saved[2 * count :]
        of_update, of_enter = parameters[: ctx.inside], parameters[ctx.inside :]
        before_of = [(first, *values.unbind(0)[:-1]) for first, values in zip(initial, trajectories, strict=True)]
        from_above = [None if d is None else d.unbind(0) for d in d_trajectories]
        gates_of = _blocks(gates, len(cell.gates))
        U_here = U.to(gates.dtype)
        d_a = torch.empty_like(gates)
        d_a_of, d_gates_of = d_a.unbind(0), _blocks(d_a, len(cell.gates))
        d_entering = d_a if entering is None else torch.empty_like(entering)
        d: list[Any] = [None] * count
        totals: list[Any] = [None] * len(parameters)
        trained = ctx.needs_input_grad[4 + count :]
        wanted = [True] * (len(cell.gates) + count) + list(trained[: ctx.inside])
        wanted_entering = [True, *trained[ctx.inside :]]
        back_through_update = back_through_enter = None

        def update(*tensors: Tensor) -> tuple[Tensor, ...]:
            inputs, state = tensors[: len(cell.gates)], tensors[len(cell.gates) :][:count]
            rest = tensors[len(cell.gates) + count :]
            answer = cell.update(inputs, state[0] if count == 1 else state, *rest)
            return (answer,) if count == 1 else answer

        for t in range(len(gates) - 1, -1, -1):
            for part, above in enumerate(from_above):
                if above is not None:
                    d[part] = above[t] if d[part] is None else d[part] + above[t]
                elif d[part] is None:
                    d[part] = torch.zeros_like(initial[part])
            inputs = [*gates_of[t], *(values[t] for values in before_of), *of_update]
            if back_through_update is None:
                back_through_update = _derivative(cell, update, inputs, d, wanted)
            answer = back_through_update(*inputs, *d)
            for name, d_gate, gate, out in zip(cell.gates, answer, gates_of[t], d_gates_of[t], strict=False):
                if d_gate is None:
                    out.zero_()
                else:
                    _BACK[name](d_gate, gate, out)
            d = answer[len(cell.gates) :][:count]
            shares = answer[len(cell.gates) + count :]
            if entering is not None:
                inputs = [entering[t], *of_enter]
                if back_through_enter is None:
                    back_through_enter = _derivative(cell, cell.enter, inputs, [d_a_of[t]], wanted_entering)
                d_entering[t], *more = back_through_enter(*inputs, d_a_of[t])
                shares += more
            for index, share in enumerate(shares):
                if share is not None:
                    totals[index] = share if totals[index] is None else totals[index] + share
            through_U = torch.mm(d_entering[t], U_here).to(initial[0].dtype)
            d[0] = through_U if d[0] is None else d[0] + through_U
        h = trajectories[0]
        # Of every step but the first, and of the first, whose h is the initial one.
        d_U = d_entering[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1).to(d_a.dtype)
        d_U = d_U.addmm_(d_entering[0].t(), initial[0].to(d_a.dtype)).to(U.dtype)
        return (None, d_a, d_U, None, *d, *totals)


def _blocks(a: Tensor, count: int) -> list[tuple[Tensor, ...]]:
    """a: (time, batch, count * units) -> for each step its blocks, (batch, units) each."""
    return list(zip(*(block.unbind(0) for block in a.chunk(count, -1)), strict=True))


def _activations(names: tuple[Activation, ...], a: Tensor) -> list[tuple[Callable[[Tensor], Any], Tensor]]:
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


_written: WeakKeyDictionary[Any, dict[Any, Callable[..., list[Any]]]] = WeakKeyDictionary()


def _derivative(
    cell: Any, function: Callable[..., Any], inputs: list[Tensor], d_outputs: list[Tensor], wanted: list[bool]
) -> Callable[..., list[Any]]:
    """The derivative of a function as a list of operations, written down once from what autograd does.

    Run a step at a time, autograd itself would cost more than the operations on (batch, hidden_size).

    Args:
        cell: whose function it is.
        function: of tensors, returning a tensor or a tuple of them.
        inputs, d_outputs: what it is given, and gradients for what it returns; the shapes of these hold for the answer.
        wanted: for which inputs a gradient is asked.

    Returns:
        A function of (*inputs, *d_outputs) that returns a gradient for each input; None where it has none, or none is
        wanted.
    """
    tensors = [*inputs, *d_outputs]
    key = (function.__name__, *wanted, *((tensor.shape, tensor.dtype) for tensor in tensors))
    known = _written.setdefault(cell, {})
    if key not in known:

        def back(*tensors: Tensor) -> list[Any]:
            with torch.enable_grad():
                leaves = [tensor.detach().requires_grad_(asked) for tensor, asked in zip(tensors, wanted, strict=False)]
                answer = function(*leaves)
                outputs = (answer,) if isinstance(answer, Tensor) else answer
                d = [d.to(value.dtype) for value, d in zip(outputs, tensors[len(leaves) :], strict=True)]
                asked = [leaf for leaf in leaves if leaf.requires_grad]
                found = iter(torch.autograd.grad(outputs, asked, d, allow_unused=True))
                return [next(found) if leaf.requires_grad else None for leaf in leaves]

        _check_arguments(cell, function, inputs)
        with torch.enable_grad():
            traced = make_fx(back)(*tensors)
        for node in traced.graph.nodes:
            if node.target is torch.ops.aten.detach.default:
                node.replace_all_uses_with(node.args[0])
        traced.graph.eliminate_dead_code()
        traced.recompile()
        known[key] = traced.forward
    return known[key]


def _check_arguments(cell: Any, function: Callable[..., Any], inputs: list[Tensor]) -> None:
    """Does the function reach a parameter in any other way than as an argument? It would never be trained."""
    parameters = {name: parameter for name, parameter in cell.named_parameters() if parameter.requires_grad}
    with torch.enable_grad():
        answer = function(*(tensor.detach() for tensor in inputs))
        outputs = (answer,) if isinstance(answer, Tensor) else answer
        totals = [value.sum() for value in outputs if value.requires_grad]
    if not totals or not parameters:
        return
    found = torch.autograd.grad(totals, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, found, strict=True):
        if gradient is not None:
            raise UserError(
                f"{type(cell).__name__}.{function.__name__} reads self.{name}, which would never be trained: return it from "
                f"{function.__name__}_parameters() and take it as an argument"
            )
