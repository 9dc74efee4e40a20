"""The simple recurrent network (Elman 1990; Goodfellow et al. 2016, section 10.2, equations 10.8 and 10.9)."""

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.fused import FusedCell, RecurrentInit
from unroll.cells.unitwise import Gates
from unroll.schema import Probability
from unroll.state import State

Nonlinearity = Literal["tanh", "relu"]


class RNN(FusedCell):
    """h_t = f(W x_t + U h_{t-1} + b), with f = tanh or ReLU.

    Args:
        input_size, hidden_size: see `Cell`.
        nonlinearity: f.
        bias: whether there is a b (torch's layers have two, which add).
        recurrent_init: see `FusedCell`. ReLU units want `identity`: h_t then starts as a sum over its inputs.
        weight_drop: see `UnitwiseCell`.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        recurrent_init: RecurrentInit = "orthogonal",
        weight_drop: Probability = 0.0,
    ) -> None:
        layer = nn.RNN(input_size, hidden_size, nonlinearity=nonlinearity, bias=bias)
        super().__init__(layer, (nonlinearity,), recurrent_init, weight_drop)

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        (h,) = gates
        return h
