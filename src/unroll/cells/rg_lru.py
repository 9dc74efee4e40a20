"""The real-gated linear recurrent unit (De et al. 2024, "Griffin", section 2.4, equations 1 to 4)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from unroll.cells.linear import LinearCell
from unroll.errors import UsageError

_C = 8.0
_Decay = Annotated[float, Field(gt=0, lt=1)]


class RGLRU(LinearCell):
    """The state is h, (batch, hidden_size).

        u_t = V x_t                                           an input projection; x_t itself where there is none
        r_t = sigmoid(W_a u_t + b_a)                          recurrence gate
        i_t = sigmoid(W_x u_t + b_x)                          input gate
        log a_t = -c softplus(Lambda) * r_t,  c = 8
        h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * (i_t * u_t)

    Args:
        input_size, hidden_size: see `Cell`.
        input_projection: whether there is a V. Without one input_size is hidden_size, as in the paper, whose block projects.
        decay: [lowest, highest]: a^c of the units starts evenly spread between them (the paper: 0.9 to 0.999).
    """

    def __init__(
        self, input_size: PositiveInt, hidden_size: PositiveInt, input_projection: bool, decay: tuple[_Decay, _Decay]
    ) -> None:
        super().__init__(input_size, hidden_size)
        if not input_projection and input_size != hidden_size:
            raise UsageError(
                f"model.cell.input_projection=false needs as many inputs as units, not {input_size} and {hidden_size}"
            )
        self.V = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(hidden_size, input_size))) if input_projection else None
        )
        self.W = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        for block in self.W.data.chunk(2):
            nn.init.xavier_uniform_(block)
        self.b = nn.Parameter(torch.zeros(2 * hidden_size))
        # a^c = exp(-c softplus(Lambda)) at r = 1.
        softplus = -torch.linspace(*decay, hidden_size).log() / _C
        self.Lambda = nn.Parameter(softplus.expm1().log())

    def project(self, x: Tensor) -> Tensor:
        u = x if self.V is None else F.linear(x, self.V)
        return torch.cat([F.linear(u, self.W, self.b), u], dim=-1)

    def coefficients(self, px: Tensor) -> tuple[Tensor, Tensor]:
        r, i, u = px.chunk(3, dim=-1)
        r, i = torch.sigmoid(r), torch.sigmoid(i)
        log_a = -_C * F.softplus(self.Lambda) * r
        # 1 - a^2 without the cancellation that a near 1 brings.
        scale = (-torch.expm1(2 * log_a)).clamp(min=torch.finfo(log_a.dtype).tiny).sqrt()
        return log_a.exp(), scale * (i * u)
