"""The minimal GRU (Feng et al. 2024, "Were RNNs All We Needed?", section 3.1): gates see the input only."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from unroll.cells.linear import LinearCell


class MinGRU(LinearCell):
    """The state is h, (batch, hidden_size).

        z_t = sigmoid(W_z x_t + b_z)              update gate
        n_t = W_n x_t + b_n                       candidate
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    The paper's form in linear space: its candidate is not squashed, nor does it have to be positive.

    Args:
        input_size, hidden_size: see `Cell`.
        memory: how many steps a unit remembers at the start, about: z starts at 1 / memory.
        bias: whether there are biases; without, `memory` is not used.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        memory: Annotated[float, Field(gt=1)] = 2.0,
        bias: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        for block in self.W.data.chunk(2):
            nn.init.xavier_uniform_(block)
        self.b = nn.Parameter(torch.zeros(2 * hidden_size)) if bias else None
        if self.b is not None:
            self.b.data[:hidden_size] = torch.logit(torch.tensor(1 / memory))

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)

    def coefficients(self, px: Tensor) -> tuple[Tensor, Tensor]:
        # In half precision 1 - z and z would be rounded apart: with a z next to nothing h would only add up.
        z, n = px.to(self.W.dtype).chunk(2, dim=-1)
        return torch.sigmoid(-z), torch.sigmoid(z) * n
