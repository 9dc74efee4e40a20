"""The GRU with layer normalization (Ba et al. 2016, supplementary material, equations 23 to 25)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.unitwise import Gates, UnitwiseCell
from unroll.schema import Probability
from unroll.state import State


class LayerNormGRU(UnitwiseCell):
    """The state is h, (batch, hidden_size).

        (r, z) = sigmoid(LN(W_rz x_t) + LN(U_rz h_{t-1}) + b_rz)
        n = tanh(LN(W_n x_t) + r * LN(U_n h_{t-1}) + b_n)
        h_t = (1 - z) * n + z * h_{t-1}

    LN normalizes over both gates together and over the candidate by itself, as the paper does.

    Args:
        input_size, hidden_size: see `Cell`.
        weight_drop: see `UnitwiseCell`.
    """

    paths: ClassVar[tuple[str, ...]] = ("loop",)

    def __init__(self, input_size: PositiveInt, hidden_size: PositiveInt, weight_drop: Probability = 0.0) -> None:
        super().__init__(input_size, hidden_size, ("sigmoid", "sigmoid", "tanh"), weight_drop=weight_drop)
        self.g_W, self.g_U = (nn.Parameter(torch.ones(3 * hidden_size)) for _ in range(2))

    def _normalize(self, a: Tensor, gain: Tensor) -> Tensor:
        sizes = [2 * self.hidden_size, self.hidden_size]
        pairs = zip(a.split(sizes, dim=-1), gain.split(sizes), strict=True)
        return torch.cat([F.layer_norm(part, g.shape, g) for part, g in pairs], dim=-1)

    def project(self, x: Tensor) -> Tensor:
        a = self._normalize(F.linear(x, self.W), self.g_W)
        return a if self.b is None else a + self.b

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        (U,) = masks or (self.U,)
        r_x, z_x, n_x = px_t.chunk(3, dim=-1)
        r_h, z_h, n_h = self._normalize(F.linear(state, U), self.g_U).chunk(3, dim=-1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        return (1 - z) * n + z * state

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        raise NotImplementedError("the candidate takes the products of x and of h apart: see step")
