"""The LSTM with exponential gates and scalar memory (Beck et al. 2024, "xLSTM", section 2.2, equations 8 to 17)."""

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.base import Cell
from unroll.errors import UsageError
from unroll.state import State


class ScalarMemory(Cell):
    """What an sLSTM is but for where its input comes from: a subclass writes `project`, which gives px_t of the gates i~, f~,
    z~ and o~, side by side, with their bias b; and calls `make_recurrence`.

        i~, f~, z~, o~ = px_t + R h_{t-1}             R block-diagonal: a head's units hear of each other only
        log f = logsigmoid(f~)
        m_t = max(log f + m_{t-1}, i~)
        i', f' = exp(i~ - m_t), exp(log f + m_{t-1} - m_t)
        c_t = f' * c_{t-1} + i' * tanh(z~)
        n_t = f' * n_{t-1} + i'
        h_t = sigmoid(o~) * c_t / n_t

    m only keeps the exponentials in range: c / n does not depend on it, so it may begin at zero. The state is (h, c, n, m),
    each (batch, hidden_size): output, memory, normalizer, stabilizer.

    Args:
        input_size, hidden_size: see `Cell`.
        heads: blocks of R; divides hidden_size.

    Raises:
        UsageError: it does not.
    """

    can_keep_units = False
    any_state = False

    def __init__(self, input_size: int, hidden_size: int, heads: int) -> None:
        super().__init__(input_size, hidden_size)
        if hidden_size % heads:
            raise UsageError(f"model.cell.heads={heads} does not divide model.hidden_size={hidden_size}")
        self.heads = heads

    def make_recurrence(self) -> None:
        """R and b. After the weights of the input: an optimizer's state is stored in the order of the parameters."""
        width = self.hidden_size // self.heads
        # (head, from, gate and to)
        self.R = nn.Parameter(torch.zeros(self.heads, width, 4 * width))
        self.b = nn.Parameter(torch.zeros(4 * self.hidden_size))
        # Forget gates that start open, over a range of memories.
        self.b.data.chunk(4)[1][:] = torch.linspace(3.0, 6.0, self.hidden_size)

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        zeros = like.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros, zeros, zeros

    def output(self, state: State) -> Tensor:
        h: Tensor = state[0]
        return h

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        h, c, n, m = state
        batch = len(h)
        by_head = torch.einsum("bki,kij->bkj", h.view(batch, self.heads, -1).to(px_t.dtype), self.R.to(px_t.dtype))
        recurrent = by_head.view(batch, self.heads, 4, -1).transpose(1, 2).reshape(batch, -1)
        i, f, z, o = (px_t + recurrent).to(m.dtype).chunk(4, dim=-1)
        log_f = F.logsigmoid(f) + m
        # An empty memory has nothing to be scaled against: its stabilizer is the input gate's own.
        m = torch.where(n == 0, i, torch.maximum(log_f, i))
        i, f = torch.exp(i - m), torch.exp((log_f - m).clamp(max=0))
        c = f * c + i * torch.tanh(z)
        n = f * n + i
        return torch.sigmoid(o) * c / n, c, n, m


class SLSTM(ScalarMemory):
    """As `ScalarMemory`, with px_t = W x_t.

    Args:
        input_size, hidden_size, heads: see `ScalarMemory`.
    """

    def __init__(self, input_size: PositiveInt, hidden_size: PositiveInt, heads: PositiveInt) -> None:
        super().__init__(input_size, hidden_size, heads)
        self.W = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        for block in self.W.data.chunk(4):
            nn.init.xavier_uniform_(block)
        self.make_recurrence()

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)
