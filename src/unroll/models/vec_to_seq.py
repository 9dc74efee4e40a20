"""Vector to sequence: a text that a vector starts."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.dropout import Dropout, Locked
from unroll.errors import UsageError
from unroll.models.embedding import embedding
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State
from unroll.truncation import run_to_end

VectorAt = Literal["start", "every_step"]


class VecToSeq(nn.Module):
    """Tokens in, a score for every next token out, with a vector as the first thing that is read (Vinyals et al. 2015):

        x_{-1} = W v + b,     x_t = embedding(token_t) + a (W v + b)
        y_t, state_t = recurrent(x_t, state_{t-1})
        logits_t = V y_t + c

    With a = 0 (`vector_at: start`) the vector is seen once: what is written last hangs on what the state still knows of it.
    With a = 1 (`every_step`) it lies beside every token.

    Args:
        vector_size: numbers of v.
        vocab_size: number of tokens.
        recurrent: makes the stack; called with input_size=.
        embedding_size: width of the embedding.
        vector_at: when v is seen, see above.
        input_dropout: probability of dropping a feature of x_t.
        output_dropout: probability of dropping a feature of y_t.
        horizon: steps that gradients go back, see `run_to_end`; None: all.

    Raises:
        UsageError: a bidirectional stack.
    """

    def __init__(
        self,
        vector_size: PositiveInt,
        vocab_size: PositiveInt,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt,
        vector_at: VectorAt = "every_step",
        input_dropout: Probability = 0.0,
        output_dropout: Probability = 0.0,
        horizon: int | None = None,
    ) -> None:
        super().__init__()
        self.start = nn.Linear(vector_size, embedding_size)
        self.embedding = embedding(vocab_size, embedding_size)
        self.recurrent = recurrent(input_size=embedding_size)
        self.output = nn.Linear(self.recurrent.output_size, vocab_size)
        kind = Locked if self.recurrent.locked_dropout else Dropout
        self.input_dropout = kind(input_dropout)
        self.output_dropout = kind(output_dropout)
        self.vector_at = vector_at
        self.horizon = horizon
        if self.recurrent.bidirectional:
            raise UsageError("model.bidirectional=true: a caption's words would see those after them; take false")

    def forward(self, v: Tensor, tokens: Tensor) -> Tensor:
        """Score captions.

        Args:
            v: (batch, vector_size).
            tokens: (time, batch) of int, what is read: the begin, and each caption but for its end.

        Returns:
            logits (time, batch, vocab_size) for the token after each.
        """
        start = self.start(v)
        x = self.input_dropout(torch.cat([start[None], self._read(tokens, start)]))
        y, _ = run_to_end(self.recurrent, x, None, self.horizon, keep_state=False)
        return self.output(self.output_dropout(y[1:]))

    def _read(self, tokens: Tensor, start: Tensor) -> Tensor:
        """x_t of tokens (..., batch); start: (batch, embedding_size)."""
        return self.embedding(tokens) + start if self.vector_at == "every_step" else self.embedding(tokens)

    def started(self, v: Tensor) -> tuple[State, Tensor]:
        """The state after the vector was read, and the memory: what `advance` goes on from."""
        start = self.start(v)
        return self.recurrent(self.input_dropout(start[None]))[1], start

    def advance(self, tokens: Tensor, state: State, memory: State) -> tuple[Tensor, State]:
        """One step for several hypotheses of each vector; see `unroll.decoding.Advance`."""
        x = self._read(tokens.t(), memory).transpose(0, 1)  # (batch, beam, embedding_size)
        y, state = self.recurrent(self.input_dropout(x.flatten(0, 1))[None], state)
        return self.output(self.output_dropout(y[0])).view(*tokens.shape, -1), state
