"""Speed of training, and of sampling forecasts, against GluonTS and neuralforecast.

    python benchmarks/forecasting_speed.py ETTh1.csv --peers-python PATH_TO/python

All read the seven columns of ETTh1 as series of their own: 96 steps of context and 96 of future, an LSTM of 128 units,
Student's t distribution, 256 windows of one column a batch, Adam, clipping, float32, one core. Ours and both DeepARs run on
context and future; neuralforecast's LSTM, as it is by default, runs over the context only, and a small network makes the
whole future of its outputs. Sampling: 100 paths of 96 steps for 1,000 series; neuralforecast feeds back one path of means
instead. The sides take turns.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from one_core import hold_to_one_core

ROOT = Path(__file__).parents[1]
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", type=Path)
parser.add_argument("--peers-python", required=True, help="one with gluonts[torch] 0.17.0 and neuralforecast 3.3.0")
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--steps", type=int, default=40, help="of training that are timed, in tens")
parser.add_argument("--core", type=int, help="the core that all is held to (default: the first)")
options = parser.parse_args()

hold_to_one_core(options.core)

import torch  # noqa: E402
from peak_memory import run_measured  # noqa: E402
from tables import write_memory, write_peer  # noqa: E402

from unroll import load  # noqa: E402
from unroll.data.windows import Windows  # noqa: E402
from unroll.machine import free_speed  # noqa: E402

SIZES = {"context_length": 96, "prediction_length": 96, "batch_size": 256, "hidden_size": 128, "paths": 100}
SERIES = 1000
PEERS = ("GluonTS DeepAR", "neuralforecast DeepAR", "neuralforecast LSTM")
WARM = 10  # steps that are not timed
TRAINED = "windows a second in training, LSTM of 128, 96 + 96 steps of ETTh1, one core"
SAMPLED = f"sampling {SIZES['paths']} paths of 96 steps for {SERIES:,} series, one core"


def ours(folder: Path) -> dict[str, float]:
    """By train.py; its own windows hold seven columns, so 37 of them are 259 of one column."""
    command = [
        sys.executable,
        "train.py",
        "task=forecasting",
        "data=series_files",
        f"data.path={options.file.absolute()}",
    ]
    data = ["data.context_length=96", "data.prediction_length=96", "data.batch_size=37", "data.calendar=false"]
    sizes = ["data.sizes=[8640,2880,2880]", "model=lstm", "model.hidden_size=128", "task.channels=separate"]
    budget = [f"trainer.max_steps={options.steps + WARM}", "trainer.limit_val_batches=0", "trainer.accelerator=cpu"]
    rest = [f"hydra.run.dir={folder}", "logger=none", "test=false", "task.baseline=false", "task.embedding_size=1"]
    rest += [f"trainer.log_every_n_steps={WARM}", "task.output_dropout=0"]
    _, most = run_measured([*command, *data, *sizes, *budget, *rest], cwd=ROOT)
    with (folder / "metrics.csv").open() as file:
        logged = [float(row["train_seconds"]) for row in csv.DictReader(file) if row["train_seconds"]]
    free_speed()
    task = load(folder, "last")
    context = torch.randn(96, 1, 1).expand(96, -(-SERIES // 7), 7)
    future = torch.full((96, *context.shape[1:]), torch.nan)
    rows = torch.arange(context.shape[1])
    empty = context.new_zeros(192, len(rows), 0)
    windows = Windows(torch.cat([context, future]), empty, empty[:96], rows, rows * 0)
    began = time.perf_counter()
    task.forecast(windows)
    seconds = time.perf_counter() - began
    return {"windows": 259 * options.steps / (logged[-1] - logged[0]), "sampling": seconds, "memory": most}


with tempfile.TemporaryDirectory() as temporary:
    work = Path(temporary)
    spec = work / "spec.json"
    rest = {"csv": str(options.file.absolute()), "rows": 8640, "steps": options.steps, "series": SERIES}
    spec.write_text(json.dumps({**SIZES, **rest}))
    peer = [options.peers_python, str(ROOT / "benchmarks" / "forecasting_peers.py"), str(spec)]
    rounds = []
    for number in range(options.repeats):
        rounds.append({"ours": ours(work / f"run{number}")})
        for name in PEERS:
            answer = subprocess.run([*peer, name], capture_output=True, text=True)
            if answer.returncode:
                sys.exit(answer.stderr[-2000:])
            rounds[-1] |= json.loads(answer.stdout.splitlines()[-1])
        for name, found in rounds[-1].items():
            print(f"{name}: " + ", ".join(f"{key} {value:,.1f}" for key, value in found.items()), flush=True)
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
            write_memory(name, "the same training", [(pair["ours"]["memory"], pair[name]["memory"]) for pair in rounds])
