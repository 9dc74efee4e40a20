"""The others' side of forecasting_speed.py, in an environment of its own: `python forecasting_peers.py SPEC.json NAME`."""

import json
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import lightning.pytorch
import numpy as np
import pandas as pd
import pytorch_lightning
from gluonts.dataset.common import ListDataset
from gluonts.torch.model.deepar import DeepAREstimator
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import DistributionLoss
from neuralforecast.models import LSTM, DeepAR
from peak_memory import peak

warnings.filterwarnings("ignore")
SPEC = json.loads(Path(sys.argv[1]).read_text())
FOLDER = Path(sys.argv[1]).parent
LEVELS = (0.1, 0.5, 0.9)
WARM = 10  # steps that are not timed
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
QUIET |= {"gradient_clip_val": 1.0}


class Times:
    """When the first steps, and the last, have ended; of the class, since neuralforecast trains with a copy."""

    began = ended = 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        """A step has ended."""
        if trainer.global_step == WARM:
            Times.began = time.perf_counter()
        Times.ended = time.perf_counter()


# The two use Lightning under its two names.
class Clock(Times, lightning.pytorch.Callback):
    """For GluonTS."""


class OldClock(Times, pytorch_lightning.Callback):
    """For neuralforecast."""


def windows_a_second() -> float:
    """Of the training that has just ended."""
    return SPEC["batch_size"] * SPEC["steps"] / (Times.ended - Times.began)


def columns() -> dict[str, np.ndarray]:
    """Each column a series of its own, standardized."""
    rows = pd.read_csv(SPEC["csv"]).iloc[: SPEC["rows"], 1:]
    return {name: ((rows[name] - rows[name].mean()) / rows[name].std()).to_numpy(np.float32) for name in rows}


def gluonts_predictor(steps: int, scaling: bool):
    """DeepAR of GluonTS, trained; its one lag makes it read the value before, as ours does."""
    start = pd.Timestamp("2016-07-01")
    estimator = DeepAREstimator(
        freq="h",
        prediction_length=SPEC["prediction_length"],
        context_length=SPEC["context_length"],
        hidden_size=SPEC["hidden_size"],
        num_layers=1,
        dropout_rate=0.0,
        lags_seq=[1],
        time_features=[],
        scaling=scaling,
        batch_size=SPEC["batch_size"],
        num_batches_per_epoch=steps,
        num_parallel_samples=SPEC["paths"],
        trainer_kwargs={**QUIET, "max_epochs": 1, "callbacks": [Clock()], "default_root_dir": tempfile.mkdtemp()},
    )
    return estimator.train(ListDataset([{"start": start, "target": one} for one in columns().values()], freq="h"))


def gluonts() -> dict[str, float]:
    """DeepAR of GluonTS."""
    predictor = gluonts_predictor(SPEC["steps"] + WARM, scaling=False)
    found = {"windows": windows_a_second(), "memory": peak()}
    start = pd.Timestamp("2016-07-01")
    length = SPEC["context_length"] + 1
    many = [{"start": start, "target": np.random.randn(length).astype(np.float32)} for _ in range(SPEC["series"])]
    began = time.perf_counter()
    assert len(list(predictor.predict(ListDataset(many, freq="h")))) == SPEC["series"]
    found["sampling"] = time.perf_counter() - began
    held_out = [{"start": start, "target": one.astype(np.float32)} for one in np.load(FOLDER / "contexts.npy")]
    forecasts = gluonts_predictor(SPEC["trained"], scaling=True).predict(ListDataset(held_out, freq="h"))
    samples = np.stack([one.samples for one in forecasts])
    np.save(FOLDER / "forecasts.npy", np.quantile(samples, LEVELS, axis=1))
    return found


def trained_neuralforecast(kind: str, steps: int) -> NeuralForecast:
    """Its model, after so many steps."""
    shared = {
        "h": SPEC["prediction_length"],
        "input_size": SPEC["context_length"],
        "max_steps": steps,
        "batch_size": 7,
        "windows_batch_size": SPEC["batch_size"],
        "loss": DistributionLoss("StudentT", level=[80]),
        "scaler_type": "identity",
        "val_check_steps": 10**6,
        "random_seed": 1,
        "enable_checkpointing": False,
        "callbacks": [OldClock()],
        **QUIET,
    }
    units = SPEC["hidden_size"]
    if kind == "DeepAR":
        model = DeepAR(**shared, lstm_n_layers=1, lstm_hidden_size=units, lstm_dropout=0.0, decoder_hidden_layers=0)
    else:
        model = LSTM(
            **shared, encoder_n_layers=1, encoder_hidden_size=units, decoder_layers=1, decoder_hidden_size=units
        )
    found = NeuralForecast(models=[model], freq="h")
    found.fit(table(columns()))
    return found


def table(series: dict[str, np.ndarray]) -> pd.DataFrame:
    """As neuralforecast reads series."""
    parts = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range("2016-07-01", periods=len(one), freq="h"), "y": one})
        for name, one in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


def neuralforecast(kind: str) -> dict[str, float]:
    """Training, and forecasts; it feeds back the mean of what it said, one path, and draws none to compare."""
    trained_neuralforecast(kind, SPEC["steps"] + WARM)
    found = {"windows": windows_a_second(), "memory": peak()}
    contexts = {f"{number:04}": one for number, one in enumerate(np.load(FOLDER / "contexts.npy"))}
    forecasts = trained_neuralforecast(kind, SPEC["trained"]).predict(df=table(contexts))
    named = [f"{kind}{ending}" for ending in ("-lo-80", "-median", "-hi-80")]
    shape = len(contexts), SPEC["prediction_length"]
    np.save(FOLDER / "forecasts.npy", np.stack([forecasts[name].to_numpy().reshape(shape) for name in named]))
    return found


if sys.argv[2] == "GluonTS DeepAR":
    found = {f"GluonTS {version('gluonts')} DeepAR": gluonts()}
else:
    _, kind = sys.argv[2].split()
    found = {f"neuralforecast {version('neuralforecast')} {kind}": neuralforecast(kind)}
print(json.dumps(found))
