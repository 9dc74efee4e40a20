"""Speed of training, and of sampling forecasts, against GluonTS and neuralforecast.

    python benchmarks/forecasting_speed.py ETTh1.csv --peers-python PATH_TO/python

All read the seven columns of ETTh1 as series of their own: 96 steps of context and 96 of future, an LSTM of 128 units,
Student's t distribution, 256 windows of one column a batch, Adam, clipping, float32, one core. Ours and both DeepARs run on
context and future; neuralforecast's LSTM, as it is by default, runs over the context only, and a small network makes the
whole future of its outputs. Sampling: 100 paths of 96 steps for 1,000 series; neuralforecast feeds back one path of means
instead. The sides take turns.

Quality is the quantile loss (of 0.1, 0.5 and 0.9, standardized values) of forecasts from every 48th hour of the validation
part, by models that were trained once more for `--trained` steps, each with its own learning rate and its own way to scale a
window.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from one_core import hold_to_one_core

ROOT = Path(__file__).parents[1]
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", type=Path)
parser.add_argument(
    "--peers-python", required=True, help="one with gluonts[torch] 0.17.0, neuralforecast 3.3.0 and this torch"
)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--steps", type=int, default=40, help="of training that are timed, in tens")
parser.add_argument("--trained", type=int, default=400, help="steps of training before the quality is looked at")
parser.add_argument("--core", type=int, help="the core that all is held to (default: the first)")
options = parser.parse_args()

hold_to_one_core(options.core)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from peak_memory import run_measured  # noqa: E402
from tables import write_memory, write_peer  # noqa: E402

from unroll import load  # noqa: E402
from unroll.data.windows import Windows  # noqa: E402
from unroll.forecast_scores import quantiles  # noqa: E402
from unroll.machine import free_speed  # noqa: E402

SIZES = {"context_length": 96, "prediction_length": 96, "batch_size": 256, "hidden_size": 128, "paths": 100}
SERIES = 1000
PEERS = ("GluonTS DeepAR", "neuralforecast DeepAR", "neuralforecast LSTM")
ROWS = 8640  # that are trained on
WARM = 10  # steps that are not timed
TRAINED = "windows a second in training, LSTM of 128, 96 + 96 steps of ETTh1, one core"
LEVELS = (0.1, 0.5, 0.9)
QUALITY = f"quantile loss of forecasts after {options.trained} steps of training each, the same"
SAMPLED = f"sampling {SIZES['paths']} paths of 96 steps for {SERIES:,} series, one core"


def series() -> np.ndarray:
    """(rows, columns), standardized by the part that is trained on."""
    rows = pd.read_csv(options.file).iloc[:, 1:].to_numpy(np.float64)
    return (rows - rows[:ROWS].mean(0)) / rows[:ROWS].std(0)


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """Contexts (forecasts, 97) and futures (forecasts, 96) of the validation part, of each column every 48th hour."""
    rows, length = series(), SIZES["context_length"]
    places = range(ROWS, ROWS + 2880 - length + 1, 48)
    contexts, futures = (
        np.concatenate([rows[place + begin : place + end].T for place in places])
        for begin, end in ((-length - 1, 0), (0, SIZES["prediction_length"]))
    )
    return contexts, futures


def quantile_loss(forecasts: np.ndarray, futures: np.ndarray) -> float:
    """Of quantiles (levels, forecasts, steps)."""
    short = futures - forecasts
    levels = np.array(LEVELS)[:, None, None]
    return float(np.maximum(levels * short, (levels - 1) * short).mean())


def command(folder: Path, steps: int) -> list[str]:
    """That trains ours; its own windows hold seven columns, so 37 of them are 259 of one column."""
    data = ["task=forecasting", "data=series_files", f"data.path={options.file.absolute()}", "data.calendar=false"]
    data += [
        "data.context_length=96",
        "data.prediction_length=96",
        "data.batch_size=37",
        f"data.sizes=[{ROWS},2880,2880]",
    ]
    sizes = ["model=lstm", "model.hidden_size=128", "task.channels=separate"]
    budget = [f"trainer.max_steps={steps}", "trainer.limit_val_batches=0", "trainer.accelerator=cpu"]
    rest = [f"hydra.run.dir={folder}", "logger=none", "test=false", "task.baseline=false", "task.embedding_size=1"]
    rest += [f"trainer.log_every_n_steps={WARM}", "task.output_dropout=0"]
    return [sys.executable, "train.py", *data, *sizes, *budget, *rest]


def sampled(folder: Path, contexts: torch.Tensor) -> torch.Tensor:
    """Paths (samples, 96, series) that the model of a run draws after standardized contexts (96, series)."""
    task = load(folder, "last")
    windows = contexts.unflatten(1, (-1, 7)).float()
    future = torch.full((96, *windows.shape[1:]), torch.nan)
    rows = torch.arange(windows.shape[1])
    empty = windows.new_zeros(192, len(rows), 0)
    with torch.inference_mode():
        encoded = task.model.encode(Windows(torch.cat([windows, future]), empty, empty[:96], rows, rows * 0), None)
        paths = task.model.forecast(encoded, SIZES["paths"], 1).paths
    return paths.flatten(2)


def ours(folder: Path) -> dict[str, float]:
    """By train.py, and by what predict.py calls."""
    _, most = run_measured(command(folder / "short", options.steps + WARM), cwd=ROOT)
    with (folder / "short" / "metrics.csv").open() as file:
        logged = [float(row["train_seconds"]) for row in csv.DictReader(file) if row["train_seconds"]]
    run_measured(command(folder / "long", options.trained), cwd=ROOT)
    free_speed()
    contexts, futures = held_out()
    paths = sampled(folder / "long", torch.from_numpy(contexts[:, 1:].T))
    found = quantiles(paths.sort(0).values, LEVELS).transpose(1, 2).numpy()
    count = -(-SERIES // 7) * 7
    began = time.perf_counter()
    sampled(folder / "short", torch.randn(96, count))
    seconds = time.perf_counter() - began
    speed = 259 * options.steps / (logged[-1] - logged[0])
    return {"windows": speed, "sampling": seconds, "memory": most, "loss": quantile_loss(found, futures)}


with tempfile.TemporaryDirectory() as temporary:
    work = Path(temporary)
    spec = work / "spec.json"
    rest = {
        "csv": str(options.file.absolute()),
        "rows": ROWS,
        "trained": options.trained,
        "steps": options.steps,
        "series": SERIES,
    }
    spec.write_text(json.dumps({**SIZES, **rest}))
    contexts, futures = held_out()
    np.save(work / "contexts.npy", contexts)
    peer = [options.peers_python, str(ROOT / "benchmarks" / "forecasting_peers.py"), str(spec)]
    rounds = []
    for number in range(options.repeats):
        rounds.append({"ours": ours(work / f"run{number}")})
        for name in PEERS:
            answer = subprocess.run([*peer, name], capture_output=True, text=True)
            if answer.returncode:
                sys.exit(answer.stderr[-2000:])
            ((name, found),) = json.loads(answer.stdout.splitlines()[-1]).items()
            found["loss"] = quantile_loss(np.load(work / "forecasts.npy"), futures)
            rounds[-1][name] = found
        for name, found in rounds[-1].items():
            print(f"{name}: " + ", ".join(f"{key} {value:,.3f}" for key, value in found.items()), flush=True)
    for what in ("windows", "sampling"):
        for name in rounds[0]:
            if name != "ours" and what in rounds[0][name]:
                ratios = [pair["ours"][what] / pair[name][what] for pair in rounds]
                if what == "sampling":  # seconds
                    write_peer(name, SAMPLED, [1 / ratio for ratio in ratios])
                else:
                    write_peer(name, TRAINED, ratios)
    for name in rounds[0]:
        if name != "ours":
            both = [statistics.median(pair[side]["loss"] for pair in rounds) for side in ("ours", name)]
            ratios = [pair[name]["loss"] / pair["ours"]["loss"] for pair in rounds]
            write_peer(name, QUALITY, ratios, f"; {both[0]:.3f} and {both[1]:.3f}")
            write_memory(name, "the same training", [(pair["ours"]["memory"], pair[name]["memory"]) for pair in rounds])
