"""The LSTM whose gates see the cell (Gers & Schmidhuber 2000; Greff et al. 2017, section II)."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.unitwise import Gates, UnitwiseCell
from unroll.schema import Probability
from unroll.state import State


class PeepholeLSTM(UnitwiseCell):
    """The state is (h, c), each (batch, hidden_size). `LSTM`, with

        i_t = sigmoid(... + p_i * c_{t-1}),  f_t = sigmoid(... + p_f * c_{t-1}),  o_t = sigmoid(... + p_o * c_t)

    Args:
        input_size, hidden_size: see `Cell`.
        forget_bias: where b_f starts.
        weight_drop: see `UnitwiseCell`.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        forget_bias: float = 1.0,
        weight_drop: Probability = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, ("linear", "linear", "tanh", "linear"), weight_drop=weight_drop)
        assert self.b is not None
        self.b.data[hidden_size : 2 * hidden_size] = forget_bias
        self.p_i, self.p_f, self.p_o = (nn.Parameter(torch.zeros(hidden_size)) for _ in range(3))

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        zeros = like.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def update_parameters(self) -> tuple[Tensor, ...]:
        return self.p_i, self.p_f, self.p_o

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        p_i, p_f, p_o = parameters
        i, f, g, o = gates  # the peepholes come before the activation of i, f and o
        _, c = state
        i = torch.sigmoid(i + p_i * c)
        f = torch.sigmoid(f + p_f * c)
        c = f * c + i * g
        return torch.sigmoid(o + p_o * c) * torch.tanh(c), c
