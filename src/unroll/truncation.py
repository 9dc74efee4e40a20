"""How far back gradients go."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor

from unroll.errors import UsageError
from unroll.schema import Probability
from unroll.state import State, detach

if TYPE_CHECKING:
    from unroll.recurrent import Recurrent


class Truncation:
    """Truncated backpropagation through time (Williams & Peng 1990: BPTT(h; h'); Sutskever 2013, section 2.8: k1, k2).

    On a stream a batch is one window. The state is carried, detached, from window to window, so what the network
    *remembers* is not cut; only the path that gradients take is. On sequences that end, gradients are cut between windows
    of `horizon` steps that are aligned to each sequence's end; an update is made a batch, whatever `length` is.

    Args:
        length: steps of the stream between two updates (k1). null: the whole sequence, which a stream has not.
        horizon: how many steps gradients go back at most (k2), >= length; null: the same as length. With more, a batch is
            [history | window]: the loss is on the window, and the history, run again under the new weights, lets
            gradients reach further. It costs horizon / length times the work.
        carry_state: whether the state goes on into the next window. If not, each starts from zero.
        reset_probability: with what probability a row's carried state is zeroed before a window. A little of it keeps
            large networks from leaning on states that they meet only deep in a stream.
        vary_length: windows of a stream differ in length, so that they are cut elsewhere in every pass (Merity et al. 2017,
            section 4.1): see `unroll.data.lanes`. The rate of an update follows the length of its window.

    Raises:
        UsageError: horizon < length.
    """

    def __init__(
        self,
        length: PositiveInt | None,
        horizon: PositiveInt | None = None,
        carry_state: bool = True,
        reset_probability: Probability = 0.0,
        vary_length: bool = False,
    ) -> None:
        if length is not None and horizon is not None and horizon < length:
            raise UsageError(
                f"truncation.horizon={horizon} is shorter than truncation.length={length}: gradients reach at least "
                "through the window itself; leave horizon out or make it longer"
            )
        self.length = length
        self.horizon = horizon or length
        self.carry_state = carry_state
        self.reset_probability = reset_probability
        self.vary_length = vary_length

    @property
    def history(self) -> int:
        """Steps before the window that a batch runs again."""
        assert self.length is not None and self.horizon is not None
        return self.horizon - self.length

    def refuse_for_sequences_that_end(self, why: str, carry_state: bool = True) -> None:
        """What means something on a stream only is not to be set.

        Args:
            why: what there is instead of a stream, as "a text is read as a whole".
            carry_state: whether that is one of these.

        Raises:
            UsageError: one is set.
        """
        found = {
            "truncation.carry_state=false": carry_state and not self.carry_state,
            "truncation.reset_probability": self.reset_probability,
            "truncation.vary_length=true": self.vary_length,
        }
        if any(found.values()):
            raise UsageError(f"{' and '.join(name for name in found if found[name])}: for streams only; {why}")


def run_window(
    recurrence: Callable[[Tensor, State | None], tuple[Tensor, State]], x: Tensor, state: State | None, advance: int
) -> tuple[Tensor, State | None]:
    """Run over a [history | window] and catch the state where the next one begins.

    Gradients flow through the whole; what is carried on is detached. Where the histories of two batches overlap, only
    this one state is kept, whatever horizon / length is: no ring of older ones.

    Args:
        recurrence: `y, state = recurrence(x, state)`.
        x: (time, batch, ...).
        state: the state before the first step; None for the initial one.
        advance: after how many steps the next batch's first step comes, 0 <= advance <= time.

    Returns:
        The outputs (time, batch, ...), and the state `advance` steps on.
    """
    if advance == 0:
        return recurrence(x, state)[0], state
    y, carried = recurrence(x[:advance], state)
    if advance < len(x):
        y = torch.cat([y, recurrence(x[advance:], carried)[0]])
    return y, detach(carried)


class Window(NamedTuple):
    """A window of finite sequences.

    Attributes:
        x: (steps, batch, ...).
        steps: (batch,) of int: how many of its steps each sequence has; None: all.
        places: (steps, batch) of int: which step of its sequence each is, where it is one; None: they follow one another.
    """

    x: Tensor
    steps: Tensor | None
    places: Tensor | None


def windows_to_end(x: Tensor, lengths: Tensor | None, horizon: int) -> Iterator[Window]:
    """Cut finite sequences into windows of `horizon` steps, each sequence's last window ending where it ends.

    What does not fill a window comes first: a sequence takes part from the window on in which it begins.

    Args:
        x: (time, batch, ...).
        lengths: (batch,) of int, 1 to time; None: all are as long as time.
        horizon: steps a window.

    Yields:
        The windows, in order.
    """
    count = -(-len(x) // horizon)
    for after in reversed(range(count)):
        size = horizon if after + 1 < count else len(x) - after * horizon
        if lengths is None:
            end = len(x) - after * horizon
            yield Window(x[end - size : end], None, None)
            continue
        ends = lengths - after * horizon
        starts = (ends - size).clamp(min=0)
        steps = torch.arange(size, device=x.device)[:, None]
        index = (starts + steps).clamp(max=len(x) - 1)
        window = x.gather(0, index.view(*index.shape, *[1] * (x.dim() - 2)).expand(*index.shape, *x.shape[2:]))
        yield Window(window, (ends - starts).clamp(min=0), index)


def run_to_end(
    recurrent: "Recurrent", x: Tensor, lengths: Tensor | None, horizon: int | None, keep_state: bool = True
) -> tuple[Tensor, State]:
    """Run over finite sequences, with the way back for gradients cut between windows of `horizon` steps.

    Args:
        recurrent: the stack.
        x, lengths: see `windows_to_end`.
        horizon: steps a window; None: all in one.
        keep_state: whether the final state is wanted, see `Recurrent`.

    Returns:
        The outputs (time, batch, ...), zero past a sequence's end, and the state after each sequence's last step.
    """
    if horizon is None or len(x) <= horizon:
        return recurrent(x, None, lengths, keep_state=keep_state)
    masks = recurrent.draw_masks(x.shape[1], x)
    windows, outputs, state = list(windows_to_end(x, lengths, horizon)), [], None
    for window in windows:
        y, state = recurrent(window.x, None if state is None else detach(state), window.steps, masks)
        outputs.append(y)
    if lengths is None:
        return torch.cat(outputs), state
    # Where a sequence has no step of a window, the zeros there are added to some step of it.
    total = outputs[0].new_zeros(len(x), *outputs[0].shape[1:])
    for window, y in zip(windows, outputs, strict=True):
        assert window.places is not None
        total = total.scatter_add(0, window.places.view(*window.places.shape, *[1] * (y.dim() - 2)).expand_as(y), y)
    return total, state
