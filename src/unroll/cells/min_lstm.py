"""The minimal LSTM (Feng et al. 2024, "Were RNNs All We Needed?", section 3.2): gates see the input only."""

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.linear import LinearCell


class MinLSTM(LinearCell):
    """The state is h, (batch, hidden_size).

        f_t = sigmoid(W_f x_t + b_f)                      forget gate
        i_t = sigmoid(W_i x_t + b_i)                      input gate
        n_t = W_n x_t + b_n                               candidate
        f'_t, i'_t = f_t / (f_t + i_t), i_t / (f_t + i_t)
        h_t = f'_t * h_{t-1} + i'_t * n_t

    Args:
        input_size, hidden_size: see `Cell`.
        forget_bias: where b_f starts.
        bias: whether there are biases; without, forget_bias is not used.
    """

    def __init__(
        self, input_size: PositiveInt, hidden_size: PositiveInt, forget_bias: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        for block in self.W.data.chunk(3):
            nn.init.xavier_uniform_(block)
        self.b = nn.Parameter(torch.zeros(3 * hidden_size)) if bias else None
        if self.b is not None:
            self.b.data[:hidden_size] = forget_bias

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)

    def coefficients(self, px: Tensor) -> tuple[Tensor, Tensor]:
        # In half precision f' and i' would be rounded apart: with an i' next to nothing h would only add up.
        f, i, n = px.to(self.W.dtype).chunk(3, dim=-1)
        # f / (f + i) as a sigmoid of log f - log i: no quotient of two numbers that may both vanish.
        balance = F.logsigmoid(f) - F.logsigmoid(i)
        return torch.sigmoid(balance), torch.sigmoid(-balance) * n
