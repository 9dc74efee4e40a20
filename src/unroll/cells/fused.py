"""Cells whose equations torch has as a fused kernel (oneDNN on a CPU, cuDNN on a GPU)."""

from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unroll.cells.analytic import Activation
from unroll.cells.base import Cell, Masks, at_ends, cut_outputs
from unroll.cells.unitwise import UnitwiseCell
from unroll.state import State, map_state, where

RecurrentInit = Literal["orthogonal", "identity", "uniform"]


class FusedCell(UnitwiseCell):
    """A cell with torch's own layer inside: its parameters, in torch's layout, and its kernel as the fast path.

    Args:
        layer: a torch.nn.RNN, LSTM or GRU of one layer and one direction.
        gates: their activations, a block of hidden_size rows each; see `UnitwiseCell`.
        recurrent_init: how the recurrent matrix starts, a block a gate: `orthogonal` (Saxe et al. 2014), which keeps
            the length of what it maps; `identity` (Le et al. 2015, for ReLU units); or `uniform`, torch's own start for
            all parameters. With the first two, input weights start as Glorot & Bengio (2010) and biases at zero.
        weight_drop: probability that an entry of U is dropped, drawn once a sequence (DropConnect; Merity et al. 2018).
    """

    paths: ClassVar[tuple[str, ...]] = ("fused", "analytic", "loop")

    def __init__(
        self,
        layer: nn.RNNBase,
        gates: tuple[Activation, ...],
        recurrent_init: RecurrentInit,
        weight_drop: float,
    ) -> None:
        Cell.__init__(self, layer.input_size, layer.hidden_size)
        self.layer = layer
        self.gates = gates
        self.weight_drop = weight_drop
        if recurrent_init == "uniform":
            return
        for name, parameter in layer.named_parameters():
            for block in parameter.data.chunk(len(gates)):
                if "bias" in name:
                    nn.init.zeros_(block)
                elif "weight_ih" in name:
                    nn.init.xavier_uniform_(block)
                elif recurrent_init == "identity":
                    nn.init.eye_(block)
                else:
                    nn.init.orthogonal_(block)

    # The layer's own parameters by the names that the equations have.

    @property
    def W(self) -> Tensor:  # type: ignore[override]
        """Input weights, (gates * hidden_size, input_size)."""
        return cast(Tensor, self.layer.weight_ih_l0)

    @property
    def U(self) -> Tensor:  # type: ignore[override]
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
        return F.linear(x, *self.input_map())

    def input_map(self) -> tuple[Tensor, Tensor | None]:
        return self.W, None if self.b_W is None or self.b_U is None else self.b_W + self.b_U

    def path(self, x: Tensor, lengths: Tensor | None) -> str:
        if x.is_cuda and not self.training and torch.is_grad_enabled():
            return self.paths[1]  # cuDNN gives no gradients in evaluation
        return "fused"

    def fused(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, by torch's kernel."""
        # torch's layers carry a dimension for their layers and directions: here always 1.
        first = map_state(lambda tensor: tensor.unsqueeze(0), state)
        if lengths is None or isinstance(state, Tensor):  # where h is all of the state, its last value is an output
            y, final = self._call(x, first, masks)
            final = map_state(lambda tensor: tensor.squeeze(0), final)
            return cut_outputs(y, lengths), final if lengths is None else at_ends(y, state, lengths)
        packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), enforce_sorted=False)
        packed_y, final = self._call(packed, first, masks)
        y, _ = pad_packed_sequence(packed_y, total_length=len(x))
        final = map_state(lambda tensor: tensor.squeeze(0), final)
        return cut_outputs(y, lengths), where(lengths > 0, final, state)

    def _call(self, x: Any, state: State, masks: Masks) -> tuple[Any, State]:
        if masks:
            return cast(tuple[Any, State], functional_call(self.layer, {"weight_hh_l0": masks[0]}, (x, state)))
        return cast(tuple[Any, State], self.layer(x, state))
