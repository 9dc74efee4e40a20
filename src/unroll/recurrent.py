"""A stack of layers of one cell: the part that every model is built from."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from unroll.cells.base import Cell, Masks, as_type, cut_outputs, dtype_of
from unroll.dropout import dropout
from unroll.errors import UsageError
from unroll.late_gradient import late
from unroll.recompute import run_recomputed
from unroll.schema import Probability
from unroll.state import State, flatten


class Recurrent(nn.Module):
    """`y, state = recurrent(x, state, lengths)`: the state always goes in and comes out; nothing is kept inside.

    Args:
        input_size: features of x.
        hidden_size: units a layer (and direction).
        cell: makes a layer: called as `cell(input_size, hidden_size)`.
        num_layers: how many lie over each other, each reading the outputs of the one below.
        bidirectional: a second cell in each layer reads the sequence from its end; the outputs of both lie side by side
            (Schuster & Paliwal 1997). It sees the future: not for what predicts it.
        dropout: probability that a feature is dropped between two layers (Zaremba et al. 2014: never along the recurrent
            path).
        locked_dropout: drop the same features at every step of a sequence (Gal & Ghahramani 2016), not anew at each.
        residual: each layer but the first adds its input to its output.
        output_norm: layer normalization (Ba et al. 2016) of the top layer's outputs, as after a stack of blocks, each of
            which begins with a norm. (Griffin's is the root mean square's; this one takes the mean away, too.)
        top_size: units of the top layer (and direction); None: hidden_size. As wide as an embedding, it can share its
            weights over wider layers (Merity et al. 2017, section 4.5).
        backend: the path over time, see `Cell.paths`; `auto` takes the fastest that a cell has.
        recompute: keep only the states between windows of this many steps, and run each window again in the backward
            pass: full backpropagation through time in little memory, for 1.4 to 1.6 times the time. `auto` takes
            sqrt(time); None keeps everything.

    Raises:
        UsageError: a backend that the cell does not have; residual with a top layer of another width.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        cell: Callable[[int, int], Cell],
        num_layers: PositiveInt = 1,
        bidirectional: bool = False,
        dropout: Probability = 0.0,
        locked_dropout: bool = False,
        residual: bool = False,
        output_norm: bool = False,
        backend: str = "auto",
        recompute: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None,
        top_size: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.bidirectional = bidirectional
        self.top_size = top_size or hidden_size
        if residual and num_layers > 1 and self.top_size != hidden_size:
            raise UsageError(
                f"model.residual=true adds a layer's input to its output: model.top_size={top_size} has to be "
                f"model.hidden_size={hidden_size}, or null"
            )
        directions = 2 if bidirectional else 1
        self.output_size = self.top_size * directions
        sizes = [hidden_size] * (num_layers - 1) + [self.top_size]
        self._widths = [input_size, *(size * directions for size in sizes[:-1])]
        """Features that each layer reads."""
        shapes = list(zip(self._widths, sizes, strict=True))
        self.layers = nn.ModuleList(cell(width, size) for width, size in shapes)
        self.reverse_layers = nn.ModuleList(cell(width, size) for width, size in shapes if bidirectional)
        self.norm = nn.LayerNorm(self.output_size, bias=False) if output_norm else nn.Identity()
        self.dropout = dropout
        self.locked_dropout = locked_dropout
        self.residual = residual
        self.backend = backend
        self.recompute = recompute
        self._cells[0].check_backend(backend)
        self.is_stepped = False
        """Whether a model steps through it (see `stepper`): then there is one path over time, by the cell's own steps."""

    @property
    def _cells(self) -> list[Cell]:
        """All cells, in the order of their states: a layer's forward one, its reverse one, the next layer's, ..."""
        if not self.bidirectional:
            return [cast(Cell, layer) for layer in self.layers]
        pairs = zip(self.layers, self.reverse_layers, strict=True)
        return [cast(Cell, cell) for pair in pairs for cell in pair]

    @property
    def any_state(self) -> bool:
        """See `Cell.any_state`."""
        return all(cell.any_state for cell in self._cells)

    def initial_state(self, batch_size: int, like: Tensor) -> State:
        """Every cell's initial state, in the device and type of `like`."""
        return tuple(cell.initial_state(batch_size, like) for cell in self._cells)

    def draw_masks(self, batch_size: int, like: Tensor) -> tuple[Masks, ...]:
        """All that is random once a sequence: each cell's masks, then that of each dropout between layers.

        A caller that goes through one sequence in several calls (a decoder, step by step) draws them once and gives
        them with each.
        """
        masks = [cell.draw_masks(batch_size, like) for cell in self._cells]
        if self.training and self.dropout and self.locked_dropout:
            masks += [(dropout(like.new_ones(batch_size, width), self.dropout),) for width in self._widths[1:]]
        return tuple(masks)

    def path(self, x: Tensor, lengths: Tensor | None = None) -> str:
        """The path over time that an input like this is sent along."""
        if self.is_stepped:
            return "stepped"
        return self._cells[0].path(x, lengths) if self.backend == "auto" else self.backend

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        lengths: Tensor | None = None,
        masks: tuple[Masks, ...] | None = None,
        keep_state: bool = True,
    ) -> tuple[Tensor, State]:
        """Run over a sequence, or over a window of one.

        Args:
            x: (time, batch, input_size), time >= 1.
            state: a tuple with the state of each cell before the first step; None for the initial state.
            lengths: (batch,) of int: how many steps each sequence has, 0 to time; None: all. Past its end a sequence's
                state stands still and its outputs are zero; a reverse cell begins at its true end.
            masks: as `draw_masks` returned them; None draws them here.
            keep_state: whether the final state is wanted; if not, None is returned for it. Where sequences have lengths of
                their own that lets every cell run on past their ends, as torch's kernels do: what lies there cannot reach
                what came before it, and is cut off.

        Returns:
            The top layer's outputs (time, batch, output_size), and the state after the last step: what continues the
            sequence when it is given with the next window. A reverse cell's is its state after the first step.
        """
        batch_size = x.shape[1]
        cells = self._cells
        if state is None:
            state = self.initial_state(batch_size, x.new_empty(0, dtype=dtype_of(self)))
        if masks is None:
            masks = self.draw_masks(batch_size, x)
        directions = 2 if self.bidirectional else 1
        final: list[State] = []
        for depth in range(len(self.layers)):
            if depth > 0:
                x = self._drop(x, masks, depth)
            outputs = []
            for index in range(depth * directions, (depth + 1) * directions):
                backwards = index % directions == 1
                given = reverse(x, lengths) if backwards else x
                asked = lengths if keep_state else None
                y, cell_state = self._run(cells[index], given, state[index], asked, masks[index])
                outputs.append(reverse(y, lengths) if backwards else y)
                final.append(cell_state)
            y = outputs[0] if directions == 1 else torch.cat(outputs, dim=-1)
            x = x + y if self.residual and depth > 0 else y
        x = self.norm(x)
        return (x, tuple(final)) if keep_state else (cut_outputs(x, lengths), None)

    def stepper(self, x: Tensor, masks: tuple[Masks, ...]) -> Callable[[int, Tensor, State], tuple[Tensor, State]]:
        """For a loop whose input hangs on its own outputs: a step at a time, by the equations of `Cell.step`.

        What is known of the inputs beforehand is multiplied for all steps at once, where a cell allows it.

        Args:
            x: (time, batch, known): the first features of the input of every step.
            masks: as `draw_masks` returned them.

        Returns:
            A function of t, the other features of step t (batch, input_size - known), and the state before it. It returns
            the top layer's output (batch, output_size), and the state after it.
        """
        cells = self._cells
        known = x.shape[-1]
        affine = cells[0].input_map()
        if affine is None:
            inputs = x.unbind(0)
        else:
            W, b = affine
            W_rest = late(W[:, known:])
            inputs = nn.functional.linear(x, W[:, :known], b).unbind(0)
        kind = dtype_of(self)
        masks = tuple(cell.weights_of_steps(own) for cell, own in zip(cells, masks, strict=False)) + masks[len(cells) :]

        def step(t: int, rest: Tensor, state: State) -> tuple[Tensor, State]:
            after: list[State] = []
            y = rest
            for depth, cell in enumerate(cells):
                if depth == 0 and affine is not None:
                    px_t = inputs[t] + nn.functional.linear(rest, W_rest) if rest.shape[-1] else inputs[t]
                else:
                    x_t = torch.cat([inputs[t], rest], -1) if depth == 0 else self._drop(y, masks, depth)
                    px_t = cell.project(x_t)
                # Half precision ends where state is carried on.
                new = as_type(cell.step(px_t, state[depth], *masks[depth]), kind)
                after.append(new)
                output = cell.output(new)
                y = x_t + output if self.residual and depth > 0 else output
            return self.norm(y), tuple(after)

        return step

    def branch(self, x: Tensor, state: State) -> Tensor:
        """One step along several inputs, each from the same state; what does not differ between them is worked out once.

        Args:
            x: (branches, inputs, input_size); `inputs` divides the batch, whose sequences take them in turn.
            state: the state before them; see `forward`.

        Returns:
            The top layer's outputs (branches, batch, output_size).

        Raises:
            UsageError: the stack is bidirectional: a step has no other direction.
        """
        if self.bidirectional:
            raise UsageError("model.bidirectional=true: a single step has no other direction")
        kind = dtype_of(self)
        state = as_type(state, kind)
        batch_size = len(flatten(state)[0])
        masks = self.draw_masks(batch_size, x)
        for depth, cell in enumerate(self._cells):
            given = self._drop(x, masks, depth) if depth > 0 else x
            px = cell.project(given)
            if depth == 0:  # not by an index, whose gradients are added up one by one
                px = px[:, None].expand(-1, batch_size // px.shape[1], -1, -1).flatten(1, 2)
            y = cell.branch(px, state[depth], masks[depth])
            x = given + y if self.residual and depth > 0 else y
        return cast(Tensor, self.norm(x))

    def _drop(self, x: Tensor, masks: tuple[Masks, ...], depth: int) -> Tensor:
        """Dropout of what goes into the layer `depth` > 0."""
        if not self.dropout or not self.training:
            return x
        if not self.locked_dropout:
            return dropout(x, self.dropout)
        (mask,) = masks[len(self._cells) + depth - 1]
        return x * mask

    def _run(self, cell: Cell, x: Tensor, state: State, lengths: Tensor | None, masks: Masks) -> tuple[Tensor, State]:
        steps = math.isqrt(len(x)) if self.recompute == "auto" else self.recompute
        if steps is None or steps >= len(x) or not torch.is_grad_enabled():
            return cast(tuple[Tensor, State], cell(x, state, lengths, masks, self.backend))
        return run_recomputed(cell, x, state, lengths, masks, self.backend, steps)


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x: (time, batch, ...) with each sequence turned round; what lies past its end stays where it is."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(len(x), device=x.device)[:, None]
    from_step = torch.where(steps < lengths, lengths - 1 - steps, steps)
    rows = from_step * x.shape[1] + torch.arange(x.shape[1], device=x.device)
    turned: Tensor = _Turned.apply(x, rows.flatten())
    return turned


class _Turned(torch.autograd.Function):
    """(time, batch, ...) in another order of its time * batch rows, one that is its own inverse: so gradients go back by the
    same copy, where those of an index are added up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return x.flatten(0, 1).index_select(0, rows).view_as(x)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        (rows,) = ctx.saved_tensors
        return _Turned.apply(d, rows), None
