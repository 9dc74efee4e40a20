"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.cells.base import Masks, at_ends, cut_outputs
from unroll.cells.fused import FusedCell, RecurrentInit
from unroll.cells.unitwise import Gates
from unroll.schema import Probability
from unroll.state import State


class LSTM(FusedCell):
    """The state is (h, c), each (batch, hidden_size).

        i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)      forget gate
        g_t =    tanh(W_g x_t + U_g h_{t-1} + b_g)      candidate
        o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    Args:
        input_size, hidden_size: see `Cell`.
        forget_bias: where b_f starts; 1 lets gradients through from the first step on (Jozefowicz et al. 2015). Not used
            with recurrent_init="uniform", which is torch's own start.
        bias: whether there are biases.
        recurrent_init: see `FusedCell`.
        weight_drop: see `UnitwiseCell`.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        forget_bias: float = 1.0,
        bias: bool = True,
        recurrent_init: RecurrentInit = "orthogonal",
        weight_drop: Probability = 0.0,
    ) -> None:
        layer = nn.LSTM(input_size, hidden_size, bias=bias)
        super().__init__(layer, ("sigmoid", "sigmoid", "tanh", "sigmoid"), recurrent_init, weight_drop)
        if self.b_W is not None and recurrent_init != "uniform":
            self.b_W.data[hidden_size : 2 * hidden_size] = forget_bias

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        zeros = like.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def fused(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        if lengths is None or x.device.type != "cpu":
            return super().fused(x, state, lengths, masks)
        # On a CPU packing is slow. One more feature, 1 past a sequence's end, shuts i_t and opens f_t: c_t stands still.
        past = (torch.arange(len(x))[:, None] >= lengths).to(x.dtype).unsqueeze(-1)
        hold = self.W.new_tensor([-1e4, 1e4, 0, 0]).repeat_interleave(self.hidden_size).unsqueeze(-1)
        (U,) = masks or (self.U,)
        weights = [torch.cat([self.W, hold], dim=1), U, *(b for b in (self.b_W, self.b_U) if b is not None)]
        h, c = state
        first = [h.unsqueeze(0), c.unsqueeze(0)]
        y, _, final = torch.lstm(
            torch.cat([x, past], dim=-1), first, weights, self.layer.bias, 1, 0.0, self.training, False, False
        )
        return cut_outputs(y, lengths), (at_ends(y, h, lengths), final.squeeze(0))

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        i, f, g, o = gates
        _, c = state
        c = f * c + i * g
        return o * torch.tanh(c), c
