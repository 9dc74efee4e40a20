"""Sequence to sequence, aligned: an output for every step."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.dropout import Dropout, Locked, dropout
from unroll.errors import UsageError
from unroll.models.embedding import embedding
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State
from unroll.truncation import run_window


class SeqToSeq(nn.Module):
    """Tokens in, a score for every token of the vocabulary out, a step each.

        x_t = embedding(token_t)    or the token's one-hot vector
        y_t, state_t = recurrent(x_t, state_{t-1})
        logits_t = V y_t + c

    Args:
        vocab_size: number of tokens.
        recurrent: makes the stack; called with input_size=.
        embedding_size: width of the embedding; None feeds one-hot vectors.
        freeze_embedding: keep the embedding as it was drawn.
        tie_weights: V is the embedding's matrix (Press & Wolf 2017); needs embedding_size = the stack's width.
        input_dropout: probability of dropping a feature of x_t.
        output_dropout: probability of dropping a feature of y_t. With the stack's `locked_dropout` both drop the same
            features at every step (Gal & Ghahramani 2016).
        embedding_dropout: probability of dropping a token's whole embedding, wherever it occurs in a window.

    Raises:
        UsageError: tie_weights with another width, or without an embedding.
    """

    def __init__(
        self,
        vocab_size: PositiveInt,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt | None,
        freeze_embedding: bool = False,
        tie_weights: bool = False,
        input_dropout: Probability = 0.0,
        output_dropout: Probability = 0.0,
        embedding_dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        if embedding_size is None:
            self.embedding = None
        else:
            self.embedding = embedding(vocab_size, embedding_size, freeze_embedding)
        self.recurrent = recurrent(input_size=embedding_size or vocab_size)
        self.output = nn.Linear(self.recurrent.output_size, vocab_size)
        if tie_weights:
            if self.embedding is None or embedding_size != self.recurrent.output_size:
                raise UsageError(
                    "task.tie_weights=true needs task.embedding_size equal to model.hidden_size, or model.top_size: "
                    f"they are {embedding_size} and {self.recurrent.output_size}"
                )
            self.output.weight = self.embedding.weight
        # A locked mask is one for all steps, which are the first dimension.
        kind = Locked if self.recurrent.locked_dropout else Dropout
        self.input_dropout = kind(input_dropout)
        self.output_dropout = kind(output_dropout)
        self.embedding_dropout = embedding_dropout

    def hidden(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """tokens: (time, batch) of int -> the stack's outputs (time, batch, hidden_size) and final state."""
        return self.recurrent(self.input_dropout(self._features(tokens)), state)

    def hidden_of_window(self, tokens: Tensor, state: State | None, advance: int) -> tuple[Tensor, State | None]:
        """As `hidden`, with the state `advance` steps on, detached; see `run_window`. What is random is so once."""
        x = self.input_dropout(self._features(tokens))
        masks = self.recurrent.draw_masks(x.shape[1], x)
        return run_window(partial(self.recurrent, masks=masks), x, state, advance)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """One step by the cells' own equations: token, (batch,) of int, and the state before it -> logits (batch, vocab_size)
        for the token after it, and the state."""
        x = self.input_dropout(self._features(token[None]))
        run = self.recurrent.stepper(x, self.recurrent.draw_masks(len(token), x))
        y, state = run(0, x.new_empty(len(token), 0), state)
        return self.readout(y), state

    def _features(self, tokens: Tensor) -> Tensor:
        if self.embedding is None:
            return F.one_hot(tokens, self.vocab_size).to(self.output.weight.dtype)
        return self._embedded(tokens)

    def _embedded(self, tokens: Tensor) -> Tensor:
        assert self.embedding is not None
        if not self.training or not self.embedding_dropout:
            return self.embedding(tokens)
        kept = dropout(self.embedding.weight.new_ones(self.vocab_size, 1), self.embedding_dropout)
        return self.embedding(tokens) * kept[tokens]

    def drop_output(self, y: Tensor) -> Tensor:
        """What the scores are made of: y, (time, batch, output_size), with dropout."""
        return self.output_dropout(y)

    def readout(self, y: Tensor) -> Tensor:
        """y: (..., output_size) -> logits (..., vocab_size): log-probabilities up to a constant."""
        return self.output(self.output_dropout(y))

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """tokens: (time, batch) of int -> logits (time, batch, vocab_size) for the token after each, and final state."""
        y, state = self.hidden(tokens, state)
        return self.readout(y), state
