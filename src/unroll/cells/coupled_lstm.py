"""The LSTM that forgets as much as it takes in (Greff et al. 2017, section III: CIFG)."""

import torch
from pydantic import PositiveInt
from torch import Tensor

from unroll.cells.unitwise import Gates, UnitwiseCell
from unroll.schema import Probability
from unroll.state import State


class CoupledLSTM(UnitwiseCell):
    """The state is (h, c), each (batch, hidden_size). `LSTM` with i_t = 1 - f_t:

        f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)
        g_t =    tanh(W_g x_t + U_g h_{t-1} + b_g)
        o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)
        c_t = f_t * c_{t-1} + (1 - f_t) * g_t
        h_t = o_t * tanh(c_t)

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
        super().__init__(input_size, hidden_size, ("sigmoid", "tanh", "sigmoid"), weight_drop=weight_drop)
        assert self.b is not None
        self.b.data[:hidden_size] = forget_bias

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        zeros = like.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        f, g, o = gates
        _, c = state
        c = torch.lerp(g.to(c.dtype), c, f.to(c.dtype))
        return o * torch.tanh(c), c
