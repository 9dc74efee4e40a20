"""The LSTM with exponential gates and matrix memory (Beck et al. 2024, "xLSTM", section 2.3, equations 19 to 27; of q, k
and v without the biases)."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.errors import UsageError
from unroll.state import State


class MatrixMemory(Cell):
    """What an mLSTM is but for where its input comes from: a subclass writes `project`, which gives q, k, v, i~ and f~, side
    by side, and what its `gate` takes.

        m_t = max(logsigmoid(f~) + m_{t-1}, i~)
        i', f' = exp(i~ - m_t), exp(logsigmoid(f~) + m_{t-1} - m_t)
        C_t = f' C_{t-1} + i' v k^T
        n_t = f' n_{t-1} + i' k
        h_t = C_t q / max(|n_t . q|, exp(-m_t))                 then gated

    q, k, v are (batch, heads, d) with d = hidden_size / heads; i~, f~ are (batch, heads), a number a head.

    h does not feed back: all that depends on the input is hoisted out of time, and a window of steps is computed at once
    (the paper's appendix A.3, here from a carried state). The state is (h, C, n, m), output, memory, normalizer and
    stabilizer, with shapes (batch, hidden_size), (batch, heads, d, d), (batch, heads, d), (batch, heads).

    Args:
        input_size, hidden_size: see `Cell`.
        heads: divides hidden_size.

    Raises:
        UsageError: it does not.
    """

    paths: ClassVar[tuple[str, ...]] = ("parallel", "loop")
    can_keep_units = False
    any_state = False

    def __init__(self, input_size: int, hidden_size: int, heads: int) -> None:
        super().__init__(input_size, hidden_size)
        if hidden_size % heads:
            raise UsageError(f"model.cell.heads={heads} does not divide model.hidden_size={hidden_size}")
        self.heads = heads

    def gate(self, h: Tensor, rest: Tensor) -> Tensor:
        """h: (..., hidden_size), what was read; rest: (..., r), what `project` gave behind f~. As it is by default."""
        return h

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        d = self.hidden_size // self.heads
        return (
            like.new_zeros(batch_size, self.hidden_size),
            like.new_zeros(batch_size, self.heads, d, d),
            like.new_zeros(batch_size, self.heads, d),
            like.new_zeros(batch_size, self.heads),
        )

    def output(self, state: State) -> Tensor:
        h: Tensor = state[0]
        return h

    def _parts(self, px: Tensor) -> tuple[Tensor, ...]:
        """px: (..., p) -> q, k, v (..., heads, d), i~ and log f (..., heads), the rest (..., r), in full precision."""
        units, heads = self.hidden_size, self.heads
        px = px.to(next(self.parameters()).dtype)
        rest = px.shape[-1] - 3 * units - 2 * heads
        q, k, v, i, f, rest = px.split([units, units, units, heads, heads, rest], dim=-1)
        q, k, v = (part.unflatten(-1, (heads, -1)) for part in (q, k, v))
        return q, k, v, i, F.logsigmoid(f), rest

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        _, C, n, m = state
        q, k, v, i, log_f, rest = self._parts(px_t)
        before, m = m, torch.maximum(log_f + m, i)
        i, f = torch.exp(i - m)[..., None], torch.exp(log_f + before - m)[..., None]
        C = f[..., None] * C + (i * v)[..., :, None] * k[..., None, :]
        n = f * n + i * k
        read = (C @ q[..., None]).squeeze(-1)
        return self.gate((read / _scale((n * q).sum(-1), m)[..., None]).flatten(-2), rest), C, n, m

    def parallel(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, a window of steps at once: within it, h_t is a weighted sum over what was written before t."""
        h_before = state[0]
        outputs = []
        start = 0
        for px in self.project(x).split(_WINDOW):
            past = (
                None if lengths is None else torch.arange(start, start + len(px), device=x.device)[:, None] >= lengths
            )
            h, state = self._window(px, state, past)
            outputs.append(h)
            start += len(px)
        y = torch.cat(outputs)
        return cut_outputs(y, lengths), (at_ends(y, h_before, lengths), *state[1:])

    def _window(self, px: Tensor, state: State, past: Tensor | None) -> tuple[Tensor, State]:
        _, C, n, m = state
        q, k, v, i, log_f, rest = self._parts(px)
        if past is not None:  # past its end a sequence writes nothing and forgets nothing
            i = i.masked_fill(past[..., None], -torch.inf)
            log_f = log_f.masked_fill(past[..., None], 0)
        # (batch, heads, time, ...)
        q, k, v = (part.permute(1, 2, 0, 3) for part in (q, k, v))
        i, log_f = i.permute(1, 2, 0), log_f.permute(1, 2, 0)
        forgotten = log_f.cumsum(-1)
        # What is left at t of what was written at s <= t, and of the state that came in: logarithms.
        from_s = forgotten[..., :, None] - forgotten[..., None, :] + i[..., None, :]
        future = torch.ones(len(px), len(px), dtype=torch.bool, device=px.device).triu(1)
        from_s = from_s.masked_fill(future, -torch.inf)
        from_before = forgotten + m[..., None]
        m_t = torch.maximum(from_s.amax(-1), from_before)
        left, left_before = torch.exp(from_s - m_t[..., None]), torch.exp(from_before - m_t)[..., None]
        weights = left * (q @ k.transpose(-1, -2))
        read = weights @ v + left_before * (q @ C.transpose(-1, -2))
        normal = weights.sum(-1) + left_before[..., 0] * (q @ n[..., None])[..., 0]
        h = (read / _scale(normal, m_t)[..., None]).permute(2, 0, 1, 3).flatten(2)
        left, left_before = left[..., -1, :, None], left_before[..., -1, :]
        C = left_before[..., None] * C + (left * v).transpose(-1, -2) @ k
        n = left_before * n + (left * k).sum(-2)
        h = self.gate(h, rest)
        return h, (h[-1], C, n, m_t[..., -1].clone())  # a view, carried on, would keep the window


class MLSTM(MatrixMemory):
    """As `MatrixMemory`, with

        q, k, v = W_q x_t, W_k x_t / sqrt(d), W_v x_t
        i~, f~ = w_i x_t + b_i, w_f x_t + b_f
        h_t = sigmoid(W_o x_t + b_o) * h_t

    Args:
        input_size, hidden_size, heads: see `MatrixMemory`.
    """

    def __init__(self, input_size: PositiveInt, hidden_size: PositiveInt, heads: PositiveInt) -> None:
        super().__init__(input_size, hidden_size, heads)
        self.W = nn.Parameter(torch.empty(4 * hidden_size, input_size))  # q, k, v, o
        for block in self.W.data.chunk(4):
            nn.init.xavier_uniform_(block)
        self.b_o = nn.Parameter(torch.zeros(hidden_size))
        self.w = nn.Parameter(torch.zeros(2 * heads, input_size))  # i, f
        self.b = nn.Parameter(torch.cat([torch.zeros(heads), torch.linspace(3.0, 6.0, heads)]))

    def project(self, x: Tensor) -> Tensor:
        q, k, v, o = F.linear(x, self.W).chunk(4, dim=-1)
        k = k / math.sqrt(self.hidden_size // self.heads)
        return torch.cat([q, k, v, F.linear(x, self.w, self.b), torch.sigmoid(o + self.b_o)], dim=-1)

    def gate(self, h: Tensor, rest: Tensor) -> Tensor:
        return rest * h


_WINDOW = 64  # steps at once: the work within a window grows with its square


def _scale(normal: Tensor, m: Tensor) -> Tensor:
    # Bounded where exp(-m) would overflow: what is read is then nothing all the same.
    return torch.maximum(normal.abs(), torch.exp((-m).clamp(max=80)))
