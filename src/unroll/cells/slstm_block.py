"""The block of the sLSTM (Beck et al. 2024, "xLSTM", section 2.4 and figure 9)."""

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.block import Block, ByHeads, GatedMLP, Parts, by_heads_normalized
from unroll.cells.slstm import ScalarMemory


class SLSTMBlock(Block):
    """As `Block`, with

        u_t = norm(x_t)                                    norm: layer normalization
        c_t = silu(c_t)
        h_t = sLSTM(c_t, u_t): W_i, W_f see c_t, W_z, W_o see u_t, block-diagonal
        v_t = x_t + norm(h_t)                              norm: each head by itself
        y_t = v_t + MLP(norm(v_t))                         an MLP 4/3 as wide

    Args:
        input_size, hidden_size: see `Block`.
        heads: blocks of all of its matrices; divides hidden_size.

    Raises:
        UsageError: it does not.
    """

    def __init__(self, input_size: PositiveInt, hidden_size: PositiveInt, heads: PositiveInt) -> None:
        super().__init__(input_size, hidden_size, _Within(hidden_size, heads), hidden_size, 0)
        self.heads = heads
        self.norm = nn.LayerNorm(hidden_size, bias=False)
        self.head_weight = nn.Parameter(torch.ones(hidden_size))
        self.mlp = nn.Sequential(nn.LayerNorm(hidden_size, bias=False), GatedMLP(hidden_size, -(-4 * hidden_size // 3)))

    def enter(self, x: Tensor) -> Parts:
        return x, self.norm(x), x[..., :0]

    def activate(self, c: Tensor) -> Tensor:
        return F.silu(c)

    def read(self, c: Tensor, u: Tensor) -> Tensor:
        return torch.cat([c, u], dim=-1)

    def leave(self, x: Tensor, z: Tensor, c: Tensor, h: Tensor) -> Tensor:
        v = x + by_heads_normalized(h, self.heads, self.head_weight)
        y: Tensor = v + self.mlp(v)
        return y


class _Within(ScalarMemory):
    """Reads [c; u]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(2 * width, width, heads)
        self.i, self.f, self.z, self.o = (ByHeads(width, heads) for _ in range(4))
        self.make_recurrence()

    def project(self, x: Tensor) -> Tensor:
        c, u = x.chunk(2, dim=-1)
        return torch.cat([self.i(c), self.f(c), self.z(u), self.o(u)], dim=-1) + self.b
