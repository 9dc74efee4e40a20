"""neuralforecast's side of forecasting_speed.py, in an environment of its own: `python neuralforecast_peer.py SPEC.json`."""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd
import pytorch_lightning as lightning
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import DistributionLoss
from neuralforecast.models import LSTM, DeepAR

SPEC = json.loads(Path(sys.argv[1]).read_text())
WARM = 10  # steps that are not timed


class Clock(lightning.Callback):
    """When the first steps, and the last, have ended; of the class, since neuralforecast trains with a copy."""

    began = ended = 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        """A step has ended."""
        if trainer.global_step == WARM:
            Clock.began = time.perf_counter()
        Clock.ended = time.perf_counter()


def table(path: str) -> pd.DataFrame:
    """Each column a series of its own, as neuralforecast reads them; standardized."""
    rows = pd.read_csv(path, parse_dates=["date"]).iloc[:8640]
    parts = [
        pd.DataFrame({"unique_id": name, "ds": rows["date"], "y": (rows[name] - rows[name].mean()) / rows[name].std()})
        for name in rows.columns[1:]
    ]
    return pd.concat(parts, ignore_index=True)


def model(kind: str):
    """One of neuralforecast's, at the sizes of the spec."""
    shared = {
        "h": SPEC["prediction_length"],
        "input_size": SPEC["context_length"],
        "max_steps": SPEC["steps"] + WARM,
        "batch_size": 7,
        "windows_batch_size": SPEC["batch_size"],
        "loss": DistributionLoss("StudentT", num_samples=SPEC["paths"], level=[80]),
        "scaler_type": "identity",
        "val_check_steps": 10**6,
        "random_seed": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "callbacks": [Clock()],
        "gradient_clip_val": 1.0,
    }
    if kind == "DeepAR":
        size = {
            "lstm_n_layers": 1,
            "lstm_hidden_size": SPEC["hidden_size"],
            "lstm_dropout": 0.0,
            "decoder_hidden_layers": 0,
        }
        return DeepAR(**shared, **size, trajectory_samples=SPEC["paths"])
    size = {"encoder_n_layers": 1, "encoder_hidden_size": SPEC["hidden_size"], "decoder_layers": 1}
    return LSTM(**shared, **size, decoder_hidden_size=SPEC["hidden_size"])


found = {}
for kind in SPEC["kinds"]:
    forecaster = NeuralForecast(models=[model(kind)], freq="h")
    data = table(SPEC["csv"])
    forecaster.fit(data)
    found[kind] = {"windows": SPEC["batch_size"] * SPEC["steps"] / (Clock.ended - Clock.began)}
    if kind == "DeepAR":
        window = data[data["unique_id"] == "OT"].tail(SPEC["context_length"])
        many = pd.concat([window.assign(unique_id=f"s{number}") for number in range(SPEC["series"])], ignore_index=True)
        began = time.perf_counter()
        forecaster.predict(many)
        found[kind]["sampling"] = time.perf_counter() - began
print(json.dumps(found))
