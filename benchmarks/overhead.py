"""What the complete train.py costs over a bare PyTorch loop of the same model and batches, a step.

    python benchmarks/overhead.py

Hydra, Lightning, W&B offline, metrics, progress and checkpoints are on; validation, which the bare loop has not, is off.
The two take turns, a process each time; what is compared is the median over repeats of the mean seconds a step, the
first 100 steps left out.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tables import write_peer

ROOT = Path(__file__).parents[1]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--hidden", type=int, default=128)
options = parser.parse_args()
environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "WANDB_MODE": "offline"}
SKIPPED = 100


def ours(folder: Path) -> float:
    """Mean seconds a step of train.py."""
    subprocess.run(
        [
            sys.executable,
            "train.py",
            f"hydra.run.dir={folder}",
            f"data.cache_dir={folder.parent}/cache",
            f"model.hidden_size={options.hidden}",
            "data.batch_size=64",
            f"trainer.max_steps={options.steps}",
            "trainer.accelerator=cpu",
            "trainer.limit_val_batches=0",
            "test=false",
        ],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with (folder / "metrics.csv").open(newline="") as file:
        at = {int(row["step"]): float(row["train_seconds"]) for row in csv.DictReader(file) if row["train_seconds"]}
    return (at[options.steps] - at[SKIPPED]) / (options.steps - SKIPPED)


def bare(cache: Path) -> float:
    """Mean seconds a step of the bare loop."""
    (store,) = cache.iterdir()
    vocabulary = len(json.loads((store / "vocabulary.json").read_text())["symbols"]) + 1
    arguments = [f"--vocabulary={vocabulary}", f"--steps={options.steps}", f"--hidden={options.hidden}"]
    answer = subprocess.run(
        [sys.executable, "benchmarks/bare_loop.py", str(store / "train.npy"), *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return statistics.mean(json.loads(answer.stdout)[SKIPPED:])


with tempfile.TemporaryDirectory() as name:
    pairs = []
    for repeat in range(options.repeats):
        pairs.append((ours(Path(name) / f"run{repeat}"), bare(Path(name) / "cache")))
        print(f"train.py {pairs[-1][0] * 1e3:.2f} ms, bare loop {pairs[-1][1] * 1e3:.2f} ms a step", flush=True)
medians = [statistics.median(column) * 1e3 for column in zip(*pairs, strict=True)]
write_peer(
    "a bare PyTorch loop",
    f"the complete `train.py`: steps a second, LSTM of {options.hidden}, B = 64, T = 64, {options.threads} thread",
    [theirs / ours for ours, theirs in pairs],
    f"; {medians[0]:.2f} and {medians[1]:.2f} ms a step",
)
