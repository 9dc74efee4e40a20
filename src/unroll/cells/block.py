"""A cell within a residual block, as the modern ones were published: what stands around it, and how both run over time."""

import math
from abc import abstractmethod
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.state import State

Parts = tuple[Tensor, Tensor, Tensor]
"""x' (..., hidden_size), what the block adds to; u (..., width), what the cell's branch begins with; z (..., rest), the other
branch. None depends on the state."""


class Block(Cell):
    """A layer that is more than its cell:

        x', u_t, z_t = enter(x_t)
        c_t = b + sum over j < 4 of w_j * u_{t-j}          a convolution over time, each feature by itself
        h_t = cell(read(c_t, u_t), h_{t-1})
        y_t = leave(x'_t, z_t, c_t, h_t)                   x'_t, and what the block adds to it

    A subclass writes `enter`, `read` and `leave`; they look at one step each, so that all steps go through them at once. The
    state is (y, the cell's state, the last three u), the last of shape (batch, 3, width).

    Args:
        input_size: where it is not hidden_size a matrix and a bias lead from the one to the other.
        hidden_size: features of x' and y.
        cell: what runs over time.
        width: features of u.
        rest: features of z.
    """

    paths: ClassVar[tuple[str, ...]] = ("hoisted", "loop")
    can_keep_units = False

    def __init__(self, input_size: int, hidden_size: int, cell: Cell, width: int, rest: int) -> None:
        super().__init__(input_size, hidden_size)
        self.cell = cell
        self.any_state = cell.any_state
        self.parts = [hidden_size, width, rest]
        # With a bias: what is all zeros would stay so through every norm and product, whatever the state.
        self.widen = nn.Identity() if input_size == hidden_size else nn.Linear(input_size, hidden_size)
        self.w = nn.Parameter(torch.empty(_STEPS, width).uniform_(-(_STEPS**-0.5), _STEPS**-0.5))  # w_3 first
        self.b = nn.Parameter(torch.zeros(width))

    @abstractmethod
    def enter(self, x: Tensor) -> Parts:
        """x: (..., hidden_size)."""

    @abstractmethod
    def read(self, c: Tensor, u: Tensor) -> Tensor:
        """What the cell takes: (..., its input_size)."""

    @abstractmethod
    def leave(self, x: Tensor, z: Tensor, c: Tensor, h: Tensor) -> Tensor:
        """y: (..., hidden_size)."""

    def activate(self, c: Tensor) -> Tensor:
        """What becomes of the convolution: nothing by default."""
        return c

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        y = like.new_zeros(batch_size, self.hidden_size)
        past = like.new_zeros(batch_size, _STEPS - 1, self.parts[1])
        return y, self.cell.initial_state(batch_size, like), past

    def output(self, state: State) -> Tensor:
        y: Tensor = state[0]
        return y

    def draw_masks(self, batch_size: int, like: Tensor) -> Masks:
        return self.cell.draw_masks(batch_size, like)

    def weights_of_steps(self, masks: Masks) -> Masks:
        return self.cell.weights_of_steps(masks)

    def _widened(self, x: Tensor) -> Tensor:
        # What blocks add up is summed in full precision.
        return cast(Tensor, self.widen(x)).to(self.w.dtype)

    def project(self, x: Tensor) -> Tensor:
        return torch.cat(self.enter(self._widened(x)), dim=-1)

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        _, before, past = state
        x, u, z = px_t.split(self.parts, dim=-1)
        window = torch.cat([past, u[:, None].to(past.dtype)], dim=1)
        c = self.activate(self.b + (self.w * window).sum(1))
        after = self.cell.step(self.cell.project(self.read(c, u)), before, *masks)
        return self.leave(x, z, c, self.cell.output(after)), after, window[:, 1:].clone()

    def hoisted(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, with all that is not the cell done for all steps at once, and the cell by its own fastest path."""
        y_before, before, past = state
        x, u, z = self.enter(self._widened(x))
        window = torch.cat([past.transpose(0, 1), u.to(past.dtype)])
        c: Tensor = self.b
        for j, w_j in enumerate(self.w):
            c = torch.addcmul(c, w_j, window[j : j + len(u)])
        c = self.activate(c)
        h, after = self.cell(self.read(c, u), before, lengths, masks)
        y = self.leave(x, z, c, h)
        if lengths is None:
            past = window[len(u) :]
        else:
            last = lengths + torch.arange(_STEPS - 1, device=lengths.device)[:, None]
            past = window[last, torch.arange(len(lengths), device=lengths.device)]
        y_after = at_ends(y, y_before, lengths)
        return cut_outputs(y, lengths), (y_after, after, past.transpose(0, 1).clone())


_STEPS = 4  # that a convolution sees, in all of the papers


class GatedMLP(nn.Module):
    """W_out (gelu(W_g x) * W_u x) (Shazeer 2020, "GLU variants improve transformer"): what mixes the features of a step.

    Args:
        size: features of x, and of what comes out.
        width: features between.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.enter = linear(size, 2 * width)
        self.leave = linear(width, size)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., size) -> (..., size)."""
        g, u = self.enter(x).chunk(2, dim=-1)
        y: Tensor = self.leave(F.gelu(g) * u)
        return y


def linear(from_size: int, to_size: int) -> nn.Linear:
    """A matrix that starts small, as residual blocks want it (Nguyen & Salazar 2019, section 2.2), and no bias."""
    made = nn.Linear(from_size, to_size, bias=False)
    nn.init.normal_(made.weight, std=math.sqrt(2 / (5 * from_size)))
    return made


class ByHeads(nn.Module):
    """A block-diagonal matrix: each of `heads` equal parts of the features is mapped by itself.

    Args:
        size: features of x, and of what comes out.
        heads: divides it.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        width = size // heads
        self.W = nn.Parameter(torch.randn(heads, width, width) * math.sqrt(2 / (5 * width)))  # (head, to, from)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., size) -> (..., size)."""
        return torch.einsum("...hd,hod->...ho", x.unflatten(-1, (len(self.W), -1)), self.W).flatten(-2)


def by_heads_normalized(h: Tensor, heads: int, weight: Tensor) -> Tensor:
    """h: (..., features), each head's part with mean 0 and variance 1, then weighted (Wu & He 2018, group normalization)."""
    return F.layer_norm(h.unflatten(-1, (heads, -1)), (h.shape[-1] // heads,)).flatten(-2) * weight
