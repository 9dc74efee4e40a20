"""The block of the mLSTM (Beck et al. 2024, "xLSTM", section 2.4 and figure 10)."""

import math

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.block import Block, ByHeads, Parts, by_heads_normalized, linear
from unroll.cells.mlstm import MatrixMemory
from unroll.errors import UsageError


class MLSTMBlock(Block):
    """As `Block`, twice as wide inside:

        u_t, z_t = W_u norm(x_t), W_z norm(x_t)            norm: layer normalization
        c_t = silu(c_t)
        q, k, v = W_q c_t, W_k c_t / sqrt(d), W_v u_t      block-diagonal, four features each
        h_t = mLSTM(q, k, v), its gates i~ and f~ from [q; k sqrt(d); v]
        y_t = x_t + W_y ((norm(h_t) + s * c_t) * silu(z_t))        norm: each head by itself

    Args:
        input_size, hidden_size: see `Block`.
        heads: of the matrix memory; 2 hidden_size is a multiple of it, and of 4.

    Raises:
        UsageError: it is not.
    """

    def __init__(self, input_size: PositiveInt, hidden_size: PositiveInt, heads: PositiveInt) -> None:
        width = 2 * hidden_size
        if width % heads or width % _PROJECTED:
            raise UsageError(
                f"model.hidden_size={hidden_size}: an mLSTM block is twice as wide inside, in whole parts of {_PROJECTED} "
                f"features and in model.cell.heads={heads} of them"
            )
        super().__init__(input_size, hidden_size, _Within(width, heads), width, width)
        self.heads = heads
        self.norm = nn.LayerNorm(hidden_size, bias=False)
        self.branches = linear(hidden_size, 2 * width)  # u, z
        self.head_weight = nn.Parameter(torch.ones(width))
        self.s = nn.Parameter(torch.ones(width))
        self.join = linear(width, hidden_size)

    def enter(self, x: Tensor) -> Parts:
        u, z = self.branches(self.norm(x)).chunk(2, dim=-1)
        return x, u, F.silu(z)

    def activate(self, c: Tensor) -> Tensor:
        return F.silu(c)

    def read(self, c: Tensor, u: Tensor) -> Tensor:
        return torch.cat([c, u], dim=-1)

    def leave(self, x: Tensor, z: Tensor, c: Tensor, h: Tensor) -> Tensor:
        y: Tensor = x + self.join((by_heads_normalized(h, self.heads, self.head_weight) + self.s * c) * z)
        return y


class _Within(MatrixMemory):
    """Reads [c; u]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(2 * width, width, heads)
        self.q, self.k, self.v = (ByHeads(width, width // _PROJECTED) for _ in range(3))
        self.w = nn.Parameter(torch.zeros(2 * heads, 3 * width))  # i, f
        self.b = nn.Parameter(torch.cat([0.1 * torch.randn(heads), torch.linspace(3.0, 6.0, heads)]))

    def project(self, x: Tensor) -> Tensor:
        c, u = x.chunk(2, dim=-1)
        q, k, v = self.q(c), self.k(c), self.v(u)
        gates = F.linear(torch.cat([q, k, v], dim=-1), self.w, self.b)
        return torch.cat([q, k / math.sqrt(self.hidden_size // self.heads), v, gates], dim=-1)


_PROJECTED = 4  # features that are projected together
