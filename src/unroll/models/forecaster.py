"""Sequence to its future: step by step from its own draws, or all steps at once in segments."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from unroll.data.series import Piece, Windows
from unroll.distributions import Draws, Output
from unroll.errors import UsageError
from unroll.recurrent import Recurrent
from unroll.schema import Probability
from unroll.state import State, concatenate, map_state, select
from unroll.truncation import run_to_end, run_window

Normalization = Literal["none", "last", "centre", "mean", "instance"]
Channels = Literal["joint", "separate"]

_ROWS_AT_ONCE = 4096  # sample paths: few enough to stay near the processor


class Forecast(NamedTuple):
    """What a model says of the future of some windows, in the unit of `Windows.targets`.

    Attributes:
        mean: (prediction, batch, targets).
        paths: (paths, prediction, batch, targets): sample paths, each as likely as the others; None of a model that gives
            points only.
    """

    mean: Tensor
    paths: Tensor | None


class Prepared(NamedTuple):
    """Windows as a recurrence reads them: `rows` sequences of `c` targets each, all targets of a window in one (`joint`)
    or each in its own (`separate`).

    Attributes:
        values: (context + prediction, rows, c), in the unit of the windows; NaN where missing.
        y: (context + prediction, rows, c), normalized; 0 where missing.
        seen: (context + prediction, rows, c): 1 where y is there, 0 where it is missing.
        known: (context + prediction, rows, known).
        observed: (context, rows, observed).
        loc, scale: (rows, c): y * scale + loc is in the unit of the windows.
        numbers: (rows,) of int64: tells each row from all others, of other batches too.
        channels: (rows,) of int64: which target a row is of; 0 where it is of all.
    """

    values: Tensor
    y: Tensor
    seen: Tensor
    known: Tensor
    observed: Tensor
    loc: Tensor
    scale: Tensor
    numbers: Tensor
    channels: Tensor


class Encoded(NamedTuple):
    """Windows whose past was read.

    Attributes:
        ready: the windows.
        h: (steps, rows, features): what the future is read off.
        state: of the recurrence where the future begins; None of a model that goes no further.
        carried: of a stream, what its next windows start from.
    """

    ready: Prepared
    h: Tensor
    state: State | None
    carried: State | None

    def some(self, rows: slice) -> "Encoded":
        """Some of the rows."""
        ready = Prepared(*(part[:, rows] for part in self.ready[:5]), *(part[rows] for part in self.ready[5:]))
        return Encoded(ready, self.h[:, rows], None if self.state is None else select(self.state, rows), None)


class Forecaster(nn.Module):
    """What all forecasters share: normalization of each window by its own context, and the folding of targets.

    With `normalization=instance` a forecast of a x + b is a times that of x, plus b (Kim et al. 2022, reversible instance
    normalization, without its learned scale); with `last` and `centre` that holds for b, with `mean` for a > 0.

    Args:
        targets, known, observed: features of `Windows`.
        context_length: steps; what goes step by step takes another number, too.
        prediction_length: steps.
        output: what is said of each value.
        normalization: what is taken from each window, and given back to its forecast: the last value that was seen
            (`last`), the mean (`centre`), mean and standard deviation (`instance`); `mean` divides by the mean absolute value
            (for counts).
        channels: `joint`: a window's targets are read and forecast together; `separate`: each by itself, by the same
            weights.
    """

    def __init__(
        self,
        targets: int,
        known: int,
        observed: int,
        context_length: int,
        prediction_length: int,
        output: Output,
        normalization: Normalization,
        channels: Channels,
    ) -> None:
        super().__init__()
        self.targets = targets
        self.width = targets if channels == "joint" else 1
        self.context_length = context_length
        self.prediction_length = prediction_length
        self.output = output
        self.normalization = normalization
        self.embedded = channels == "separate" and targets > 1

    @abstractmethod
    def statements(self, windows: Windows) -> tuple[tuple[Tensor, ...], Tensor]:
        """What it says of values that it is trained on, when it knows those before them.

        Returns:
            Parameters, as `Output` has them, and the values, (steps, rows, c); NaN where missing.
        """

    @abstractmethod
    def encode(self, windows: Windows, state: State | None = None) -> Encoded:
        """Read the past of windows; what they hold of the future but known covariates is not looked at.

        Args:
            windows: a stream's come in the order of time.
            state: of a stream, what was carried on from the windows before; None where it begins.
        """

    @abstractmethod
    def future(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], Tensor]:
        """What it says of each value of the future when it knows those before it: see `statements`."""

    @abstractmethod
    def forecast(self, encoded: Encoded, paths: int, seed: int) -> Forecast:
        """The future, when nothing of it is known.

        Args:
            encoded: the windows, whose rows tell their noise apart.
            paths: how many are drawn.
            seed: of the noise.
        """

    def prepare(self, windows: Windows | Piece) -> Prepared:
        """Normalize, and fold the targets into the batch if each stands for itself."""
        values = windows.targets
        loc, scale = normalizers(values[: len(values) - self.prediction_length], self.normalization)
        y = (values - loc) / scale
        steps, batch, targets = y.shape
        known, observed, numbers = windows.known, windows.observed, windows.rows
        channels = torch.zeros_like(numbers)
        if self.width < targets:
            y, values = (part.reshape(steps, batch * targets, 1) for part in (y, values))
            loc, scale = loc.reshape(-1, 1), scale.reshape(-1, 1)
            known, observed = (part.repeat_interleave(targets, dim=1) for part in (known, observed))
            channels = torch.arange(targets, device=y.device).repeat(batch)
            numbers = numbers.repeat_interleave(targets) * targets + channels
        seen = y.isfinite()
        return Prepared(values, y.nan_to_num(0.0), seen.to(y.dtype), known, observed, loc, scale, numbers, channels)

    def _unfolded(self, values: Tensor) -> Tensor:
        """(..., rows, c) -> (..., batch, targets)."""
        return values.reshape(*values.shape[:-2], -1, self.targets)

    def _stated(self, raw: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        """raw: (..., c * size), half precision or not."""
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        return self.output.parameters(raw.unflatten(-1, (self.width, self.output.size)), loc, scale)

    def _draws(self, ready: Prepared, paths: int, seed: int, step: int) -> Draws:
        device = ready.numbers.device
        return Draws(
            seed,
            torch.arange(paths, device=device)[:, None, None],
            ready.numbers[None, :, None],
            step,
            torch.arange(self.width, device=device),
        )


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
        self.output_dropout = nn.Dropout(output_dropout)
        self.horizon = horizon

    def known_inputs(self, ready: Prepared, first: int, last: int) -> Tensor:
        """What it reads to say y_first, ..., y_{last-1} and that does not hang on y: (last - first, rows, features)."""
        steps, rows = last - first, ready.y.shape[1]
        parts = [ready.known[first:last]]
        if self.has_observed:
            past = ready.observed[first - 1 : last - 1]
            flagged = torch.cat([past, past.new_ones(len(past), rows, 1)], dim=-1)
            parts.append(F.pad(flagged, (0, 0, 0, 0, 0, steps - len(past))))
        if self.channel_embedding is not None:
            parts.append(self.channel_embedding(ready.channels).expand(steps, -1, -1))
        return torch.cat(parts, dim=-1)

    def inputs(self, ready: Prepared, first: int, last: int) -> Tensor:
        """What it reads to say y_first, ..., y_{last-1}, when it knows those before each."""
        before = slice(first - 1, last - 1)
        return torch.cat([self.known_inputs(ready, first, last), ready.y[before], ready.seen[before]], dim=-1)

    def statements(self, windows: Windows) -> tuple[tuple[Tensor, ...], Tensor]:
        ready = self.prepare(windows)
        x = self.inputs(ready, 1, len(ready.y))
        if self.horizon is None or len(x) <= self.horizon:
            h, _ = self.recurrent(x)
        else:
            masks = self.recurrent.draw_masks(x.shape[1], x)
            h, _ = run_to_end(lambda x, state, lengths: self.recurrent(x, state, lengths, masks), x, None, self.horizon)
        return self._read_off(h, ready), ready.values[1:]

    def follow(self, piece: Piece, state: State | None) -> tuple[tuple[Tensor, ...], Tensor, State | None]:
        """What it says of the next values of a stream, when it knows those before them.

        Returns:
            Parameters and values of the window, see `statements`, and the detached state that the next piece starts from.
        """
        ready = self.prepare(piece)
        h, carried = run_window(self.recurrent, self.inputs(ready, 1, len(ready.y)), state, piece.advance)
        return self._read_off(h[-piece.scored :], ready), ready.values[-piece.scored :], carried

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
        self.output_dropout = nn.Dropout(output_dropout)
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
        if self.horizon is None or len(e) <= self.horizon:
            _, state = self.recurrent(e)
        else:
            masks = self.recurrent.draw_masks(e.shape[1], e)
            _, state = run_to_end(lambda x, s, lengths: self.recurrent(x, s, lengths, masks), e, None, self.horizon)
        rows = e.shape[1]
        inputs = self.place_embedding.weight[:, None].expand(-1, rows, -1)
        if self.channel_embedding is not None:
            inputs = torch.cat([inputs, self.channel_embedding(ready.channels).expand(self.count, -1, -1)], dim=-1)
        if self.known_map is not None:
            inputs = inputs + self.known_map(self._segments(ready.known[self.context_length :]))
        state = map_state(lambda tensor: tensor.repeat(self.count, *[1] * (tensor.dim() - 1)), state)
        h, _ = self.recurrent(inputs.reshape(1, self.count * rows, -1), state)
        raw = self.readout(self.output_dropout(h)).view(self.count, rows, self.segment_length, -1)
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


def normalizers(context: Tensor, kind: Normalization) -> tuple[Tensor, Tensor]:
    """What is subtracted from a window, and what it is then divided by.

    Args:
        context: (steps, batch, targets); NaN where missing.
        kind: see `Forecaster`.

    Returns:
        loc and scale, (batch, targets). Where nothing was seen they are 0 and 1; what does not move has a scale of 1.
    """
    zero = context.new_zeros(context.shape[1:])
    if kind == "none":
        return zero, zero + 1
    seen = context.isfinite()
    values = context.nan_to_num(0.0)
    count = seen.sum(0).clamp(min=1)
    if kind == "last":
        steps = torch.arange(1, len(context) + 1, device=context.device)[:, None, None]
        last = (seen * steps).amax(0) - 1
        return values.gather(0, last.clamp(min=0)[None]).squeeze(0), zero + 1
    if kind == "mean":
        size = values.abs().sum(0) / count
        return zero, torch.where(size > 0, size, 1.0)
    loc = values.sum(0) / count
    if kind == "centre":
        return loc, zero + 1
    scale = (((values - loc) * seen) ** 2).sum(0).div(count).sqrt()
    return loc, torch.where(scale > 1e-5 * loc.abs().clamp(min=1e-5), scale, 1.0)
