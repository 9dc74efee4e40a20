"""Sequence to its future: what all forecasters share."""

from abc import abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from unroll.data.series_lanes import Piece
from unroll.data.windows import Windows
from unroll.distributions import Draws, Output
from unroll.state import State, select

Normalization = Literal["none", "last", "centre", "mean", "instance"]
Channels = Literal["joint", "separate"]


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

    With `normalization=instance` a forecast of a x + b, a > 0, is a times that of x, plus b (Kim et al. 2022, reversible
    instance normalization, without its learned scale); with `last` and `centre` that holds for b, with `mean` for a.

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
