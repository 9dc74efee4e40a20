"""Sequence to its future, one step after the other."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.data.series_lanes import Piece
from unroll.data.windows import Windows
from unroll.dropout import Dropout
from unroll.errors import UsageError
from unroll.models.forecaster import Encoded, Forecast, Forecaster, Prepared
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State, concatenate, map_state
from unroll.truncation import run_to_end, run_window

_ROWS_AT_ONCE = 4096  # sample paths: few enough to stay near the processor


class Autoregressive(Forecaster):
    """One step after the other, each value drawn from what was said of it (DeepAR: Salinas et al. 2020).

        h_t, s_t = recurrent([k_t; o_{t-1}; y_{t-1}; m_{t-1}], s_{t-1})
        theta_t = V h_t + c,     y_t ~ p(. | theta_t)

    k: known covariates; o: observed ones, with a flag, both 0 in the future; m: 1 where y was seen, 0 where it is missing. In
    the context y is what was, in the future what was drawn: each path goes its own way, and all go in parallel. Trained on
    the values of context and future alike.

    Args:
        recurrent: makes the stack; called with input_size=. Not bidirectional: it would see the future.
        embedding_size: width of an embedding of the target, where each stands for itself.
        output_dropout: probability of dropping a feature of h_t.
        horizon: through how many steps gradients go back at most; None: all.
        **forecaster: see `Forecaster`.
    """

    def __init__(
        self,
        recurrent: Callable[..., Recurrent],
        embedding_size: PositiveInt,
        output_dropout: Probability,
        horizon: int | None,
        known: int,
        observed: int,
        **forecaster: object,
    ) -> None:
        super().__init__(known=known, observed=observed, **forecaster)  # type: ignore[arg-type]
        self.channel_embedding = nn.Embedding(self.targets, embedding_size) if self.embedded else None
        self.has_observed = observed > 0
        size = known + (observed + 1 if observed else 0) + (embedding_size if self.embedded else 0) + 2 * self.width
        self.recurrent = recurrent(input_size=size)
        if self.recurrent.bidirectional:
            raise UsageError("model.bidirectional=true: a forecast would see the future that it is to say")
        self.readout = nn.Linear(self.recurrent.output_size, self.width * self.output.size)
        self.output_dropout = Dropout(output_dropout)
        self.horizon = horizon

    def known_inputs(self, ready: Prepared, first: int, last: int, hidden: Tensor | None = None) -> Tensor:
        """What it reads to say y_first, ..., y_{last-1} and that does not hang on y: (last - first, rows, features).

        hidden: (last - first, rows, 1), where observed covariates are to look as in the future; None: nowhere.
        """
        steps, rows = last - first, ready.y.shape[1]
        parts = [ready.known[first:last]]
        if self.has_observed:
            past = ready.observed[first - 1 : last - 1]
            flagged = torch.cat([past, past.new_ones(len(past), rows, 1)], dim=-1)
            flagged = F.pad(flagged, (0, 0, 0, 0, 0, steps - len(past)))
            parts.append(flagged if hidden is None else flagged.masked_fill(hidden, 0))
        if self.channel_embedding is not None:
            parts.append(self.channel_embedding(ready.channels).expand(steps, -1, -1))
        return torch.cat(parts, dim=-1)

    def inputs(self, ready: Prepared, first: int, last: int, hidden: Tensor | None = None) -> Tensor:
        """What it reads to say y_first, ..., y_{last-1}, when it knows those before each."""
        before = slice(first - 1, last - 1)
        return torch.cat([self.known_inputs(ready, first, last, hidden), ready.y[before], ready.seen[before]], dim=-1)

    def statements(self, windows: Windows) -> tuple[tuple[Tensor, ...], Tensor]:
        ready = self.prepare(windows)
        x = self.inputs(ready, 1, len(ready.y))
        h, _ = run_to_end(self.recurrent, x, None, self.horizon)
        return self._read_off(h, ready), ready.values[1:]

    def follow(self, piece: Piece, state: State | None) -> tuple[tuple[Tensor, ...], Tensor, State | None]:
        """What it says of the next values of a stream, when it knows those before them.

        In training every other row, on average, has a stretch as long as a forecast where observed covariates are hidden: a
        stream has no future of its own to learn from how to do without.

        Returns:
            Parameters and values of the window, see `statements`, and the detached state that the next piece starts from.
        """
        ready = self.prepare(piece)
        x = self.inputs(ready, 1, len(ready.y), self._hidden(ready) if self.training and self.has_observed else None)
        masks = self.recurrent.draw_masks(x.shape[1], x)
        h, carried = run_window(partial(self.recurrent, masks=masks), x, state, piece.advance)
        return self._read_off(h[-piece.scored :], ready), ready.values[-piece.scored :], carried

    def _hidden(self, ready: Prepared) -> Tensor:
        """(steps, rows, 1) of bool: a stretch of prediction_length - 1 steps in about half of the rows."""
        steps, rows = len(ready.y) - 1, ready.y.shape[1]
        begin = torch.randint(2 * steps, (rows,), device=ready.y.device)
        since = torch.arange(steps, device=ready.y.device)[:, None] - begin
        return ((since >= 0) & (since < self.prediction_length - 1)).unsqueeze(-1)

    def _read_off(self, h: Tensor, ready: Prepared) -> tuple[Tensor, ...]:
        return self._stated(self.readout(self.output_dropout(h)), ready.loc, ready.scale)

    def encode(self, windows: Windows, state: State | None = None) -> Encoded:
        ready = self.prepare(windows)
        if windows.since is None:
            h, state = self.recurrent(self.inputs(ready, 1, len(ready.y) - self.prediction_length + 1))
            return Encoded(ready, h[-1:], state, None)
        assert windows.origins is not None
        since = self.prepare(windows.since)
        x = self.inputs(since, 1, len(since.y))
        at, outputs, states = 0, [], []
        # No fused path gives the state of every step: a call for each origin, and one to the end for what other processes
        # have. They lie a step apart, in one lane: little work beside their forecasts.
        for origin in windows.origins.tolist():
            if origin > at:
                h, state = self.recurrent(x[at:origin], state)
                at = origin
            outputs.append(h[-1])
            states.append(state)
        if at < len(x):
            state = self.recurrent(x[at:], state)[1]
        return Encoded(ready, torch.cat(outputs)[None], concatenate(states), state)

    def future(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], Tensor]:
        ready, h = encoded.ready, encoded.h
        if self.prediction_length > 1:
            x = self.inputs(ready, len(ready.y) - self.prediction_length + 1, len(ready.y))
            h = torch.cat([h, self.recurrent(x, encoded.state)[0]])
        return self._read_off(h, ready), ready.values[-self.prediction_length :]

    def forecast(self, encoded: Encoded, paths: int, seed: int) -> Forecast:
        paths = paths if self.output.is_distribution else 1
        # Windows that are rolled out together; not fewer targets than a window has.
        rows = max(1, _ROWS_AT_ONCE // (paths * (self.targets // self.width))) * (self.targets // self.width)
        parts = [
            self._roll_out(encoded.some(slice(start, start + rows)), paths, seed)
            for start in range(0, encoded.h.shape[1], rows)
        ]
        mean = torch.cat([part[0] for part in parts], dim=1)
        drawn = torch.cat([part[1] for part in parts], dim=2)
        return Forecast(self._unfolded(mean), self._unfolded(drawn) if self.output.is_distribution else None)

    def _roll_out(self, encoded: Encoded, paths: int, seed: int) -> tuple[Tensor, Tensor]:
        ready, h, state = encoded.ready, encoded.h[0], encoded.state
        rows, steps = len(h), self.prediction_length
        context = len(ready.y) - steps
        masks = self.recurrent.draw_masks(paths * rows, h)
        known = self.known_inputs(ready, context + 1, context + steps)
        means, drawn = [], []
        raw = self.readout(h).expand(paths, *h.shape[:-1], -1)
        state = map_state(lambda tensor: tensor.repeat(paths, *[1] * (tensor.dim() - 1)), state)
        for t in range(steps):
            parameters = self._stated(raw, ready.loc, ready.scale)
            y = self.output.draw(parameters, self._draws(ready, paths, seed, t))
            means.append(self.output.mean(parameters).mean(0))
            drawn.append(y)
            if t + 1 < steps:
                read = ((y - ready.loc) / ready.scale).to(known.dtype)
                x = torch.cat([known[t].expand(paths, -1, -1), read, torch.ones_like(read)], dim=-1)
                # One step of the path over time that whole sequences take: of fused kernels one call, too.
                h, state = self.recurrent(x.view(1, paths * rows, -1), state, None, masks)
                raw = self.readout(h[0]).unflatten(0, (paths, rows))
        return torch.stack(means), torch.stack(drawn, dim=1)
