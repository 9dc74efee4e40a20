"""A stack of layers of one cell: the part that every model is built from."""

from collections.abc import Callable
from typing import cast

from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.base import Cell
from unroll.schema import Probability
from unroll.state import State


class Recurrent(nn.Module):
    """`y, state = recurrent(x, state)`: the state always goes in and comes out; nothing is kept inside.

    Args:
        input_size: features of x.
        hidden_size: units a layer.
        cell: makes a layer: called as `cell(input_size, hidden_size)`.
        num_layers: how many lie over each other, each reading the outputs of the one below.
        dropout: probability that a feature is dropped between two layers, drawn anew for every step
            (Zaremba et al. 2014: never along the recurrent path).
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        cell: Callable[[int, int], Cell],
        num_layers: PositiveInt = 1,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.layers = nn.ModuleList(
            cell(input_size if layer == 0 else hidden_size, hidden_size) for layer in range(num_layers)
        )
        self.dropout = nn.Dropout(dropout)

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        """Every layer's initial state, in the device and type of `like`."""
        return tuple(cast(Cell, layer).initial_state(batch_size, like) for layer in self.layers)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over a sequence, or over a window of one.

        Args:
            x: (time, batch, input_size), time >= 1.
            state: a tuple with the state of each layer before the first step; None for the initial state.

        Returns:
            The top layer's outputs (time, batch, hidden_size), and the state after the last step: what continues the
            sequence when it is given with the next window.
        """
        if state is None:
            state = self.initial_state(x.shape[1], x)
        final = []
        for depth, (layer, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            if depth > 0:
                x = self.dropout(x)
            x, layer_state = layer(x, layer_state)
            final.append(layer_state)
        return x, tuple(final)
