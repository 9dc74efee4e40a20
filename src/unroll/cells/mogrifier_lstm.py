"""The Mogrifier LSTM (Melis et al. 2020, section 2): x and h gate each other before they meet."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from unroll.cells.unitwise import Gates, UnitwiseCell
from unroll.state import State


class MogrifierLSTM(UnitwiseCell):
    """The state is (h, c), each (batch, hidden_size).

        x^i = 2 sigmoid(Q^i h^{i-1}) * x^{i-2}   for odd i <= rounds,  x^{-1} = x_t
        h^i = 2 sigmoid(R^i x^{i-1}) * h^{i-2}   for even i <= rounds, h^0 = h_{t-1}
        h_t, c_t = LSTM(x, c_{t-1}, h) with the last of each

    Q^i and R^i have biases. Nothing of it can be hoisted out of time: x itself is what `step` is given.

    Args:
        input_size, hidden_size: see `Cell`.
        rounds: how often they gate each other; 0 is an LSTM.
        rank: of Q^i and R^i as products of two thin matrices; None: full.
        forget_bias: where b_f starts.
    """

    paths: ClassVar[tuple[str, ...]] = ("loop",)

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        rounds: NonNegativeInt,
        rank: PositiveInt | None,
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size, ("sigmoid", "sigmoid", "tanh", "sigmoid"))
        assert self.b is not None
        self.b.data[hidden_size : 2 * hidden_size] = forget_bias

        def gate(inputs: int, outputs: int) -> nn.Module:
            if rank is None:
                return nn.Linear(inputs, outputs)
            return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs))

        sizes = (hidden_size, input_size)
        self.gates_of_rounds = nn.ModuleList(gate(*(sizes if i % 2 == 0 else sizes[::-1])) for i in range(rounds))

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        zeros = like.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def project(self, x: Tensor) -> Tensor:
        return x

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        x, (h, _) = px_t, state
        for i, gate in enumerate(self.gates_of_rounds):
            if i % 2 == 0:
                x = 2 * torch.sigmoid(gate(h)) * x
            else:
                h = 2 * torch.sigmoid(gate(x)) * h
        return self.update(self.activate(F.linear(x, self.W, self.b) + F.linear(h, self.U)), state)

    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        i, f, g, o = gates
        _, c = state
        c = f * c + i * g
        return o * torch.tanh(c), c
