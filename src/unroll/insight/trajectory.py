"""What the states of every cell were, step after step: what the fast paths over time do not show."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unroll.cells.base import Cell, Masks
from unroll.recurrent import Recurrent
from unroll.state import State, flatten, map_state

_SATURATED = 0.1  # of a gate's range, from either end (Karpathy et al. 2015, section 4.2)


@dataclass
class Trajectory:
    """What a cell went through in one sequence.

    Attributes:
        cell: it.
        inputs: what each step was given: the projected input, the state before it, and masks.
        states: after each step; gradients with regard to them can be asked for.
        saturated: of each step the shares of its gates (sigmoids) near 0 or 1, and of its units (tanh) near -1 or 1; NaN
            where a step has none.
    """

    cell: Cell
    inputs: list[tuple[Tensor, State, Masks]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    saturated: list[tuple[Tensor, Tensor]] = field(default_factory=list)


@contextmanager
def traced(module: nn.Module) -> Iterator[dict[str, Trajectory]]:
    """Send all stacks of a module along the plain loop, and keep what their cells go through.

    Args:
        module: with `Recurrent` in it, anywhere.

    Yields:
        By the name of each cell, filled as the module is called. Where a cell is called for several batches, as when a
        tagger spells words of like length together, the one of the most steps in all is kept. The steps that a forecaster
        branches off into the segments of a future follow each other in no sequence, and are left out.
    """
    found: dict[str, Trajectory] = {}
    with ExitStack() as stack:
        for name, recurrent in module.named_modules():
            if not isinstance(recurrent, Recurrent):
                continue
            stack.enter_context(_set(recurrent, "backend", "loop"))
            stack.enter_context(_set(recurrent, "recompute", None))
            for kind in ("layers", "reverse_layers"):
                for depth, cell in enumerate(getattr(recurrent, kind), 1):
                    reads = " reverse" if kind == "reverse_layers" else ""
                    part = name.removeprefix("model").strip(".")
                    title = f"{part} layer {depth}{reads}" if part != "recurrent" else f"layer {depth}{reads}"
                    stack.enter_context(_recorded(cell, title, found))
        yield found


@contextmanager
def untruncated(module: nn.Module) -> Iterator[None]:
    """Let gradients through all steps for a while, whatever the run's truncation is."""
    with ExitStack() as stack:
        for part in module.modules():
            for name in ("horizon", "encoder_horizon"):
                if hasattr(part, name):
                    stack.enter_context(_set(part, name, None))
        yield


@contextmanager
def _set(part: object, name: str, value: Any) -> Iterator[None]:
    before = getattr(part, name)
    setattr(part, name, value)
    try:
        yield
    finally:
        setattr(part, name, before)


@contextmanager
def _recorded(cell: Any, title: str, found: dict[str, Trajectory]) -> Iterator[None]:
    calls = [Trajectory(cell)]
    step, branch, initial_state = cell.step, cell.branch, cell.initial_state

    def recorded_step(px_t: Tensor, state: State, *masks: Tensor) -> State:
        counts = _Activations()
        with counts:
            new = step(px_t, state, *masks)
        # Each part stands for itself: a gradient with regard to an LSTM's c_t must not hold what goes by the h_t made of it.
        new = map_state(_own, new)
        if calls[-1].states and _rows(calls[-1].states[0]) != _rows(new):
            calls.append(Trajectory(cell))
        calls[-1].inputs.append((px_t, state, masks))
        calls[-1].states.append(new)
        calls[-1].saturated.append(counts.shares())
        found[title] = max(calls, key=lambda call: len(call.states) * _rows(call.states[0]))
        return new

    def unrecorded_branch(px: Tensor, state: State, masks: Masks = ()) -> Tensor:
        with _set(cell, "step", step):
            return cast(Tensor, branch(px, state, masks))

    def recorded_beginning(batch_size: int, like: Tensor) -> State:
        if calls[-1].states:
            calls.append(Trajectory(cell))
        return initial_state(batch_size, like)

    # On the object itself, where they hide the class's own.
    cell.step, cell.branch, cell.initial_state = recorded_step, unrecorded_branch, recorded_beginning
    try:
        yield
    finally:
        del cell.step, cell.branch, cell.initial_state


def _rows(state: State) -> int:
    return len(flatten(state)[0])


def _own(tensor: Tensor) -> Tensor:
    own = tensor.view_as(tensor)
    return own if own.requires_grad else own.detach().requires_grad_()  # where truncation keeps no graph


class _Activations(TorchFunctionMode):
    """Counts what comes out of sigmoids and tanhs near the ends of their range."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, list[Tensor]] = {"sigmoid": [], "tanh": []}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in self._found and isinstance(out, Tensor):
            self._found[name].append(out.detach())
        return out

    def shares(self) -> tuple[Tensor, Tensor]:
        """Of gates, and of units."""
        gates = [(0.5 - (out - 0.5).abs()) for out in self._found["sigmoid"]]
        units = [(1 - out.abs()) / 2 for out in self._found["tanh"]]
        return _share(gates), _share(units)


def _share(distances: list[Tensor]) -> Tensor:
    """Of numbers that are nearer to an end of their range, which is of length one, than they may."""
    flat = torch.cat([distance.flatten() for distance in distances] or [torch.empty(0)])
    return flat.lt(_SATURATED).float().mean()  # NaN of nothing
