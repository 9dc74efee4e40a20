"""The recurrent block of Griffin, around any cell (De et al. 2024, "Griffin", sections 2.2 and 2.3, figure 2)."""

from collections.abc import Callable

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.base import Cell
from unroll.cells.block import Block, GatedMLP, Parts, linear


class GriffinBlock(Block):
    """As `Block`, with

        u_t, z_t = W_u norm(x_t), gelu(W_z norm(x_t))      norm: by the root of the mean square
        h_t = cell(c_t, h_{t-1})
        v_t = x_t + W_v (z_t * h_t)
        y_t = v_t + MLP(norm(v_t))

    The paper's cell is the RG-LRU, whose gates are block-diagonal there and full here; any other may take its place.
    RecurrentGemma, its authors' language model, adds biases to the matrices, which the paper does not have.

    Args:
        input_size, hidden_size: see `Block`.
        cell: makes the cell: called as `cell(width, width)`.
        width: units of the cell; None: hidden_size (the paper: 4/3 of it).
        expansion: width of the MLP, in hidden_sizes.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        cell: Callable[[int, int], Cell],
        width: PositiveInt | None,
        expansion: PositiveInt,
    ) -> None:
        width = width or hidden_size
        super().__init__(input_size, hidden_size, cell(width, width), width, width)
        self.norm = nn.RMSNorm(hidden_size, eps=1e-6)
        self.branches = linear(hidden_size, 2 * width)  # u, z
        self.join = linear(width, hidden_size)
        self.mlp = nn.Sequential(nn.RMSNorm(hidden_size, eps=1e-6), GatedMLP(hidden_size, expansion * hidden_size))

    def enter(self, x: Tensor) -> Parts:
        u, z = self.branches(self.norm(x)).chunk(2, dim=-1)
        return x, u, F.gelu(z)

    def read(self, c: Tensor, u: Tensor) -> Tensor:
        return c

    def leave(self, x: Tensor, z: Tensor, c: Tensor, h: Tensor) -> Tensor:
        v = x + self.join(z * h)
        y: Tensor = v + self.mlp(v)
        return y
