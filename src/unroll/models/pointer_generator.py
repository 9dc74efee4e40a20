"""An encoder-decoder that can copy: each next token is written by itself or taken from the source."""

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.attention import Additive
from unroll.late_gradient import late
from unroll.models.encoder_decoder import EncoderDecoder
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State, detach


class Steps(NamedTuple):
    """What a decoder made of its steps.

    Attributes:
        o: (time, batch, embedding_size).
        a: (time, batch, source time): the attention's weights.
        g: (time, batch): the logit of p_gen.
        repeated: (time, batch): sum_i min(a_i, coverage_i), how much of what it looks at it has looked at before.
    """

    o: Tensor
    a: Tensor
    g: Tensor
    repeated: Tensor


class PointerGenerator(EncoderDecoder):
    """`EncoderDecoder` with additive attention, and (See, Liu & Manning 2017, sections 2.2 and 2.3):

        score_i = v . tanh(W h_t + U m_i + w_c k_i + b),     k = the sum of the weights a of all steps before (coverage)
        p_gen = sigmoid(w . [h_t; c_t; x_t] + b_gen)
        P(token) = p_gen softmax(V o_t)[token] + (1 - p_gen) sum over i with source_i = token of a_i

    Both sides have one vocabulary, so that a source token is a target token; with pieces of words nothing is unknown, and
    any name can be copied, piece by piece.

    Args:
        vocab_size: number of tokens of both sides.
        recurrent, embedding_size, encoder_hidden_size, input_feeding, input_dropout, output_dropout, horizon: see
            `EncoderDecoder`.
        copy: whether tokens can be taken from the source; if not, p_gen is 1.
        coverage: whether the attention is told where it has looked; if not, there is no w_c.
    """

    w_c: nn.Parameter | None

    def __init__(
        self,
        vocab_size: PositiveInt,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt,
        encoder_hidden_size: PositiveInt | None = None,
        input_feeding: bool = True,
        copy: bool = True,
        coverage: bool = True,
        input_dropout: Probability = 0.0,
        output_dropout: Probability = 0.0,
        horizon: int | None = None,
    ) -> None:
        super().__init__(
            vocab_size,
            vocab_size,
            recurrent,
            embedding_size,
            encoder_hidden_size,
            "additive",
            input_feeding,
            "all",
            input_dropout,
            output_dropout,
            horizon,
        )
        self.decoder.is_stepped = True
        width = self.decoder.output_size
        self.copies = copy
        if copy:
            self.gate = nn.Linear(width + self.encoder.output_size + embedding_size, 1)
        self.register_parameter("w_c", nn.Parameter(torch.zeros(width)) if coverage else None)

    def encode(self, source: Tensor, lengths: Tensor | None) -> tuple[State, State]:
        memory, (recurrent_state, o) = super().encode(source, lengths)
        keys, outputs, lengths = memory
        covered = outputs.new_zeros(outputs.shape[:2], dtype=torch.promote_types(outputs.dtype, torch.float32))
        return (keys, outputs, lengths, source.t()), (recurrent_state, o, covered)

    def _look(self, memory: State) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
        """A function of h and x, (batch, queries, units), and coverage, (batch, queries, source time): o, a and g."""
        keys, outputs, lengths, _ = memory
        attention = cast(Additive, self.attention)
        W, W_o, b_o = late(attention.W.weight), late(self.combine.weight), self.combine.bias
        gate = (late(self.gate.weight), self.gate.bias) if self.copies else None
        padding = (torch.arange(outputs.shape[1], device=outputs.device) >= lengths[:, None])[:, None]

        def look(h: Tensor, x: Tensor, covered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            inside = F.linear(h, W)[:, :, None] + keys[:, None]
            if self.w_c is not None:
                inside = inside + covered.to(inside.dtype)[..., None] * self.w_c
            scores = torch.tanh(inside) @ attention.v
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            a = torch.softmax(scores.masked_fill(padding, -torch.inf), dim=-1)
            c = torch.bmm(a.to(outputs.dtype), outputs)
            o = torch.tanh(F.linear(torch.cat([h, c], dim=-1), W_o, b_o))
            if gate is None:
                return o, a, a.new_full(a.shape[:2], math.inf)
            return o, a, F.linear(torch.cat([h, c, x], dim=-1), *gate)[..., 0].to(a.dtype)

        return look

    def steps(self, tokens: Tensor, state: State, memory: State) -> Steps:
        """What the decoder makes of each step when it is given the right tokens before it.

        Args:
            tokens: (time, batch) of int, what it reads: the beginning, and then the target.
            state, memory: what `encode` returned.
        """
        x = self.input_dropout(self.target_embedding(tokens))
        step = self.decoder.stepper(x, self.decoder.draw_masks(x.shape[1], x))
        look = self._look(memory)
        recurrent_state, o, covered = state
        found: list[tuple[Tensor, ...]] = []
        for t in range(len(x)):
            if self.horizon and t and t % self.horizon == 0:
                recurrent_state, o, covered = detach((recurrent_state, o, covered))
            h, recurrent_state = step(t, o, recurrent_state)
            made, a, g = (part.squeeze(1) for part in look(h[:, None], x[t][:, None], covered[:, None]))
            o = made if self.feeds else o
            found.append((made, a, g, torch.minimum(a, covered).sum(-1)))
            covered = covered + a
        return Steps(*(torch.stack(part) for part in zip(*found, strict=True)))

    def decode(self, tokens: Tensor, state: State, memory: State) -> tuple[Tensor, Tensor | None]:
        found = self.steps(tokens, state, memory)
        return found.o, found.a

    def log_probabilities(self, o: Tensor, a: Tensor, g: Tensor, source: Tensor) -> Tensor:
        """log P of every token.

        Args:
            o, a, g: (..., embedding_size), (..., source time) and (...) of some steps.
            source: (..., source time) of int.

        Returns:
            (..., vocab_size), in float32 or more.
        """
        logits = self.readout(o)
        written = torch.log_softmax(logits.to(a.dtype), -1)
        if not self.copies:
            return written
        copied = torch.zeros_like(written).scatter_add(-1, source.expand_as(a), a)
        return torch.logaddexp(F.logsigmoid(g)[..., None] + written, F.logsigmoid(-g)[..., None] + _log(copied))

    def log_probability(self, o: Tensor, a: Tensor, g: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """log P of the tokens `target`, (rows,): as `log_probabilities`, without what is not asked for."""
        logits = self.readout(o)
        written = -F.cross_entropy(logits.to(a.dtype), target, reduction="none")
        if not self.copies:
            return written
        copied = (a * (source == target[..., None])).sum(-1)
        return torch.logaddexp(F.logsigmoid(g) + written, F.logsigmoid(-g) + _log(copied))

    def advance(self, tokens: Tensor, state: State, memory: State) -> tuple[Tensor, State]:
        recurrent_state, o, covered = state
        batch, beam = tokens.shape
        x = self.input_dropout(self.target_embedding(tokens.flatten()))[None]
        h, recurrent_state = self.decoder.stepper(x, self.decoder.draw_masks(batch * beam, x))(0, o, recurrent_state)
        made, a, g = self._look(memory)(h.view(batch, beam, -1), x.view(batch, beam, -1), covered.view(batch, beam, -1))
        log_p = self.log_probabilities(made, a, g, memory[-1][:, None])
        return log_p, (recurrent_state, made.flatten(0, 1) if self.feeds else o, covered + a.flatten(0, 1))


def _log(p: Tensor) -> Tensor:
    """log p; its gradient at 0, where there is none, is 0."""
    return torch.where(p > 0, p.clamp(min=torch.finfo(p.dtype).tiny).log(), -torch.inf)
