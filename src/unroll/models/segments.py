"""Sequence to its future, all steps at once."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.data.windows import Windows
from unroll.dropout import Dropout
from unroll.errors import UsageError
from unroll.models.forecaster import Encoded, Forecast, Forecaster, Prepared
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State
from unroll.truncation import run_to_end


class Segments(Forecaster):
    """All steps at once, in segments (SegRNN: Lin et al. 2023).

        e_i = relu(E x_i + a)                      x_i: the i-th segment of the context
        s_i = recurrent(e_i, s_{i-1})
        h_j = recurrent([p_j; q] + K k_j, s_n)     each segment j of the future from the same s_n, in parallel
        theta_j = V h_j + c

    p: an embedding of the segment's place; q: one of the target, where each stands for itself; k: known covariates. One
    recurrence reads and writes, as in the authors' code.

    Args:
        recurrent: makes the stack; called with input_size=.
        segment_length: steps of a segment; the context has a whole number of them.
        embedding_size: width of e, and of [p; q].
        output_dropout: probability of dropping a feature of h_j.
        horizon: through how many segments gradients go back at most; None: all.
        **forecaster: see `Forecaster`.

    Raises:
        UsageError: a context that is not made of whole segments.
    """

    def __init__(
        self,
        recurrent: Callable[..., Recurrent],
        segment_length: PositiveInt,
        embedding_size: PositiveInt,
        output_dropout: Probability,
        horizon: int | None,
        known: int,
        observed: int,
        **forecaster: object,
    ) -> None:
        super().__init__(known=known, observed=observed, **forecaster)  # type: ignore[arg-type]
        if self.context_length % segment_length:
            raise UsageError(
                f"data.context_length={self.context_length} is not made of whole segments of "
                f"task.segment_length={segment_length}: change one of them"
            )
        self.segment_length = segment_length
        self.count = -(-self.prediction_length // segment_length)
        self.embed = nn.Linear(segment_length * (2 * self.width + known + observed), embedding_size)
        self.recurrent = recurrent(input_size=embedding_size)
        if self.recurrent.bidirectional:
            raise UsageError("model.bidirectional=true: segments of the future are each written from one state")
        channel = embedding_size // 2 if self.embedded else 0
        self.place_embedding = nn.Embedding(self.count, embedding_size - channel)
        self.channel_embedding = nn.Embedding(self.targets, channel) if self.embedded else None
        self.known_map = nn.Linear(segment_length * known, embedding_size, bias=False) if known else None
        self.readout = nn.Linear(self.recurrent.output_size, segment_length * self.width * self.output.size)
        self.output_dropout = Dropout(output_dropout)
        self.horizon = horizon

    def _segments(self, x: Tensor) -> Tensor:
        """(steps, rows, features) -> (segments, rows, segment_length * features)."""
        steps, rows, features = x.shape
        x = F.pad(x, (0, 0, 0, 0, 0, -steps % self.segment_length))
        return x.reshape(-1, self.segment_length, rows, features).transpose(1, 2).flatten(2)

    def _raw(self, ready: Prepared) -> Tensor:
        """(prediction, rows, c * size)."""
        context = slice(None, self.context_length)
        x = torch.cat([ready.y[context], ready.seen[context], ready.known[context], ready.observed], dim=-1)
        e = F.relu(self.embed(self._segments(x)))
        _, state = run_to_end(self.recurrent, e, None, self.horizon)
        inputs = self.place_embedding.weight[:, None]
        if self.channel_embedding is not None:  # rows take them in turn, as `Prepared.channels` has it
            channels = self.channel_embedding.weight
            inputs = torch.cat([inputs.expand(-1, len(channels), -1), channels.expand(self.count, -1, -1)], dim=-1)
        if self.known_map is not None:
            k = self.known_map(self._segments(ready.known[self.context_length :]))
            inputs = inputs.repeat(1, e.shape[1] // inputs.shape[1], 1) + k
        h = self.recurrent.branch(inputs, state)
        raw = self.readout(self.output_dropout(h)).unflatten(-1, (self.segment_length, -1))
        return raw.transpose(1, 2).flatten(0, 1)[: self.prediction_length]

    def statements(self, windows: Windows) -> tuple[tuple[Tensor, ...], Tensor]:
        return self.future(self.encode(windows))

    def encode(self, windows: Windows, state: State | None = None) -> Encoded:
        ready = self.prepare(windows)
        return Encoded(ready, self._raw(ready), None, None)

    def future(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], Tensor]:
        ready = encoded.ready
        return self._stated(encoded.h, ready.loc, ready.scale), ready.values[-self.prediction_length :]

    def forecast(self, encoded: Encoded, paths: int, seed: int) -> Forecast:
        parameters, _ = self.future(encoded)
        mean = self._unfolded(self.output.mean(parameters))
        if not self.output.is_distribution:
            return Forecast(mean, None)
        drawn = [
            self.output.draw(tuple(part[t] for part in parameters), self._draws(encoded.ready, paths, seed, t))
            for t in range(self.prediction_length)
        ]
        return Forecast(mean, self._unfolded(torch.stack(drawn, dim=1)))
