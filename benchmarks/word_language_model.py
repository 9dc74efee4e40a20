"""Training speed beside `word_language_model` of pytorch/examples, on the same text and sizes.

    python benchmarks/word_language_model.py PATH_TO/examples/word_language_model TEXT

TEXT is one whose tokens lie between blanks, as Penn Treebank's train.txt. It is read by words; and by characters: cut into
lines of single characters for the peer, so that both read one token a character, one <eos> a newline. Sizes are its defaults:
LSTM 2 x 200, embedding 200, weights not tied, 20 lanes, 35 steps, dropout 0.2. Tokens a second come from its own log
("ms/batch") and from ours (metrics.csv), the first rows left out; the two take turns.
"""

import argparse
import csv
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path

from peak_memory import run_measured
from tables import write_memory, write_peer

ROOT = Path(__file__).parents[1]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("peer", type=Path, help="the folder word_language_model of a clone of pytorch/examples")
parser.add_argument("text", type=Path, help="a text file of at least 1,500,000 characters; of them the first are used")
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()
environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": str(options.peer.absolute())}
TOKENS = 20 * 35
CHARACTERS = {"characters": 400_000, "words": 1_500_000}  # of the text that are read
STEPS = {"characters": 500, "words": 300}
TASK = {
    "characters": ["task=char_lm"],
    "words": [
        "task=word_lm",
        "data.unit=words",
        "data.boundaries=spaces",
        "task.tie_weights=false",
        "task.output_dropout=0.2",
    ],
}


def ours(folder: Path, text: Path, precision: str, unit: str) -> tuple[float, float]:
    """Tokens a second of train.py, and the MiB that it had at most."""
    _, most = run_measured(
        [
            sys.executable,
            "train.py",
            *TASK[unit],
            f"hydra.run.dir={folder}",
            "data=text_files",
            f"data.path={text}",
            f"data.validation_path={text.parent}/part.txt",
            f"data.test_path={text.parent}/part.txt",
            f"data.cache_dir={folder.parent}/cache",
            "data.batch_size=20",
            "truncation.length=35",
            "model.hidden_size=200",
            "model.num_layers=2",
            "model.dropout=0.2",
            "task.embedding_size=200",
            "task.input_dropout=0.2",
            "optimizer=sgd",
            "schedule=constant",
            f"trainer.max_steps={STEPS[unit]}",
            "trainer.gradient_clip_val=0.25",
            "trainer.accelerator=cpu",
            f"trainer.precision={precision}",
            "trainer.limit_val_batches=0",
            "test=false",
            "logger=wandb",
            "logger.mode=offline",
        ],
        cwd=ROOT,
        env=environment,
    )
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train_seconds"]]
    seconds = float(rows[-1]["train_seconds"]) - float(rows[1]["train_seconds"])
    return (len(rows) - 2) * 50 * TOKENS / seconds, most


def peers(data: Path) -> tuple[float, float]:
    """Tokens a second of the peer's main.py, and the MiB that it had at most."""
    said, most = run_measured(
        [sys.executable, "-u", "main.py", "--data", str(data), "--epochs", "1", "--lr", "1", "--log-interval", "50"]
        + ["--save", str(data / "model.pt")],
        cwd=options.peer,
        env=environment,
    )
    found = [float(value) for value in re.findall(r"ms/batch\s+([\d.]+)", said)]
    if len(found) < 4:
        sys.exit(f"the peer printed no speed:\n{said[-500:]}")
    return TOKENS / statistics.mean(found[2:]) * 1e3, most


for unit in TASK:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = options.text.read_text()[: CHARACTERS[unit]]
        (folder / "text.txt").write_text(text)
        (folder / "part.txt").write_text(text[:20_000])
        for split, part in (("train", text), ("valid", text[:20_000]), ("test", text[:20_000])):
            lines = [" ".join(line.replace(" ", "_")) if unit == "characters" else line for line in part.split("\n")]
            (folder / f"{split}.txt").write_text("\n".join(lines))
        rows = []
        for repeat in range(options.repeats):
            rows.append(
                (
                    ours(folder / f"run{repeat}", folder / "text.txt", "32-true", unit),
                    ours(folder / f"half{repeat}", folder / "text.txt", "bf16-mixed", unit),
                    peers(folder),
                )
            )
            speeds = [f"{speed:,.0f} tokens/s, {most:,.0f} MiB" for speed, most in rows[-1]]
            print("{}: float32 {}; bf16-mixed {}; peer {}".format(unit, *speeds), flush=True)
    what = f"LSTM 2 x 200 on {unit}, 20 lanes, 35 steps"
    for index, precision in enumerate(("float32", "bf16-mixed against its float32")):
        write_peer(
            "pytorch/examples `word_language_model`",
            f"tokens a second in training, {what}, {precision}, {options.threads} thread",
            [row[index][0] / row[2][0] for row in rows],
        )
    write_memory(
        "pytorch/examples `word_language_model`", f"{what}, in float32", [(row[0][1], row[2][1]) for row in rows]
    )
