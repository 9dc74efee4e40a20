"""Speed of training a BiLSTM-CRF tagger that reads letters, and of tagging with it, against Flair's SequenceTagger.

    python benchmarks/tagging_speed.py FOLDER --flair-python PATH_TO/python

FOLDER holds wnut17. Equal: the words that stand at least twice in train, as they are written; embeddings of 100 for them,
trained from nothing; letters of 32, read by an LSTM of 64 in each direction; a bidirectional LSTM of 200; a CRF over the 13
tags of IOB2 (Flair's has a start and a stop too); dropout 0.5 before and behind the LSTM; 32 sentences a batch; torch's fused
AdamW at one constant rate; float32, one core. Not equal: Flair's batches are random ones, packed, ours are of like lengths;
Flair reads the letters sentence by sentence and keeps each word's vector in an object, ours spell each different word of a
batch once; Flair's loss is a sum over the batch and clipped at 5, its default, ours a mean over the words and clipped at 1;
the weights start each side's own way, and ours forbids what breaks the rules of IOB2.

The clock counts training, without each side's own evaluation of validation after an epoch: all epochs but the first for the
speed, all for the time to an F1. Tagging goes from lists of words to the entities of the whole test split, 256 sentences a
batch (Flair is not a tenth faster with 32 or 64), after a pass that is not timed; ours also says how probable each entity is.
The sides take turns, and in who is first too.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from one_core import hold_to_one_core

ROOT = Path(__file__).parents[1]
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--flair-python", required=True, help="the python of an environment with flair 0.15.1")
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--epochs", type=int, default=6, help="of training, a side and repeat; at least 2")
parser.add_argument("--target", type=float, default=0.1, help="F1 of validation that both are timed to")
parser.add_argument("--core", type=int, help="the core that all is held to (default: the first)")
options = parser.parse_args()

hold_to_one_core(options.core)
peer = shutil.which(options.flair_python)
if peer is None or subprocess.run([peer, "-c", "import flair"], capture_output=True).returncode:
    print(f"skipped: {options.flair_python} has no flair")
    sys.exit()

from hydra import compose, initialize_config_dir  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from peak_memory import run_measured  # noqa: E402
from tables import write_memory, write_peer  # noqa: E402

from unroll import load  # noqa: E402
from unroll.building import build_data  # noqa: E402
from unroll.composing import CONF  # noqa: E402
from unroll.data.tagged_text import TaggedText  # noqa: E402
from unroll.entities import entities  # noqa: E402
from unroll.machine import free_speed  # noqa: E402

PASSES = 4  # over the test split; the first is not counted
SIZES = {"embedding_size": 100, "character_embedding_size": 32, "character_hidden_size": 64}
OPTIMIZER = {"lr": 0.004, "weight_decay": 0.01, "fused": True}
OVERRIDES = [
    "experiment=wnut17_bilstm_crf",
    f"data.path={options.folder.absolute()}",
    "data.min_count=2",
    "data.lowercase=false",
    "data.batch_size=32",
    "data.eval_batch_size=128",
    "model.hidden_size=200",
    *(f"task.{key}={value}" for key, value in SIZES.items()),
    "task.once_dropout=0",  # each known word stands twice at least
    "task.input_dropout=0.5",
    "task.output_dropout=0.5",
    "optimizer=adamw",
    *(f"optimizer.{key}={value}" for key, value in OPTIMIZER.items()),
    "schedule=constant",
    "schedule.warmup_steps=0",
    f"trainer.max_epochs={options.epochs}",
    "trainer.accelerator=cpu",
]


def ours(folder: Path, seed: int, sentences: list[list[str]]) -> dict:
    """By train.py, and by what predict.py calls."""
    command = [sys.executable, "train.py", *OVERRIDES, f"seed={seed}", f"hydra.run.dir={folder}"]
    rest = ["logger=none", "test=false", "task.baseline=false"]
    _, most = run_measured([*command, *rest], cwd=ROOT)
    with (folder / "metrics.csv").open() as file:
        epochs = [[float(row["train_seconds"]), float(row["val/f1"])] for row in csv.DictReader(file) if row["val/f1"]]
    free_speed()
    task = load(folder, "last")
    texts = [" ".join(words) for words in sentences]
    passes = []
    for _ in range(PASSES):
        began = time.perf_counter()
        marks = task.tag(texts, pretokenized=True)
        passes.append(time.perf_counter() - began)
    parameters = json.loads((folder / "summary.json").read_text())["parameters"]
    return {"parameters": parameters, "epochs": epochs, "passes": passes, "found": sum(map(len, marks)), "memory": most}


def theirs(work: Path, seed: int) -> dict:
    """By flair_peer.py."""
    spec = work / "spec.json"
    settings = {**SIZES, "data": str(work / "data.json"), "seed": seed, "epochs": options.epochs, "passes": PASSES}
    model = {"min_count": 2, "hidden_size": 200, "dropout": 0.5, "batch_size": 32, "eval_batch_size": 128}
    steps = {"optimizer": {**OPTIMIZER, "betas": [0.9, 0.99]}, "clip": 5.0, "tag_batch_size": 256}
    spec.write_text(json.dumps({**settings, **model, **steps}))
    command = [peer, str(ROOT / "benchmarks" / "flair_peer.py"), str(spec)]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        sys.exit(answer.stderr[-2000:])
    return json.loads(answer.stdout.splitlines()[-1])


def seconds_to_target(epochs: list[list[float]]) -> float | None:
    """Of training, until F1 of validation was first as good; None: it never was."""
    return next((seconds for seconds, f1 in epochs if f1 >= options.target), None)


with tempfile.TemporaryDirectory() as temporary:
    work = Path(temporary)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("train", OVERRIDES), resolve=True)
    assert isinstance(config, dict)
    data = build_data(config)
    assert isinstance(data, TaggedText)
    splits = {
        split: [(rows.words(index), entities(rows.tags(index))) for index in range(len(rows.given))]
        for split, rows in data.sentences.items()
    }
    (work / "data.json").write_text(json.dumps(splits))
    sentences = [words for words, _ in splits["test"]]
    trained, tagged = (sum(len(words) for words, _ in splits[name]) for name in ("train", "test"))
    rounds = []
    for number in range(options.repeats):
        pair = {}
        for side in ("ours", "flair") if number % 2 else ("flair", "ours"):
            seed = number + 1
            pair[side] = ours(work / f"run{number}", seed, sentences) if side == "ours" else theirs(work, seed)
            print(f"{side}: {json.dumps(pair[side])}", flush=True)
        rounds.append(pair)

found: dict[str, dict[str, list]] = {side: {} for side in ("ours", "flair")}
for pair in rounds:
    for side, one in pair.items():
        begin, end = one["epochs"][0][0], one["epochs"][-1][0]
        for key, value in {
            "training": (end - begin) / (len(one["epochs"]) - 1),  # seconds an epoch
            "tagging": statistics.median(one["passes"][1:]),
            "f1": one["epochs"][-1][1],
            "reached": seconds_to_target(one["epochs"]),
        }.items():
            found[side].setdefault(key, []).append(value)
for side, values in found.items():
    print(f"{side}: F1 of validation after {options.epochs} epochs {', '.join(f'{f1:.3f}' for f1 in values['f1'])}")
SIZE = "BiLSTM-CRF of 2 x 200 with letters, WNUT-17, one core"
for what, words in (("training", trained), ("tagging", tagged)):
    speeds = [words / statistics.median(found[side][what]) for side in ("ours", "flair")]
    write_peer(
        "Flair 0.15.1",
        f"words a second in {what}, {SIZE}",
        [one / other for one, other in zip(found["flair"][what], found["ours"][what], strict=True)],
        f"; {speeds[0]:,.0f} and {speeds[1]:,.0f}",
    )
memory = [(pair["ours"]["memory"], pair["flair"]["memory"]) for pair in rounds]
write_memory("Flair 0.15.1", "the same training", memory)
both = [(one, other) for one, other in zip(found["flair"]["reached"], found["ours"]["reached"], strict=True)]
reached = [one / other for one, other in both if one and other]
if reached:
    write_peer(
        "Flair 0.15.1",
        f"time of training to an F1 of validation of {options.target}, the same",
        reached,
        f"; reached with {options.repeats - found['ours']['reached'].count(None)} of {options.repeats} seeds, "
        f"by Flair with {options.repeats - found['flair']['reached'].count(None)}",
    )
