"""Leaky units (Goodfellow et al. 2016, section 10.9.2; Mozer 1992; Jaeger et al. 2007)."""

import math
from typing import cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.rnn import Nonlinearity
from unroll.cells.unitwise import Gates, UnitwiseCell
from unroll.errors import UsageError
from unroll.schema import Probability
from unroll.state import State


class Leaky(UnitwiseCell):
    """h_t = alpha h_{t-1} + (1 - alpha) f(W x_t + U h_{t-1} + b).

    With alpha near 1 a unit remembers for about 1 / (1 - alpha) steps; with 0 it is a plain one.

    Args:
        input_size, hidden_size: see `Cell`.
        alpha: one value for all units, or [first, last]: from unit to unit 1 - alpha goes from 1 - first to 1 - last in
            equal ratios, so that their memories do.
        learned: whether alpha is trained (1 - alpha as the sigmoid of a parameter a unit).
        nonlinearity: f, `tanh` or `relu`.
        bias, weight_drop: see `UnitwiseCell`.

    Raises:
        UsageError: alpha is not in [0, 1), or, to be learned, not in (0, 1).
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        alpha: float | tuple[float, float],
        learned: bool = False,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        weight_drop: Probability = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, (nonlinearity,), bias, weight_drop)
        first, last = (alpha, alpha) if isinstance(alpha, float | int) else alpha
        if not (0 <= first < 1 and 0 <= last < 1) or (learned and 0 in (first, last)):
            raise UsageError(f"model.cell.alpha={alpha}: has to lie in [0, 1), and above 0 to be learned")
        leak = torch.logspace(math.log10(1 - first), math.log10(1 - last), hidden_size)
        self.leak = nn.Parameter(torch.logit(leak)) if learned else nn.Buffer(leak)
        self.learned = learned

    def update_parameters(self) -> tuple[Tensor, ...]:
        return (cast(Tensor, self.leak),)

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        (f,), (leak,) = gates, parameters
        return torch.lerp(state, f.to(state.dtype), torch.sigmoid(leak) if self.learned else leak)
