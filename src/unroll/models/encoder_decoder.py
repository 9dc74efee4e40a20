"""Sequence to sequence of another length: an encoder reads, a decoder writes, attention looks back."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.attention import Attention, Score, make_attention
from unroll.cross_entropy import linear_cross_entropy
from unroll.dropout import Dropout
from unroll.errors import UsageError
from unroll.late_gradient import late
from unroll.models.embedding import embedding
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State, detach, flatten, map_state, unflatten
from unroll.truncation import run_to_end

Tie = Literal["none", "target", "all"]


class EncoderDecoder(nn.Module):
    """Source tokens in, scores for every target token out, a step each (Sutskever et al. 2014; Cho et al. 2014).

        m_1, ..., m_J, e = encoder(source embeddings)
        s_0 = bridge(e)
        h_t, s_t = decoder([target embedding_t; o_{t-1}], s_{t-1})
        c_t = attention(h_t, m)                     (Luong et al. 2015)
        o_t = tanh(W [h_t; c_t] + b)
        logits_t = V o_t + c

    Without input feeding o_{t-1} is not given to the decoder; without attention there is no c_t either, and all that the
    decoder knows of the source is its first state.

    With `horizon`, gradients go back through at most so many steps of each recurrence: the encoder is read in windows of this
    length that end where each source ends, the decoder runs in windows from its beginning, and the state is detached between
    them. Attention reaches every encoder output all the same, and an encoder that reads from both ends is read as a whole.

    Args:
        source_vocab_size, target_vocab_size: numbers of tokens.
        recurrent: makes both stacks; called with input_size=. The decoder is never bidirectional: it would see the target.
        embedding_size: width of both embeddings, and of o_t.
        encoder_hidden_size: units a layer and direction of the encoder; None: as many as make its outputs as wide as the
            decoder's.
        attention: how the decoder looks at the encoder's outputs; `none`: not at all.
        input_feeding: whether the decoder is given o_{t-1}, so that it knows where it has looked.
        tie_embeddings: `target`: V is the target embedding's matrix (Press & Wolf 2017); `all`: and the source embedding is
            the same.
        input_dropout: probability of dropping a feature of an embedding.
        output_dropout: probability of dropping a feature of o_t before V.
        horizon: see above; None: the whole of both.

    Raises:
        UsageError: sizes that do not fit each other.
    """

    def __init__(
        self,
        source_vocab_size: PositiveInt,
        target_vocab_size: PositiveInt,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt,
        encoder_hidden_size: PositiveInt | None = None,
        attention: Score | Literal["none"] = "additive",
        input_feeding: bool = True,
        tie_embeddings: Tie = "target",
        input_dropout: Probability = 0.0,
        output_dropout: Probability = 0.0,
        horizon: int | None = None,
    ) -> None:
        super().__init__()
        self.feeds = input_feeding and attention != "none"
        self.target_embedding = embedding(target_vocab_size, embedding_size)
        if tie_embeddings == "all":
            if source_vocab_size != target_vocab_size:
                raise UsageError("task.tie_embeddings=all needs one vocabulary for both sides: data.joint=true")
            self.source_embedding = self.target_embedding
        else:
            self.source_embedding = embedding(source_vocab_size, embedding_size)
        fed = embedding_size if self.feeds else 0
        self.decoder = recurrent(input_size=embedding_size + fed, bidirectional=False)
        self.decoder.is_stepped = self.feeds
        width = self.decoder.output_size
        encoder = partial(recurrent, input_size=embedding_size, top_size=None)
        self.encoder = encoder(hidden_size=encoder_hidden_size or width)
        if self.encoder.bidirectional and encoder_hidden_size is None:
            if width % 2:
                raise UsageError(
                    f"model.hidden_size={width} (or top_size): is odd, and a bidirectional encoder has half in a direction"
                )
            self.encoder = encoder(hidden_size=width // 2)
        self.bridge = Bridge(self.encoder, self.decoder)
        if self.bridge.first is not None and attention == "none":
            raise UsageError(
                "task.attention=none: the decoder would have nothing: the encoder's last state does not fit, and that of "
                "this cell cannot be mapped; take model.bidirectional=false and task.encoder_hidden_size=null"
            )
        self.attention: Attention | None = None
        if attention != "none":
            self.attention = make_attention(attention, width, self.encoder.output_size)
        self.combine = nn.Linear(width + (self.encoder.output_size if self.attention else 0), embedding_size)
        self.output = nn.Linear(embedding_size, target_vocab_size)
        if tie_embeddings != "none":
            self.output.weight = self.target_embedding.weight
        self.input_dropout = Dropout(input_dropout)
        self.output_dropout = Dropout(output_dropout)
        self.horizon = horizon
        self.encoder_horizon = None if self.encoder.bidirectional else horizon

    def encode(self, source: Tensor, lengths: Tensor | None) -> tuple[State, State]:
        """Read the sources.

        Args:
            source: (time, batch) of int.
            lengths: (batch,) of int, 1 to time; None: all are as long as time.

        Returns:
            What the decoder looks at, and its state before its first step; both with the batch first.
        """
        x = self.input_dropout(self.source_embedding(source))
        y, final = run_to_end(self.encoder, x, lengths, self.encoder_horizon)
        state = self.bridge(final), y.new_zeros(y.shape[1], self.output.in_features if self.feeds else 0)
        if self.attention is None:
            return (), state
        memory = y.transpose(0, 1).contiguous()
        if lengths is None:
            lengths = torch.full((len(memory),), memory.shape[1], device=memory.device)
        return (self.attention.keys(memory), memory, lengths), state

    def forward(self, source: Tensor, lengths: Tensor | None, tokens: Tensor) -> Tensor:
        """What the model says of each next token when it is given the right ones before it (teacher forcing).

        Args:
            source, lengths: see `encode`.
            tokens: (time, batch) of int, what the decoder reads: the beginning, and then the target.

        Returns:
            o_t, (time, batch, embedding_size), of which `readout` makes logits.
        """
        memory, state = self.encode(source, lengths)
        return self.decode(tokens, state, memory)[0]

    def decode(self, tokens: Tensor, state: State, memory: State) -> tuple[Tensor, Tensor | None]:
        """As `forward`, from what `encode` returned. Beside o_t: the attention's weights, (time, batch, source time)."""
        x = self.input_dropout(self.target_embedding(tokens))
        masks = self.decoder.draw_masks(x.shape[1], x)
        horizon = self.horizon or len(x)
        recurrent_state, o = state
        look = self._looks(memory)
        if self.feeds:
            step = self.decoder.stepper(x, masks)
            outputs: list[Tensor] = []
            weights: list[Tensor] = []
            for t in range(len(x)):
                if t and t % horizon == 0:
                    recurrent_state, o = detach((recurrent_state, o))
                h, recurrent_state = step(t, o, recurrent_state)
                o, a = look(h[:, None])
                assert a is not None
                o = o.squeeze(1)
                outputs.append(o)
                weights.append(a)
            return torch.stack(outputs), torch.cat(weights, dim=1).transpose(0, 1)
        hidden = []
        for window in x.split(horizon):
            y, recurrent_state = self.decoder(window, recurrent_state, None, masks)
            recurrent_state = detach(recurrent_state)
            hidden.append(y)
        o, a = look(torch.cat(hidden).transpose(0, 1))
        return o.transpose(0, 1), None if a is None else a.transpose(0, 1)

    def decode_sampled(
        self, tokens: Tensor, state: State, memory: State, truth: float, feed: Literal["token", "distribution"]
    ) -> Tensor:
        """As `decode`, but each token that the decoder reads is the right one only with probability `truth`; else its own.

        Scheduled sampling (Bengio et al. 2015), a coin for each token. Its own: one drawn from what it said of this place
        (`token`), or the mean of all embeddings under that (`distribution`), through which gradients flow.
        """
        recurrent_state, o = state
        look = self._looks(memory)
        masks = self.decoder.draw_masks(tokens.shape[1], self.output.weight)
        step = self.decoder.stepper(o.new_empty(*tokens.shape, 0), masks)  # nothing of the inputs is known beforehand
        outputs: list[Tensor] = []
        for t, right in enumerate(tokens):
            x = self.target_embedding(right)
            cut = self.horizon is not None and t > 0 and t % self.horizon == 0
            if t:
                logits = self.readout(outputs[-1].detach() if cut else outputs[-1])
                p = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
                if feed == "token":
                    own = self.target_embedding(torch.multinomial(p.detach(), 1).squeeze(1))
                else:
                    own = p.to(x.dtype) @ self.target_embedding.weight
                x = torch.where(torch.rand(len(x), 1, device=x.device) < truth, x, own)
            if cut:
                recurrent_state, o = detach((recurrent_state, o))
            h, recurrent_state = step(t, torch.cat([self.input_dropout(x), o], dim=-1), recurrent_state)
            found = look(h[:, None])[0].squeeze(1)
            o = found if self.feeds else o
            outputs.append(found)
        return torch.stack(outputs)

    def _looks(self, memory: State) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
        """A function of h, (batch, queries, units): o (batch, queries, embedding_size), and the weights of what it saw."""
        W, b = late(self.combine.weight), self.combine.bias
        if self.attention is None:
            return lambda h: (torch.tanh(F.linear(h, W, b)), None)
        attend = self.attention.over(*memory)

        def look(h: Tensor) -> tuple[Tensor, Tensor]:
            c, a = attend(h)
            return torch.tanh(F.linear(torch.cat([h, c], dim=-1), W, b)), a

        return look

    def readout(self, o: Tensor) -> Tensor:
        """o: (..., embedding_size) -> logits (..., target_vocab_size): log-probabilities up to a constant."""
        return self.output(self.output_dropout(o))

    def cross_entropy(self, o: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The mean cross-entropy of `readout`, without all logits in memory: o (rows, embedding_size), target (rows,)."""
        return linear_cross_entropy(
            self.output_dropout(o), self.output.weight, self.output.bias, target, label_smoothing
        )

    def advance(self, tokens: Tensor, state: State, memory: State) -> tuple[Tensor, State]:
        """One step for several hypotheses of each source; see `unroll.decoding.Advance`."""
        recurrent_state, o = state
        batch, beam = tokens.shape
        x = self.input_dropout(self.target_embedding(tokens.flatten()))[None]
        h, recurrent_state = self.decoder.stepper(x, self.decoder.draw_masks(batch * beam, x))(0, o, recurrent_state)
        o, _ = self._looks(memory)(h.view(batch, beam, -1))
        return self.readout(o), (recurrent_state, o.flatten(0, 1) if self.feeds else state[1])


class Bridge(nn.Module):
    """From the encoder's last state to the decoder's first, for each layer and part of the state by itself:

        s = tanh(B [e_forward; e_reverse] + b)

    Cells whose state is not any numbers (`Cell.any_state`) have [e_forward; e_reverse] as it is; where that does not fit, the
    decoder begins with its initial state.

    Args:
        encoder, decoder: stacks of the same cell.

    Attributes:
        first: makes that initial state; None where the encoder's last state is handed over.
    """

    def __init__(self, encoder: Recurrent, decoder: Recurrent) -> None:
        super().__init__()
        self.directions = 2 if encoder.bidirectional else 1
        like = torch.empty(0)
        given, wanted = flatten(self._joined(encoder.initial_state(1, like))), flatten(decoder.initial_state(1, like))
        if any(part.dim() < 2 for part in [*given, *wanted]):
            raise UsageError(
                "model.cell: a part of its state has no features, (batch,): an encoder hands over (batch, features)"
            )
        self.maps = nn.ModuleList()
        self.first: Callable[[int, Tensor], State] | None = None
        if decoder.any_state:
            self.maps.extend(nn.Linear(one.shape[-1], two.shape[-1]) for one, two in zip(given, wanted, strict=True))
        elif any(one.shape != two.shape for one, two in zip(given, wanted, strict=True)):
            self.first = decoder.initial_state

    def _joined(self, final: State) -> State:
        """Of each layer, the states of its directions side by side."""
        return tuple(
            map_state(lambda *parts: torch.cat(parts, dim=-1), *final[start : start + self.directions])
            for start in range(0, len(final), self.directions)
        )

    def forward(self, final: State) -> State:
        """final: the encoder's last state -> the decoder's first."""
        if self.first is not None:
            some = flatten(final)[0]
            return self.first(len(some), some)
        joined = self._joined(final)
        if not len(self.maps):
            return joined
        parts = [torch.tanh(map(part)) for map, part in zip(self.maps, flatten(joined), strict=True)]
        return unflatten(parts, joined)
