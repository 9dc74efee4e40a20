"""The gated recurrent unit (Cho et al. 2014; with the reset gate behind the product, as cuDNN and torch have it)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.fused import FusedCell, RecurrentInit
from unroll.cells.unitwise import Gates
from unroll.schema import Probability
from unroll.state import State


class GRU(FusedCell):
    """The state is h, (batch, hidden_size).

        r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)               reset gate
        z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)               update gate
        n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b'_n))   candidate
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Args:
        input_size, hidden_size: see `Cell`.
        bias: whether there are biases.
        recurrent_init: see `FusedCell`.
        weight_drop: see `UnitwiseCell`.
    """

    paths: ClassVar[tuple[str, ...]] = ("fused", "loop")

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        bias: bool = True,
        recurrent_init: RecurrentInit = "orthogonal",
        weight_drop: Probability = 0.0,
    ) -> None:
        super().__init__(
            nn.GRU(input_size, hidden_size, bias=bias), ("sigmoid", "sigmoid", "tanh"), recurrent_init, weight_drop
        )

    def input_map(self) -> tuple[Tensor, Tensor | None]:
        return self.W, self.b_W

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        h = state
        (U,) = masks or (self.U,)
        r_x, z_x, n_x = px_t.chunk(3, dim=-1)
        r_h, z_h, n_h = F.linear(h, U, self.b_U).chunk(3, dim=-1)
        r = torch.sigmoid(r_x + r_h)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        return (1 - z) * n + z * h

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        raise NotImplementedError("the candidate takes the products of x and of h apart: see step")
