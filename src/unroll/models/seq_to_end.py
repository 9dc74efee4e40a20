"""Sequence to what its end is asked: answers at the last steps, from all that was read."""

from collections.abc import Callable
from functools import partial

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.errors import UsageError
from unroll.recurrent import Recurrent
from unroll.state import detach
from unroll.truncation import windows_to_end


class SeqToEnd(nn.Module):
    """Steps in, numbers for each of the last `asked` steps out.

        y_t, state_t = recurrent(x_t, state_{t-1}),     x_t = embedding(symbol_t), or the step's own numbers
        answer_t = V y_t + c,     t = T - asked + 1 ... T

    With `horizon`, gradients go back through at most so many steps: the sequence is read in windows of this length that end
    where it ends, and the state is detached between them. The answer itself is the same.

    Args:
        symbols: how many different ones a step may be; 0: a step is `features` numbers.
        features: see there.
        outputs: numbers an answer has.
        recurrent: makes the stack; called with input_size=.
        embedding_size: width of the symbols' embedding.
        horizon: see above; None: the whole sequence.
        carry_state: whether the state goes on from window to window. If not, each starts from zero, and what lies further
            back than the answers' windows is not seen at all.

    Raises:
        UsageError: a bidirectional stack.
    """

    def __init__(
        self,
        symbols: int,
        features: int,
        outputs: PositiveInt,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt,
        horizon: int | None = None,
        carry_state: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding_size) if symbols else None
        self.recurrent = recurrent(input_size=embedding_size if symbols else features)
        self.output = nn.Linear(self.recurrent.output_size, outputs)
        self.horizon = horizon
        self.carry_state = carry_state
        if self.recurrent.bidirectional:
            raise UsageError(
                "model.bidirectional=true: the answer is read off the last step, and cells that come from the end have read "
                "that step alone there; take false"
            )

    def forward(self, steps: Tensor, asked: int) -> Tensor:
        """Answer for a batch of sequences of one length.

        Args:
            steps: (time, batch) of int, or (time, batch, features).
            asked: how many steps at the end are to be answered, 1 to time.

        Returns:
            (asked, batch, outputs).
        """
        horizon = self.horizon or len(steps)
        windows = -(-asked // horizon)  # that have something to answer
        first = max(0, len(steps) - windows * horizon)
        state, outputs = None, []
        recurrent = partial(self.recurrent, masks=self.recurrent.draw_masks(steps.shape[1], self.output.weight))
        if first and self.carry_state:
            with torch.no_grad():
                _, state = recurrent(self._embedded(steps[:first]))
            torch.clear_autocast_cache()  # what was cast without a graph must not be taken where there is one
        for window in windows_to_end(steps[first:], None, horizon):
            goes_on = state is not None and self.carry_state
            y, state = recurrent(self._embedded(window.x), detach(state) if goes_on else None)
            outputs.append(y)
        return self.output(torch.cat(outputs)[-asked:])

    def _embedded(self, steps: Tensor) -> Tensor:
        return steps.to(self.output.weight.dtype) if self.embedding is None else self.embedding(steps)
