"""What a cell is."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from unroll.state import State


class Cell(nn.Module, ABC):
    """One layer of one recurrence: how a time step maps `(x_t, state)` to the next state.

    A subclass writes two equations and, if its state is more than `h`, where it starts and what of it is seen:

    - `project`: the part that does not depend on the state. It is hoisted out of time: one matrix product for all steps.
    - `step`: the rest.

    `loop` follows from these and is the reference. A faster path overrides `forward` and must equal `loop` in outputs,
    final state and gradients.

    Args:
        input_size: number of features of x_t.
        hidden_size: number of units, the features of the output.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """x: (..., input_size), for one step or for all -> (..., p), what `step` takes."""

    @abstractmethod
    def step(self, px_t: Tensor, state: State) -> State:
        """px_t: (batch, p), the projected input of one step; the state before it -> the state after it."""

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        """Zeros, on the device and in the floating-point type of `like`."""
        return like.new_zeros(batch_size, self.hidden_size)

    def output(self, state: State) -> Tensor:
        """What the layer above sees of a state: (batch, hidden_size)."""
        h: Tensor = state
        return h

    def loop(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The recurrence as written, a step after the other.

        Args:
            x: (time, batch, input_size).
            state: the state before the first step.

        Returns:
            The outputs (time, batch, hidden_size) and the state after the last step.
        """
        outputs = []
        for px_t in self.project(x).unbind(0):
            state = self.step(px_t, state)
            outputs.append(self.output(state))
        return torch.stack(outputs), state

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """As `loop`, by the fastest path that this cell has."""
        return self.loop(x, state)
