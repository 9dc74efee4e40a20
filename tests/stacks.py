"""Stacks of any cell, and what it takes to compare them."""

import functools

import hydra.utils
import torch
from conftest import MODELS, composed
from torch import Tensor

from unroll.recurrent import Recurrent
from unroll.state import State, map_state

DOUBLE = {"rtol": 1e-9, "atol": 1e-11}


def stack(model: str, *overrides: str, input_size: int = 5, hidden_size: int = 8) -> Recurrent:
    # Sequences here are short: an edge over 8 steps would never be passed. Heads are few: the norm of two numbers is a sign.
    small = {"distance": 3, "heads": hidden_size // 4}
    options = composed(f"model={model}")["model"]["cell"]
    chosen = [f"model.cell.{key}={value}" for key, value in small.items() if key in options]
    config = composed(f"model={model}", f"model.hidden_size={hidden_size}", *chosen, *overrides)
    made = hydra.utils.instantiate(config["model"], _convert_="all")(input_size=input_size).double()
    # Weights away from their special start (zero biases, orthogonal matrices), where a mistake could hide.
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


@functools.cache
def paths() -> list[tuple[str, str]]:
    """(model, path) for every path over time of every cell."""
    return [(model, path) for model in MODELS for path in stack(model).layers[0].paths]


def leaves(state: State) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [leaf for part in state for leaf in leaves(part)]


def some_state(recurrent: Recurrent, batch_size: int) -> State:
    """One that the network itself has reached."""
    with torch.no_grad():
        _, state = recurrent(torch.randn(3, batch_size, recurrent.input_size, dtype=torch.float64))
    return map_state(lambda part: part.clone().requires_grad_(), state)


def by_loop(recurrent: Recurrent, x: Tensor, state: State, lengths: Tensor | None = None) -> tuple[Tensor, State]:
    """The stack's reference: every layer's plain loop over `step`."""
    final = []
    for layer, layer_state in zip(recurrent.layers, state, strict=True):
        x, layer_state = layer.loop(x, layer_state, lengths)
        final.append(layer_state)
    return recurrent.norm(x), tuple(final)


def results(outputs: Tensor, final: State, inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, final state, and the gradients of a sum in which each of their entries has a weight of its own."""
    generator = torch.Generator().manual_seed(7)
    values = [outputs, *leaves(final)]
    total = sum((value * torch.randn(value.shape, generator=generator, dtype=value.dtype)).sum() for value in values)
    assert isinstance(total, Tensor)
    return [*values, *torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)]


def assert_same(ours: list[Tensor], theirs: list[Tensor], **tolerance: float) -> None:
    for value, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(value, reference, **(tolerance or DOUBLE))
