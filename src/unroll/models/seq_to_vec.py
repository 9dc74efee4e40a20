"""Sequence to vector: one answer for a whole sequence."""

from collections.abc import Callable

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unroll.cells.base import Masks
from unroll.data.tokenizing import UNKNOWN
from unroll.dropout import Dropout
from unroll.models.embedding import embedding
from unroll.models.pooling import Pooling, make_pool
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State, detach
from unroll.truncation import windows_to_end


class SeqToVec(nn.Module):
    """Tokens in, scores for every class out, one set a sequence.

        x_t = embedding(token_t)
        y_t, state_t = recurrent(x_t, state_{t-1})
        v = pool(y_1, ..., y_T)
        logits = V v + c

    With `horizon`, gradients go back through at most so many steps of the recurrence: sequences are read in windows of this
    length that end where each sequence ends (the first one may be shorter), and the state is detached between them. For
    `last` only the last window has gradients then; for the others every window has, and each is run again in the backward
    pass, so that only one is in memory at a time. The answer itself is the same.

    Args:
        vocab_size: number of tokens.
        outputs: number of scores.
        recurrent: makes the stack; called with input_size=.
        embedding_size: width of the embedding.
        freeze_embedding: keep the embedding as it was drawn or loaded.
        pooling: what the scores see: the output at the sequence's end (`last`; of a reverse cell, at its beginning: where
            each has read all), their `mean` or `max` over time, or their mean under learned weights (`attention`).
        word_dropout: probability that a token is read as the unknown one.
        input_dropout: probability of dropping a feature of x_t.
        output_dropout: probability of dropping a feature of v.
        horizon: see above; None: the whole sequence. Bidirectional stacks need all of a sequence at once: for them there
            is none.
    """

    def __init__(
        self,
        vocab_size: PositiveInt,
        outputs: PositiveInt,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt,
        freeze_embedding: bool = False,
        pooling: Pooling = "last",
        word_dropout: Probability = 0.0,
        input_dropout: Probability = 0.0,
        output_dropout: Probability = 0.0,
        horizon: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding(vocab_size, embedding_size, freeze_embedding)
        self.recurrent = recurrent(input_size=embedding_size)
        self.pool = make_pool(pooling, self.recurrent.output_size)
        self.output = nn.Linear(self.recurrent.output_size, outputs)
        self.word_dropout = word_dropout
        self.input_dropout = Dropout(input_dropout)
        self.output_dropout = Dropout(output_dropout)
        self.horizon = None if self.recurrent.bidirectional else horizon

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Answer for a batch of sequences, each as if it were alone.

        Args:
            tokens: (time, batch) of int.
            lengths: (batch,) of int, 1 to time; None: all are as long as time. What lies past a sequence's end is not read.

        Returns:
            logits: (batch, outputs).
        """
        if self.training and self.word_dropout:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = tokens.masked_fill(dropped, UNKNOWN)
        if self.horizon is None or len(tokens) <= self.horizon:
            v = self._vector(self.embedding(tokens), lengths)
        else:
            v = self._vector_by_windows(tokens, lengths, self.horizon)
        return self.output(self.output_dropout(v))

    def from_embedded(self, x: Tensor) -> Tensor:
        """x: (time, batch, embedding_size), the embedded tokens of sequences of one length -> logits (batch, outputs)."""
        return self.output(self._vector(x, None))

    def _vector(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        y, _ = self.recurrent(self.input_dropout(x), None, lengths, keep_state=False)
        if self.pool is None:
            return self._last(y, lengths)
        return self.pool(y, lengths)[0]

    def _last(self, y: Tensor, lengths: Tensor | None) -> Tensor:
        size = self.recurrent.top_size
        ends = y[-1] if lengths is None else y[lengths - 1, torch.arange(y.shape[1], device=y.device)]
        return torch.cat([ends[:, :size], y[0, :, size:]], dim=-1) if self.recurrent.bidirectional else ends

    def _vector_by_windows(self, tokens: Tensor, lengths: Tensor | None, horizon: int) -> Tensor:
        weight = self.embedding.weight
        state = self.recurrent.initial_state(tokens.shape[1], weight)
        masks = self.recurrent.draw_masks(tokens.shape[1], weight)
        *earlier, final = windows_to_end(tokens, lengths, horizon)
        if self.pool is None:
            with torch.no_grad():
                for window, steps, _ in earlier:
                    _, state = self._run(window, steps, state, masks)
            torch.clear_autocast_cache()  # what was cast without a graph must not be taken where there is one
            window, steps, _ = final
            y, _ = self._run(window, steps, detach(state), masks)
            return self._last(y, steps)
        vectors, log_weights = [], []
        for window, steps, _ in [*earlier, final]:
            vector, log_weight, state = checkpoint(self._pool, window, steps, state, masks, use_reentrant=False)
            state = detach(state)
            vectors.append(vector)
            log_weights.append(log_weight)
        return self.pool.combine(torch.stack(vectors), torch.stack(log_weights))

    def _pool(
        self, window: Tensor, steps: Tensor | None, state: State, masks: tuple[Masks, ...]
    ) -> tuple[Tensor, Tensor, State]:
        assert self.pool is not None
        y, state = self._run(window, steps, state, masks)
        return *self.pool(y, steps), state

    def _run(
        self, window: Tensor, steps: Tensor | None, state: State, masks: tuple[Masks, ...]
    ) -> tuple[Tensor, State]:
        y, state = self.recurrent(self.input_dropout(self.embedding(window)), state, steps, masks)
        return y, state
