"""What a cell is."""

from abc import ABC, abstractmethod
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor, nn

from unroll.errors import UsageError
from unroll.state import State, map_state, where

Masks = tuple[Tensor, ...]
"""What is drawn once a sequence and given to every step: a dropped recurrent matrix, say. Empty for most cells."""


class Cell(nn.Module, ABC):
    """One layer of one recurrence: how a time step maps `(x_t, state)` to the next state.

    A subclass writes two equations and, if its state is more than `h`, where it starts and what of it is seen:

    - `project`: the part that does not depend on the state. It is hoisted out of time: one matrix product for all steps.
    - `step`: the rest.

    `loop` follows from these and is the reference. A faster path is a method of the same signature, named in `paths`; it
    equals `loop` in outputs, final state and gradients.

    Args:
        input_size: number of features of x_t.
        hidden_size: number of units, the features of the output.
    """

    paths: ClassVar[tuple[str, ...]] = ("loop",)
    """The paths over time that this cell has, the fastest on a CPU first; names of its methods."""

    can_keep_units = True
    """Whether one unit of a state may keep its value while the others go on, as zoneout wants it."""

    any_state = True
    """Whether any numbers make a state of it, as a decoder's learned first one wants it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """x: (..., input_size), for one step or for all -> (..., p), what `step` takes."""

    @abstractmethod
    def step(self, px_t: Tensor, state: State, *masks: Tensor) -> State:
        """px_t: (batch, p), the projected input of one step; the state before it -> the state after it."""

    def input_map(self) -> tuple[Tensor, Tensor | None] | None:
        """(W, b) where `project` is W x + b and nothing else, so that W may be taken apart; None where it is more."""
        return None

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        """Zeros, on the device and in the floating-point type of `like`."""
        return like.new_zeros(batch_size, self.hidden_size)

    def output(self, state: State) -> Tensor:
        """What the layer above sees of a state: (batch, hidden_size)."""
        h: Tensor = state
        return h

    def draw_masks(self, batch_size: int, like: Tensor) -> Masks:
        """What is random in a sequence, drawn once for all of its steps; nothing by default."""
        return ()

    def weights_of_steps(self, masks: Masks) -> Masks:
        """For a caller that steps through a sequence itself: masks that say to `step` the same, with gradients that are
        cheaper over many steps (`unroll.late_gradient`)."""
        return masks

    def loop(self, x: Tensor, state: State, lengths: Tensor | None = None, masks: Masks = ()) -> tuple[Tensor, State]:
        """The recurrence as written, a step after the other.

        Args:
            x: (time, batch, input_size).
            state: the state before the first step.
            lengths: (batch,) of int: how many steps each sequence has, 0 to time; None: all. Past its end a sequence's
                state stands still, and its outputs are zero.
            masks: as `draw_masks` returned them.

        Returns:
            The outputs (time, batch, hidden_size) and the state after the last step.
        """
        outputs = []
        for t, px_t in enumerate(self.project(x).unbind(0)):
            new = self.step(px_t, state, *masks)
            y = self.output(new)
            if lengths is None:
                state = new
            else:
                within = t < lengths
                state = where(within, new, state)
                y = where(within, y, torch.zeros_like(y))
            outputs.append(y)
        return torch.stack(outputs), state

    def branch(self, px: Tensor, state: State, masks: Masks = ()) -> Tensor:
        """One step along several inputs, each from the same state.

        Args:
            px: (branches, batch, p), the projected inputs.
            state: the state before them.
            masks: as `draw_masks` returned them.

        Returns:
            The outputs (branches, batch, hidden_size).
        """
        return torch.stack([self.output(self.step(px_j, state, *masks)) for px_j in px.unbind(0)])

    def path(self, x: Tensor, lengths: Tensor | None) -> str:
        """The path that is fastest for an input like this."""
        return self.paths[0]

    def check_backend(self, backend: str) -> None:
        """Does this cell have the path that someone asks for?

        Raises:
            UsageError: it does not.
        """
        if backend != "auto" and backend not in self.paths:
            raise UsageError(
                f"model.backend={backend}: {type(self).__name__} has no such path over time; "
                f"Valid: auto, {', '.join(self.paths)}"
            )

    def forward(
        self,
        x: Tensor,
        state: State,
        lengths: Tensor | None = None,
        masks: Masks | None = None,
        backend: str = "auto",
    ) -> tuple[Tensor, State]:
        """As `loop`, by the path that `backend` names; `auto` takes the fastest. Masks are drawn if none are given."""
        if masks is None:
            masks = self.draw_masks(x.shape[1], x)
        # Half precision ends where state is carried on: autocast may answer in it, and a caller may bring it.
        kind = dtype_of(self)
        state = as_type(state, kind)
        y, final = getattr(self, self.path(x, lengths) if backend == "auto" else backend)(x, state, lengths, masks)
        return y, as_type(final, kind)


def dtype_of(module: nn.Module) -> torch.dtype:
    """The floating type of a module's numbers; torch's default where it has none."""
    numbers = chain(module.parameters(), module.buffers())
    return next((tensor.dtype for tensor in numbers if tensor.is_floating_point()), torch.get_default_dtype())


def as_type(state: State, kind: torch.dtype) -> State:
    """A state in a floating type; what counts, in whole numbers, goes on as it is."""
    return map_state(lambda tensor: tensor.to(kind) if tensor.is_floating_point() else tensor, state)


def at_ends(trajectory: Tensor, initial: Tensor, lengths: Tensor | None) -> Tensor:
    """The values after each sequence's last step.

    Args:
        trajectory: (time, batch, ...), after each step.
        initial: (batch, ...), before the first: the answer for a sequence of length 0.
        lengths: see `Cell.loop`.
    """
    if lengths is None:
        return trajectory[-1].clone()  # a view, carried on, would keep all of it
    rows = torch.arange(len(lengths), device=lengths.device)
    final = trajectory[(lengths - 1).clamp(min=0), rows]
    return where(lengths > 0, final, initial)


def cut_outputs(y: Tensor, lengths: Tensor | None) -> Tensor:
    """Outputs (time, batch, features) with zeros past each sequence's end."""
    if lengths is None:
        return y
    steps = torch.arange(len(y), device=lengths.device)[:, None]
    return y.masked_fill((steps >= lengths)[:, :, None], 0)
