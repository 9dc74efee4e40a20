"""The state of a recurrence: a tensor, or a nested tuple of tensors. Only this file knows that it is nested.

Every tensor of a state has the batch as its first dimension.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor

# Tensor | tuple["State", ...]; a cell takes its own state apart, which type checkers cannot follow through that union.
State: TypeAlias = Any


def map_state(function: Callable[..., Tensor], state: State, *others: State) -> State:
    """Apply `function` to every tensor of `state`, with the tensors at the same place of `others` beside it."""
    if isinstance(state, Tensor):
        return function(state, *others)
    return tuple(map_state(function, *parts) for parts in zip(state, *others, strict=True))


def flatten(state: State) -> list[Tensor]:
    """Its tensors, in order."""
    return [state] if isinstance(state, Tensor) else [tensor for part in state for tensor in flatten(part)]


def unflatten(tensors: Iterable[Tensor], like: State) -> State:
    """The inverse of `flatten`: tensors in the shape of nesting that `like` has."""
    remaining = iter(tensors)
    return map_state(lambda _: next(remaining), like)


def detach(state: State) -> State:
    """The same values with no way back for gradients: where backpropagation through time is cut."""
    return map_state(Tensor.detach, state)


def select(state: State, index: Tensor | slice) -> State:
    """The rows `index` of the batch; a slice is a view."""
    return map_state(lambda tensor: tensor[index], state)


def concatenate(states: list[State]) -> State:
    """States of several batches as the state of one."""
    return map_state(lambda *tensors: torch.cat(tensors), *states)


def where(rows: Tensor, state: State, other: State) -> State:
    """The rows of `state` where `rows`, (batch,) of bool, is true, and those of `other` elsewhere."""
    return map_state(
        lambda one, two: torch.where(rows.view(-1, *[1] * (one.dim() - 1)), one, two.to(one.dtype)), state, other
    )


def reset(state: State, rows: Tensor) -> State:
    """Zero the rows of the batch where `rows`, (batch,) of bool, is true."""
    return map_state(lambda tensor: tensor.masked_fill(rows.view(-1, *[1] * (tensor.dim() - 1)), 0), state)
