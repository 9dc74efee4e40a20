"""Forecasting: the future of a series, and how sure one may be of it."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import Logger
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.optim import Optimizer

from unroll.data.base import Data
from unroll.data.series import SeriesData
from unroll.data.series_lanes import Piece
from unroll.data.series_spec import SeriesSpec
from unroll.data.windows import Windows
from unroll.distributions import OutputName, make_output
from unroll.errors import UsageError
from unroll.evaluating import evaluating
from unroll.forecast_scores import ForecastScores, Units, in_unit, quantiles, score_names
from unroll.insight.backtest import write_backtest
from unroll.insight.forecasts import TABLE_LEVELS, draw_calibration, draw_horizon, write_horizon
from unroll.insight.gradient_flow import sample
from unroll.insight.reading import Reading
from unroll.insight.showing import show
from unroll.insight.simple_forecasts import best_possible, simple_forecasts
from unroll.models.autoregressive import Autoregressive
from unroll.models.forecaster import Channels, Encoded, Normalization
from unroll.models.segments import Segments
from unroll.predicting.forecasting import add_forecasting_arguments, forecast_file, forecasts_of
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State
from unroll.tasks.base import Loss, Task
from unroll.truncation import Truncation

_VALUES_AT_ONCE = 20_000_000  # of sample paths that are scored together


class Forecasting(Task):
    """A forecaster, trained on windows of series; scored on every window, beside forecasts that need no training.

    Args:
        spec: columns, lengths, scales.
        recurrent: makes the stack of cells.
        optimizer, schedule: see `Task`.
        truncation: on windows, `horizon` is how far gradients go.
        form: `Autoregressive` or `Segments`.
        output: what is said of each value; see `make_output`.
        normalization, channels: see `Forecaster`.
        segment_length: see `Segments`.
        embedding_size, output_dropout: see both forms.
        samples: sample paths of a forecast in the final scores.
        validation_samples: in the validations during training.
        baseline: whether forecasts that need no training are scored beside it.
        stride: steps between two origins in the table of the backtest; None: as many as a forecast has, or more where
            the table would be too long.

    Raises:
        UsageError: settings that do not fit each other.
    """

    unit = "windows"
    asked = " --input FILE.csv"
    reads = SeriesData

    def __init__(
        self,
        spec: SeriesSpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        form: Literal["autoregressive", "segments"],
        output: OutputName,
        normalization: Normalization,
        channels: Channels,
        segment_length: PositiveInt,
        embedding_size: PositiveInt,
        output_dropout: Probability,
        samples: Annotated[int, Field(ge=2)],
        validation_samples: Annotated[int, Field(ge=2)],
        baseline: bool,
        stride: PositiveInt | None,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        if spec.is_stream:
            if form == "segments":
                raise UsageError(
                    "task.form=segments reads whole windows, and data.stream=true has none: change one of them"
                )
            if normalization != "none":
                raise UsageError(
                    f"task.normalization={normalization} is by each window's context, and a stream (data.stream=true) has "
                    "none: add task.normalization=none"
                )
            if not truncation.carry_state:
                raise UsageError(
                    "truncation.carry_state=false: a forecast of a stream (data.stream=true) goes on from the state that was "
                    "carried"
                )
        else:
            truncation.refuse_for_sequences_that_end("a window is read as a whole; data.stream=true makes a stream")
        if output == "negative_binomial" and normalization not in ("none", "mean"):
            raise UsageError(
                f"task.normalization={normalization}: counts can be divided, but not moved: take mean or none for "
                "task.output=negative_binomial"
            )
        self.spec = spec
        if spec.is_stream:
            self.unit = "steps"
        self.samples = samples
        self.validation_samples = validation_samples
        self.baseline = baseline
        self.stride = stride
        self.is_counts = output == "negative_binomial"
        shared: dict[str, Any] = {
            "recurrent": recurrent,
            "embedding_size": embedding_size,
            "output_dropout": output_dropout,
            "horizon": truncation.horizon,
            "targets": len(spec.columns.targets),
            "known": spec.known_size,
            "observed": len(spec.columns.observed),
            "context_length": spec.context_length,
            "prediction_length": spec.prediction_length,
            "output": make_output(output),
            "normalization": normalization,
            "channels": channels,
        }
        self.model: Autoregressive | Segments = (
            Segments(segment_length=segment_length, **shared) if form == "segments" else Autoregressive(**shared)
        )
        centre, scale, naive_error = (torch.tensor(table) for table in (spec.centre, spec.scale, spec.naive_error))
        targets = len(spec.columns.targets)
        self.register_buffer("centre", centre[:, :targets], persistent=False)
        self.register_buffer("scale", scale[:, :targets], persistent=False)
        self.register_buffer("naive_error", naive_error, persistent=False)
        self.scores = ForecastScores(spec.prediction_length, self.model.output.is_distribution, of_all=True)
        """Of the last evaluation."""
        self.noise_seed = 0
        """Of the sample paths: the same for every run, and whoever loads it."""
        self._references: dict[str, dict[str, ForecastScores]] = {}

    def check(self, data: Data) -> list[str]:
        if self.is_counts:
            targets = cast(SeriesData, data).table[:, : len(self.spec.columns.targets)]
            seen = targets[targets.isfinite()]
            none = seen[(seen < 0) | (seen != seen.round())]
            if len(none):
                mend = (
                    f"{none[0]:g} is none" if not cast(SeriesData, data).standardize else "add data.standardize=false"
                )
                raise UsageError(
                    f"task.output=negative_binomial is for counts, 0, 1, 2, ..., as they are: {mend}, or take student_t"
                )
        return []

    def loss(self, batch: Windows | Piece, state: State | None) -> Loss:
        carried = None
        if isinstance(batch, Piece):
            parameters, y, carried = cast(Autoregressive, self.model).follow(batch, state)
        elif self.training:
            parameters, y = self.model.statements(batch)
        else:
            encoded = self.model.encode(batch, state)
            parameters, y = self.model.future(encoded)
            carried = encoded.carried
            self._observe(batch, encoded)
        seen = y.isfinite()
        each = self.model.output.loss(parameters, y.nan_to_num(0.0))
        count = seen.sum()
        # Not each * seen: what is not finite there would be kept.
        value = torch.where(seen, each, 0.0).sum() / count.clamp(min=1)
        return Loss(value, count.to(value.dtype), carried)

    def _observe(self, batch: Windows, encoded: Encoded) -> None:
        if not batch.share:  # of a process that had nothing left to do
            return
        paths = self.validation_samples if self.briefly else self.samples
        y, units = batch.future(self.spec.prediction_length), self.units(batch)
        count = y.shape[1]
        rows = encoded.h.shape[1] // count  # of a window
        at_once = max(1, _VALUES_AT_ONCE // (paths * y[:, 0].numel()))
        for start in range(0, count, at_once):
            some = slice(start, start + at_once)
            forecast = self.model.forecast(
                encoded.some(slice(start * rows, (start + at_once) * rows)), paths, self.noise_seed
            )
            self.scores.update(forecast, y[:, some], Units(*(unit[some] for unit in units)))

    def units(self, batch: Windows) -> Units:
        """Of windows of training's series, what they are standardized by."""
        tables = cast(tuple[Tensor, Tensor, Tensor], (self.centre, self.scale, self.naive_error))
        return Units(*(table[batch.series] for table in tables))

    def last_losses(self, batch: Windows) -> Tensor:
        parameters, y = self.model.statements(batch)
        each = self.model.output.loss(tuple(part[-1] for part in parameters), y[-1].nan_to_num(0.0))
        return torch.where(y[-1].isfinite(), each, 0.0).sum(-1)

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """Some windows of a split, and the first target's values, in its own units: those that a step reads."""
        length = self.spec.context_length + self.spec.prediction_length
        batch = sample(self, data, split, max(1, steps // length))
        units = self.units(batch)
        values = batch.targets[..., 0] * units.scale[..., 0] + units.centre[..., 0]
        read = [[f"{value:.4g} " for value in row] for row in values.T.tolist()]
        if isinstance(self.model, Segments):
            ends = range(self.model.segment_length, self.spec.context_length + 1, self.model.segment_length)
            words = [["".join(row[end - self.model.segment_length : end]) for end in ends] for row in read]
        else:
            words = [row[:-1] for row in read]
        return Reading(batch, {"": words})

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss}

    @property
    def evaluation_metrics(self) -> list[str]:
        return ["loss", *score_names(self.model.output.is_distribution)]

    def start_observing(self) -> None:
        if self.device.type != "mps":  # which has no float64
            self.scores.set_dtype(torch.float64)
        self.scores.reset()

    def observed(self) -> dict[str, float]:
        return self.scores.compute()

    def tokens(self, batch: Windows | Piece) -> int:
        return len(batch.rows) * (batch.scored if isinstance(batch, Piece) else 1)

    def definitions(self) -> dict[str, str]:
        return {
            "mse, mae, crps": "of standardized values",
            "smape, wql, mase": "of values in the data's unit; mase: season "
            f"{self.spec.season_length}, errors of the seasonal naive forecast on train",
        }

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        found: dict[str, dict[str, dict[str, float]]] = {}
        for split in splits:
            for name, scores in self._reference_scores(cast(SeriesData, data), split).items():
                found.setdefault(name, {})[split] = scores.compute()
        return found

    def _reference_scores(self, data: SeriesData, splits: str) -> dict[str, ForecastScores]:
        """What forecasts that need no training score, and, where the data is generated, the best that there can be."""
        if not self.baseline:
            return {}
        if splits not in self._references:
            is_distribution = self.model.output.is_distribution
            tables = (getattr(self, name).cpu() for name in ("centre", "scale", "naive_error"))
            units = Units(*tables)
            found = simple_forecasts(data, [splits], units, is_distribution)
            self._references[splits] = {name: scores[splits] for name, scores in found.items()}
            ideal = best_possible(data, splits, units, self.samples, self.noise_seed + 1, is_distribution)
            if ideal is not None:
                self._references[splits]["floor"] = ideal
            for scores in self._references[splits].values():
                scores.compute()
        return self._references[splits]

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        data = cast(SeriesData, data)
        lines = {"this model": self.scores, **self._reference_scores(data, splits)}
        pictures = {name: folder / "figures" / f"{name}_{splits}.png" for name in ("forecasts", "horizon")}
        name, label = ("crps", "CRPS (standardized)") if self.scores.is_distribution else ("mae", "MAE (standardized)")
        draw_horizon(lines, name, label, pictures["horizon"])
        if self.scores.is_distribution:
            pictures["calibration"] = folder / "figures" / f"calibration_{splits}.png"
            draw_calibration(self.scores, pictures["calibration"])
        tables = folder / "evaluation"
        write_horizon(lines, tables / f"{splits}_horizon.csv")
        backtest = tables / f"{splits}_backtest.csv"
        columns, rows = write_backtest(self, data, splits, self.stride, backtest, pictures["forecasts"])
        show(loggers, pictures, {"backtest": (columns, rows)}, splits)
        return [f"{splits:<10} {folder}/evaluation/{splits}_backtest.csv, {splits}_horizon.csv; figures/"]

    def forecast(
        self, windows: Windows, state: State | None = None, units: Units | None = None
    ) -> tuple[np.ndarray, np.ndarray | None, State | None]:
        """The future of some windows, in the data's unit.

        Args:
            windows: standardized.
            state: of a stream, what the call before returned.
            units: that they were standardized by; None: those of training's series.

        Returns:
            The mean (prediction, batch, targets); the quantiles at `TABLE_LEVELS` (levels, prediction, batch, targets), None
            from a model that gives points only; and, of a stream, the state.
        """
        windows = windows.like(next(self.model.parameters()))
        with evaluating(self), torch.inference_mode():
            encoded = self.model.encode(windows, state)
            found = self.model.forecast(encoded, self.samples, self.noise_seed)
        units = units or self.units(windows)
        mean = in_unit(found.mean, units)
        spread = None
        if found.paths is not None:
            spread = in_unit(quantiles(found.paths.sort(0).values, TABLE_LEVELS), units)
        return mean, spread, encoded.carried

    def forecast_file(
        self,
        path: str | Path,
        time: str | None = None,
        series: str | None = None,
        encoding: str = "utf-8",
        decimal_comma: bool = False,
    ) -> pd.DataFrame:
        """What follows the last value of each series of a file, as the table that predict.py writes; see `forecasts_of`."""
        table, _ = forecasts_of(self, Path(path), time, series, encoding, decimal_comma)
        return table

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_forecasting_arguments(parser)

    def predict(self, options: argparse.Namespace) -> None:
        forecast_file(self, options)
