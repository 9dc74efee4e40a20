"""The independently recurrent network (Li et al. 2018): a unit hears of itself only."""

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.base import Cell
from unroll.state import State


class IndRNN(Cell):
    """h_t = relu(W x_t + u * h_{t-1} + b), with a single recurrent weight a unit (the paper's equation 2).

    Args:
        input_size, hidden_size: see `Cell`.
        max_weight: the recurrent weights start evenly spread over [0, max_weight] and are held within +-max_weight: 1
            lets nothing grow over time; 2^(1/T) lets it double over T steps (the paper's section 3.2).
        bias: whether there is a b.
    """

    def __init__(
        self, input_size: PositiveInt, hidden_size: PositiveInt, max_weight: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Parameter(nn.init.xavier_uniform_(torch.empty(hidden_size, input_size)))
        self.u = nn.Parameter(torch.linspace(0, max_weight, hidden_size))
        self.b = nn.Parameter(torch.zeros(hidden_size)) if bias else None
        self.max_weight = max_weight

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        # The bound is no part of the graph: a weight that has crossed it can still come back.
        u = self.u + (self.u.clamp(-self.max_weight, self.max_weight) - self.u).detach()
        return torch.relu(px_t + u * state)
