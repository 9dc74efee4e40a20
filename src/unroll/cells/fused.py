"""Cells whose equations torch has as a fused kernel (oneDNN on a CPU, cuDNN on a GPU)."""

from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from unroll.cells.base import Cell
from unroll.state import State, map_state

RecurrentInit = Literal["orthogonal", "identity", "uniform"]


class FusedCell(Cell):
    """A cell with torch's own layer inside: its parameters, in torch's layout, and its kernel as the fast path.

    Args:
        layer: a torch.nn.RNN, LSTM or GRU of one layer and one direction.
        gates: how many blocks of hidden_size rows its matrices have.
        recurrent_init: how the recurrent matrix starts, a block a gate: `orthogonal` (Saxe et al. 2014), which keeps
            the length of what it maps; `identity` (Le et al. 2015, for ReLU units); or `uniform`, torch's own start for
            all parameters. With the first two, input weights start as Glorot & Bengio (2010) and biases at zero.
    """

    def __init__(self, layer: nn.RNNBase, gates: int, recurrent_init: RecurrentInit) -> None:
        super().__init__(layer.input_size, layer.hidden_size)
        self.layer = layer
        if recurrent_init == "uniform":
            return
        for name, parameter in layer.named_parameters():
            for block in parameter.data.chunk(gates):
                if "bias" in name:
                    nn.init.zeros_(block)
                elif "weight_ih" in name:
                    nn.init.xavier_uniform_(block)
                elif recurrent_init == "identity":
                    nn.init.eye_(block)
                else:
                    nn.init.orthogonal_(block)

    @property
    def W(self) -> Tensor:
        """Input weights, (gates * hidden_size, input_size)."""
        return cast(Tensor, self.layer.weight_ih_l0)

    @property
    def U(self) -> Tensor:
        """Recurrent weights, (gates * hidden_size, hidden_size)."""
        return cast(Tensor, self.layer.weight_hh_l0)

    @property
    def b_W(self) -> Tensor | None:
        """Bias beside W, (gates * hidden_size,)."""
        return cast(Tensor, self.layer.bias_ih_l0) if self.layer.bias else None

    @property
    def b_U(self) -> Tensor | None:
        """Bias beside U, (gates * hidden_size,). Redundant but for the GRU's candidate; torch and cuDNN have both."""
        return cast(Tensor, self.layer.bias_hh_l0) if self.layer.bias else None

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b_W)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        # torch's layers carry a dimension for their layers and directions: here always 1. Under autocast the kernel
        # answers in half precision; what is carried on stays in the parameters' own type.
        kind = self.W.dtype
        y, final = self.layer(x, map_state(lambda tensor: tensor.unsqueeze(0).to(kind), state))
        return y, map_state(lambda tensor: tensor.squeeze(0).to(kind), final)
