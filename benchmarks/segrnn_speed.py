"""Speed of training forecasters of segments beside SegRNN's own code.

    python benchmarks/segrnn_speed.py PATH_TO/SegRNN ETTh1.csv --peers-python PATH_TO/python

One epoch by the authors' script for a look-back of 96 (GRU of 512 units, segments of 24, 256 windows of seven columns a
batch, Adam, float32), and by `experiment=etth1_segrnn`, whose sizes are those; ours in bf16-mixed too, as the recipe has it.
All on one core; the sides take turns.
"""

import argparse
import csv
import re
import sys
import tempfile
from pathlib import Path

from one_core import hold_to_one_core

ROOT = Path(__file__).parents[1]
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("peer", type=Path, help="a clone of lss-1138/SegRNN")
parser.add_argument("file", type=Path)
parser.add_argument("--peers-python", required=True, help="one with scikit-learn, pandas, matplotlib and this torch")
parser.add_argument("--ahead", type=int, default=192, help="steps that are forecast")
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--core", type=int, help="the core that all is held to (default: the first)")
options = parser.parse_args()

hold_to_one_core(options.core)

from peak_memory import run_measured  # noqa: E402
from tables import write_memory, write_peer  # noqa: E402

# Its early stopping starts from np.Inf, which NumPy 2 has no more.
BEGIN = """
import runpy, sys, numpy
numpy.Inf = numpy.inf
sys.path[0] = sys.argv.pop(1)
runpy.run_path(f"{sys.path[0]}/run_longExp.py", run_name="__main__")
"""


def ours(folder: Path, precision: str) -> tuple[float, float]:
    """Windows a second of an epoch, and the MiB that the process had at most."""
    data = [f"data.path={options.file.absolute().parent}", f"data.prediction_length={options.ahead}"]
    budget = ["trainer.max_epochs=1", "trainer.limit_val_batches=0", "trainer.log_every_n_steps=8"]
    rest = [
        f"trainer.precision={precision}",
        "trainer.accelerator=cpu",
        "task.baseline=false",
        "test=false",
        "logger=none",
    ]
    command = [sys.executable, "train.py", "experiment=etth1_segrnn", *data, *budget, *rest, f"hydra.run.dir={folder}"]
    _, most = run_measured(command, cwd=ROOT)
    with (folder / "metrics.csv").open(newline="") as file:
        last = [row for row in csv.DictReader(file) if row["train_seconds"]][-1]
    return float(last["windows"]) / float(last["train_seconds"]), most


def theirs(folder: Path) -> tuple[float, float]:
    """The same of the peer."""
    folder.mkdir()
    data = ["--data", "ETTh1", "--root_path", f"{options.file.absolute().parent}/", "--data_path", options.file.name]
    sizes = ["--features", "M", "--seq_len", "96", "--pred_len", str(options.ahead), "--seg_len", "24", "--enc_in", "7"]
    model = ["--d_model", "512", "--dropout", "0.5", "--rnn_type", "gru", "--dec_way", "pmf", "--channel_id", "1"]
    budget = ["--train_epochs", "1", "--batch_size", "256", "--learning_rate", "0.001", "--loss", "mse", "--itr", "1"]
    rest = ["--is_training", "1", "--model_id", "ETTh1", "--model", "SegRNN", "--num_workers", "0"]
    command = [options.peers_python, "-c", BEGIN, str(options.peer.absolute()), *data, *sizes, *model, *budget, *rest]
    said, most = run_measured(command, cwd=folder)
    seconds = re.search(r"Epoch: 1 cost time: ([\d.]+)", said)
    steps = re.search(r"Epoch: 1, Steps: (\d+)", said)
    if seconds is None or steps is None:
        sys.exit(f"the peer printed no speed:\n{said[-500:]}")
    return 256 * int(steps[1]) / float(seconds[1]), most


with tempfile.TemporaryDirectory() as name:
    work = Path(name)
    rounds = []
    for repeat in range(options.repeats):
        rounds.append(
            (
                ours(work / f"whole{repeat}", "32-true"),
                ours(work / f"half{repeat}", "bf16-mixed"),
                theirs(work / f"peer{repeat}"),
            )
        )
        print(*(f"{speed:,.0f} windows/s, {most:,.0f} MiB" for speed, most in rounds[-1]), sep="; ", flush=True)
    what = f"GRU of 512, 96 + {options.ahead} steps of ETTh1"
    for index, precision in enumerate(("float32", "bf16-mixed against its float32")):
        ratios = [sides[index][0] / sides[2][0] for sides in rounds]
        write_peer("SegRNN's own code", f"windows a second in training, {what}, {precision}, one core", ratios)
    write_memory("SegRNN's own code", f"{what}, in float32", [(sides[0][1], sides[2][1]) for sides in rounds])
