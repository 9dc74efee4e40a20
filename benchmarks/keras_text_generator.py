"""Time to the quality that the classic Keras LSTM text generator has after five epochs, on its own task.

    python benchmarks/keras_text_generator.py TRAIN TEST --keras-python PATH_TO/python

Both read the same lower-cased text on one core and have one LSTM of 128 units on one-hot characters. Quality is the mean
nats of the next character after windows of 40 from a zero state, every third place of the first 30,000 characters of
TEST, which nothing was tuned on. Keras' clock counts fitting, ours training steps; measuring is left out of both.
Our learning rate and number of steps were chosen among eight settings on the last tenth of TRAIN.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from one_core import hold_to_one_core

LENGTH = 40

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("train", type=Path)
parser.add_argument("test", type=Path)
parser.add_argument("--keras-python", required=True, help="the python of an environment with keras and jax")
parser.add_argument("--characters", type=int, default=400_000, help="of TRAIN that are read")
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--epochs", type=int, default=5)
options = parser.parse_args()

hold_to_one_core(XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from peak_memory import peak  # noqa: E402
from tables import write_memory, write_peer  # noqa: E402
from until_as_good import train_until_as_good  # noqa: E402

from unroll.data.encoding import build_vocabulary  # noqa: E402
from unroll.tasks.base import Task  # noqa: E402


def own_task_loss(task: Task, text: torch.Tensor) -> float:
    """Mean nats of the next character after windows of 40 from a zero state, every third place."""
    starts = torch.arange(0, len(text) - LENGTH, 3)
    total = 0.0
    for part in starts.split(2048):
        y, _ = task.model.hidden(text[part + torch.arange(LENGTH)[:, None]])
        total += F.cross_entropy(task.model.readout(y[-1]), text[part + LENGTH], reduction="sum").item()
    return total / len(starts)


def overrides(folder: Path) -> list[str]:
    """Of the config, for a text in a folder."""
    return [
        "data=text_files",
        f"data.path={folder}/train.txt",
        f"data.cache_dir={folder}/cache",
        "data.batch_size=16",
        "truncation.length=48",
        "truncation.reset_probability=0.2",
        "model.hidden_size=128",
        "task.embedding_size=null",
        "task.output_dropout=0",
        "optimizer.lr=0.02",
        "schedule=cosine",
        "schedule.warmup_steps=50",
        "trainer.max_steps=2000",
    ]


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    train = options.train.read_text().lower()[: options.characters]
    (folder / "train.txt").write_text(train)
    # The product's splits are 90/5/5: the peer reads the same nine tenths.
    train = train[: int(0.9 * len(train))]
    vocabulary = build_vocabulary([train], "characters")
    test = vocabulary.encode(options.test.read_text().lower()[:30_000])
    np.save(folder / "train.npy", vocabulary.encode(train).astype(np.int32))
    np.save(folder / "test.npy", test.astype(np.int32))
    read = torch.from_numpy(test.astype(np.int64))
    ratios, memory = [], []
    for seed in range(1, options.seeds + 1):
        answer = subprocess.run(
            [options.keras_python, str(Path(__file__).with_name("keras_classic.py"))]
            + [str(folder / "train.npy"), str(folder / "test.npy"), str(seed), str(options.epochs)],
            capture_output=True,
            text=True,
        )
        if answer.returncode:
            sys.exit(answer.stderr[-2000:])
        epochs = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
        last = epochs[-1]
        history = train_until_as_good(
            overrides(folder), seed, folder, lambda task: own_task_loss(task, read), every=50, target=last["loss"]
        )
        seconds, loss = history[-1]
        memory.append((peak(), last["memory"]))  # ours with all that this script holds
        reached = loss <= last["loss"]
        if reached:
            ratios.append(last["seconds"] / seconds)
        print(
            f"seed {seed}: Keras {last['loss']:.4f} nats after {last['seconds']:.1f} s ({options.epochs} epochs, best "
            f"{min(epoch['loss'] for epoch in epochs):.4f}); ours {loss:.4f} after {seconds:.1f} s: "
            + (f"{ratios[-1]:.1f} x sooner" if reached else "not reached"),
            flush=True,
        )
print(f"reached with {len(ratios)} of {options.seeds} seeds")
if ratios:
    write_peer(
        "Keras' LSTM text generator (JAX)",
        f"time to the quality that it has after {options.epochs} epochs, one core",
        ratios,
        f"; reached with {len(ratios)} of {options.seeds} seeds",
    )
write_memory("Keras' LSTM text generator (JAX)", "the same", memory)
