"""The simple recurrent network (Elman 1990; Goodfellow et al. 2016, section 10.2, equations 10.8 and 10.9)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.fused import FusedCell, RecurrentInit
from unroll.state import State


class RNN(FusedCell):
    """h_t = f(W x_t + U h_{t-1} + b), with f = tanh or ReLU.

    Args:
        input_size, hidden_size: see `Cell`.
        nonlinearity: f.
        bias: whether there is a b (torch's layers have two, which add).
        recurrent_init: see `FusedCell`. ReLU units want `identity`: h_t then starts as a sum over its inputs.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        recurrent_init: RecurrentInit = "orthogonal",
    ) -> None:
        layer = nn.RNN(input_size, hidden_size, nonlinearity=nonlinearity, bias=bias)
        super().__init__(layer, gates=1, recurrent_init=recurrent_init)
        self.f = torch.tanh if nonlinearity == "tanh" else torch.relu

    def step(self, px_t: Tensor, state: State) -> State:
        h = state
        return self.f(px_t + F.linear(h, self.U, self.b_U))
