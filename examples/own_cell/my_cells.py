"""Cells of one's own: the update gate network of Collins et al. 2017, "Capacity and Trainability in RNNs"."""

from pydantic import PositiveInt
from torch import Tensor

from unroll.cells.unitwise import UnitwiseCell


class UGRNN(UnitwiseCell):
    """g_t = sigmoid(...), c_t = tanh(...), h_t = g_t * h_{t-1} + (1 - g_t) * c_t."""

    def __init__(self, input_size: PositiveInt, hidden_size: PositiveInt) -> None:
        super().__init__(input_size, hidden_size, gates=("sigmoid", "tanh"))

    def update(self, gates: tuple[Tensor, ...], state: Tensor, *parameters: Tensor) -> Tensor:
        g, c = gates
        return g * state + (1 - g) * c
