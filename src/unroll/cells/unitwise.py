"""Cells in which all but one product acts on each unit by itself, and their fast path."""

from abc import abstractmethod
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.cells.analytic import Activation, run_analytic
from unroll.cells.base import Cell, Masks
from unroll.dropout import dropout
from unroll.late_gradient import late
from unroll.state import State

Gates = tuple[Tensor, ...]


class UnitwiseCell(Cell):
    """a_t = W x_t + b + U h_{t-1}; gates_t = their activations of a_t, a block each; from there on every unit for itself:
    state_t = update(gates_t, state_{t-1}).

    A subclass names its gates' activations and writes `update`. A state of several parts is a tuple that begins with h.

    The analytic path is a loop that builds no graph, keeps only the gates and the states, and has one product for U's
    gradient after the loop instead of one a step. The derivative of `update` is written down once from what autograd does.

    Args:
        input_size, hidden_size: see `Cell`.
        gates: the activation of each block of hidden_size entries of a_t.
        bias: whether there is a b.
        weight_drop: probability that an entry of U is dropped, drawn once a sequence (DropConnect; Merity et al. 2018).
    """

    paths: ClassVar[tuple[str, ...]] = ("analytic", "loop")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        gates: tuple[Activation, ...],
        bias: bool = True,
        weight_drop: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.gates = gates
        self.weight_drop = weight_drop
        # Glorot & Bengio 2010; orthogonal, a block a gate (Saxe et al. 2014); zero.
        self.W = nn.Parameter(torch.empty(len(gates) * hidden_size, input_size))
        self.U = nn.Parameter(torch.empty(len(gates) * hidden_size, hidden_size))
        self.b = nn.Parameter(torch.zeros(len(gates) * hidden_size)) if bias else None
        for block in self.W.data.chunk(len(gates)):
            nn.init.xavier_uniform_(block)
        for block in self.U.data.chunk(len(gates)):
            nn.init.orthogonal_(block)

    @abstractmethod
    def update(self, gates: Gates, state: State, *parameters: Tensor) -> State:
        """gates: (batch, hidden_size) each; the state before the step -> the state after it. Changes nothing in place."""

    def update_parameters(self) -> tuple[Tensor, ...]:
        """What else `update` is given: parameters that broadcast against (batch, hidden_size); none for most."""
        return ()

    def enter(self, uh_t: Tensor, *parameters: Tensor) -> Tensor:
        """What is done with U h_{t-1}, (batch, gates * hidden_size), before it joins a_t: nothing but for a few cells."""
        return uh_t

    def enter_parameters(self) -> tuple[Tensor, ...]:
        """What else `enter` is given. A cell that has an `enter` of its own has some."""
        return ()

    def project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.W, self.b)

    def input_map(self) -> tuple[Tensor, Tensor | None] | None:
        return (self.W, self.b) if type(self).project is UnitwiseCell.project else None

    def draw_masks(self, batch_size: int, like: Tensor) -> Masks:
        return (dropout(self.U, self.weight_drop),) if self.training and self.weight_drop else ()

    def weights_of_steps(self, masks: Masks) -> Masks:
        (U,) = masks or (self.U,)
        return (late(U),)

    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        (U,) = masks or (self.U,)
        uh_t = self.enter(F.linear(self.output(state), U), *self.enter_parameters())
        gates = self.activate(px_t + uh_t)
        return self.update(gates, state, *self.update_parameters())

    def branch(self, px: Tensor, state: State, masks: Masks = ()) -> Tensor:
        return self.output(self.step(px, state, *masks))  # U h_{t-1} is worked out once, and broadcast

    def activate(self, a_t: Tensor) -> Gates:
        """a_t: (..., gates * hidden_size) -> the gates, (..., hidden_size) each."""
        blocks = a_t.chunk(len(self.gates), dim=-1)
        return tuple(_ACTIVATIONS[name](block) for name, block in zip(self.gates, blocks, strict=True))

    def output(self, state: State) -> Tensor:
        return cast(Tensor, state if isinstance(state, Tensor) else state[0])

    def analytic(self, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        """As `loop`, without a graph."""
        (U,) = masks or (self.U,)
        return run_analytic(self, self.project(x), U, state, lengths)


_ACTIVATIONS: dict[str, Any] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "linear": lambda a: a,
}
