"""Sequence to sequence, aligned: scores of the tags of every word, read as a word and as its letters."""

from collections.abc import Callable

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.data.tagged_batches import Spellings
from unroll.data.tokenizing import UNKNOWN
from unroll.dropout import Dropout, Locked
from unroll.models.embedding import embedding
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.truncation import run_to_end


class Tagger(nn.Module):
    """Words in, a score for each tag of each word out (Lample et al. 2016).

        c_w = [the last outputs of a recurrence over the letters of w, forward and backward]
        x_t = [embedding(w_t); c_{w_t}]
        y_t = recurrent(x_1, ..., x_T)_t
        e_t = V y_t + c

    Each different word of a batch is spelled once.

    Args:
        vocab_size: number of tokens of words.
        character_count: number of characters.
        outputs: number of tags.
        recurrent: makes a stack; called with input_size=; that of the letters with one bidirectional layer too.
        embedding_size: width of the words' embedding.
        freeze_embedding: keep that embedding as it was drawn or loaded.
        character_embedding_size: width of the characters' embedding.
        character_hidden_size: units of the letters' recurrence, in each direction; None: letters are not read.
        once: how many tokens, the last ones, stand only once in the training sentences.
        once_dropout: probability that such a word is read as unknown, in training: so that the unknown word is learned.
        word_dropout: the same for any word.
        input_dropout: probability of dropping a feature of x_t.
        output_dropout: probability of dropping a feature of y_t.
        horizon: steps that gradients go back, see `run_to_end`; None: the whole sentence. Bidirectional stacks need all of it
            at once: for them there is none.
    """

    def __init__(
        self,
        vocab_size: PositiveInt,
        character_count: PositiveInt,
        outputs: PositiveInt,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt,
        freeze_embedding: bool = False,
        character_embedding_size: PositiveInt = 32,
        character_hidden_size: PositiveInt | None = 32,
        once: int = 0,
        once_dropout: Probability = 0.0,
        word_dropout: Probability = 0.0,
        input_dropout: Probability = 0.0,
        output_dropout: Probability = 0.0,
        horizon: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding(vocab_size, embedding_size, freeze_embedding)
        self.letters: Recurrent | None = None
        width = embedding_size
        if character_hidden_size is not None:
            self.character_embedding = embedding(character_count, character_embedding_size)
            self.letters = recurrent(
                input_size=character_embedding_size,
                hidden_size=character_hidden_size,
                num_layers=1,
                bidirectional=True,
                top_size=None,
            )
            width += self.letters.output_size
        self.recurrent = recurrent(input_size=width)
        self.output = nn.Linear(self.recurrent.output_size, outputs)
        self.first_once = vocab_size - once
        self.once_dropout = once_dropout
        self.word_dropout = word_dropout
        kind = Locked if self.recurrent.locked_dropout else Dropout
        self.input_dropout = kind(input_dropout)
        self.output_dropout = kind(output_dropout)
        self.horizon = None if self.recurrent.bidirectional else horizon

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor | None,
        spellings: Spellings,
        places: Tensor,
    ) -> Tensor:
        """Score a batch of sentences, each as if it were alone.

        Args:
            tokens: (time, batch) of int.
            lengths: (batch,) of int, 1 to time; None: all are as long as time.
            spellings: the characters of each different word.
            places: (time, batch) of int: which of these each word is.

        Returns:
            (time, batch, outputs); of no meaning past a sentence's end.
        """
        y = self.read(tokens, lengths, spellings, places)
        return self.output(self.output_dropout(y))

    def read(
        self,
        tokens: Tensor,
        lengths: Tensor | None,
        spellings: Spellings,
        places: Tensor,
    ) -> Tensor:
        """y, (time, batch, output_size), of the arguments of `forward`."""
        if self.training and (self.word_dropout or self.once_dropout):
            chance = torch.where(
                tokens >= self.first_once, max(self.once_dropout, self.word_dropout), self.word_dropout
            )
            tokens = tokens.masked_fill(torch.rand(tokens.shape, device=tokens.device) < chance, UNKNOWN)
        x = self.embedding(tokens)
        if self.letters is not None:
            spelled = torch.cat([self._spelled(self.letters, *group) for group in spellings])
            x = torch.cat([x, spelled[places]], dim=-1)
        x = self.input_dropout(x)
        return run_to_end(self.recurrent, x, lengths, self.horizon, keep_state=False)[0]

    def _spelled(self, letters: Recurrent, spellings: Tensor, lengths: Tensor | None) -> Tensor:
        """c_w, (different, width)."""
        y, _ = letters(self.character_embedding(spellings), None, lengths, keep_state=False)
        size = letters.top_size
        words = torch.arange(y.shape[1], device=y.device)
        ends = y[-1] if lengths is None else y[lengths - 1, words]
        return torch.cat([ends[:, :size], y[0, :, size:]], dim=-1)

    def ends_apart(self, y: Tensor, lengths: Tensor | None) -> Tensor:
        """The scores of a sentence's ends, each by what was read on the way there.

        Args:
            y: (time, batch, output_size), see `read`.
            lengths: (batch,); None: all are as long as time.

        Returns:
            (ends, batch, outputs): of the last word, with no gradient through what came from behind it; and, of a
            bidirectional stack, of the first word, with none through what came from before it.
        """
        last = y[-1] if lengths is None else y[lengths - 1, torch.arange(y.shape[1], device=y.device)]
        if not self.recurrent.bidirectional:
            return self.output(last)[None]
        size = self.recurrent.top_size
        return self.output(
            torch.stack(
                [
                    torch.cat([last[:, :size], last[:, size:].detach()], -1),
                    torch.cat([y[0, :, :size].detach(), y[0, :, size:]], -1),
                ]
            )
        )
