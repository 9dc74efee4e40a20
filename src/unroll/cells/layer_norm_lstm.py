"""The LSTM with layer normalization (Ba et al. 2016, supplementary material, equations 20 to 22)."""

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.unitwise import Gates, UnitwiseCell
from unroll.schema import Probability
from unroll.state import State


class LayerNormLSTM(UnitwiseCell):
    """The state is (h, c), each (batch, hidden_size).

        a_t = LN(W x_t; g_W) + LN(U h_{t-1}; g_U) + b
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g),  (i, f, g, o) = a_t
        h_t = sigmoid(o) * tanh(LN(c_t; g_c) + b_c)

    LN normalizes over all gates together, as the paper does.

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
        super().__init__(input_size, hidden_size, ("sigmoid", "sigmoid", "tanh", "sigmoid"), weight_drop=weight_drop)
        assert self.b is not None
        self.b.data[hidden_size : 2 * hidden_size] = forget_bias
        self.g_W, self.g_U = (nn.Parameter(torch.ones(4 * hidden_size)) for _ in range(2))
        self.g_c, self.b_c = nn.Parameter(torch.ones(hidden_size)), nn.Parameter(torch.zeros(hidden_size))

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        zeros = like.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def project(self, x: Tensor) -> Tensor:
        return F.layer_norm(F.linear(x, self.W), self.g_W.shape, self.g_W, self.b)

    def enter_parameters(self) -> tuple[Tensor, ...]:
        return (self.g_U,)

    def enter(self, uh_t: Tensor, *parameters: Tensor) -> Tensor:
        (g_U,) = parameters
        return F.layer_norm(uh_t, g_U.shape, g_U)

    def update_parameters(self) -> tuple[Tensor, ...]:
        return self.g_c, self.b_c

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        i, f, g, o = gates
        _, c = state
        g_c, b_c = parameters
        c = f * c + i * g
        return o * torch.tanh(F.layer_norm(c, g_c.shape, g_c, b_c)), c
