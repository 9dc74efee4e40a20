"""Speed of training and of decoding with beam 5, against JoeyNMT's recurrent encoder-decoder.

    python benchmarks/translation_speed.py FOLDER --joeynmt-python PATH_TO/python

FOLDER holds multi30k. Both read the same tokens (8,000 joint ones of German and English), and have the same sizes:
embeddings of 512, a bidirectional GRU of 256, a GRU of 512 with additive attention and input feeding, all embeddings tied;
label smoothing 0.1, dropout 0.2, batches of about 1,000 target tokens, Adam, clipping, float32, one core. JoeyNMT's decoding
has the batch size that was its fastest of 1, 20, 50 and 200 sentences. The two take turns; target tokens are counted with
the end. Quality is the cross-entropy of validation's targets (nats a token, no smoothing), measured off both clocks:
JoeyNMT's at the end of its training, ours every 10 steps until it is as low.
"""

import argparse
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
parser.add_argument("folder", type=Path)
parser.add_argument(
    "--joeynmt-python",
    required=True,
    help="the python of an environment with joeynmt 2.3.0, importlib_metadata and this torch",
)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--seconds", type=int, default=150, help="of training, a side and repeat")
parser.add_argument("--sentences", type=int, default=500, help="of the test split that are translated")
options = parser.parse_args()

hold_to_one_core()

from hydra import compose, initialize_config_dir  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from peak_memory import run_measured  # noqa: E402
from tables import write_memory, write_peer  # noqa: E402
from until_as_good import train_until_as_good  # noqa: E402

from unroll import load  # noqa: E402
from unroll.building import build_data  # noqa: E402
from unroll.composing import CONF  # noqa: E402
from unroll.data.parallel_batches import begun  # noqa: E402
from unroll.data.parallel_text import ParallelText  # noqa: E402
from unroll.data.tokenizing import encode  # noqa: E402
from unroll.machine import free_speed  # noqa: E402
from unroll.tasks.base import Task  # noqa: E402

BEAM = 5
OVERRIDES = [
    "task=translation",
    "data=multi30k",
    f"data.path={options.folder.absolute()}",
    "data.batch_tokens=1024",
    "model=gru",
    "model.hidden_size=512",
    "task.embedding_size=512",
    "task.input_dropout=0.2",
    "task.output_dropout=0.2",
    "optimizer.lr=0.001",
]
BUDGET = [
    f"trainer.max_time=00:00:{options.seconds // 60:02}:{options.seconds % 60:02}",
    "trainer.max_epochs=-1",
    "schedule=constant",
    "schedule.warmup_steps=0",
]


def validation_loss(task: Task) -> float:
    """Nats a token of validation's targets."""
    total = count = 0.0
    for batch in task.trainer.datamodule.eval_dataloader("validation"):
        memory, first = task.model.encode(batch.source, batch.lengths)
        o, _ = task.model.decode(begun(batch.target), first, memory)
        total += task.model.cross_entropy(batch.flat(o), batch.flat(batch.target)).item() * batch.token_count
        count += batch.token_count
    return total / count


def ours(folder: Path, sources: list[str]) -> dict[str, float]:
    """By train.py, and by what predict.py calls."""
    command = [sys.executable, "train.py", *OVERRIDES, f"hydra.run.dir={folder}", "logger=none", "test=false"]
    rest = ["trainer.limit_val_batches=0", "trainer.accelerator=cpu"]
    _, most = run_measured([*command, *BUDGET, *rest], cwd=ROOT)
    summary = json.loads((folder / "summary.json").read_text())
    free_speed()
    task = load(folder, "last")
    began = time.perf_counter()
    found = task.rewrite(sources, BEAM)
    seconds = time.perf_counter() - began
    count = sum(len(best.tokens) + 1 for best, *_ in found)
    return {
        "parameters": summary["parameters"],
        "training": summary["throughput"]["value"],
        "tokens_per_batch": summary["throughput"]["value"] * summary["train_seconds"] / summary["steps"],
        "decoding": count / seconds,
        "tokens_per_sentence": count / len(found),
        "memory": most,
    }


def theirs(spec: Path) -> dict[str, float]:
    """By joeynmt_peer.py."""
    command = [options.joeynmt_python, str(ROOT / "benchmarks" / "joeynmt_peer.py"), str(spec)]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        sys.exit(answer.stderr[-2000:])
    return json.loads(answer.stdout)


def write_data(data: ParallelText, folder: Path) -> None:
    """As JoeyNMT reads it: tokens between spaces, by their numbers."""
    spec = data.spec
    for split, pairs in data.pairs.items():
        for side, texts in (("src", pairs.sources), ("trg", pairs.targets)):
            tokens = encode(spec.source_tokenizer, texts[: options.sentences] if split == "test" else texts)
            lines = (" ".join(f"t{token}" for token in tokens[row]) for row in range(len(tokens)))
            (folder / f"{split}.{side}").write_text("".join(f"{line}\n" for line in lines))
    count = spec.source_tokenizer.get_vocab_size()
    (folder / "vocabulary").write_text("".join(f"t{token}\n" for token in range(4, count)))


with tempfile.TemporaryDirectory() as temporary:
    work = Path(temporary)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("train", OVERRIDES), resolve=True)
    assert isinstance(config, dict)
    data = build_data(config)
    assert isinstance(data, ParallelText)
    write_data(data, work)
    sources = data.pairs["test"].sources[: options.sentences]
    settings = {"data": str(work), "size": 512, "dropout": 0.2, "learning_rate": 0.001, "batch_tokens": 2048}
    spec = work / "spec.json"
    spec.write_text(json.dumps({**settings, "seconds": options.seconds, "beam": BEAM, "decode_batch": 50}))
    rounds = []
    for number in range(options.repeats):
        pair = {"ours": ours(work / f"run{number}", sources), "joeynmt": theirs(spec)}
        target = pair["joeynmt"]["loss"]
        history = train_until_as_good([*OVERRIDES, *BUDGET], number + 1, work, validation_loss, every=10, target=target)
        pair["ours"] |= dict(zip(("reached", "loss"), history[-1], strict=True))
        rounds.append(pair)
        for name, found in pair.items():
            print(f"{name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in found.items()), flush=True)
    for what in ("training", "decoding"):
        write_peer(
            "JoeyNMT 2.3.0 (GRU)",
            f"target tokens a second in {what}, GRU 2 x 256 and 512 with attention, Multi30k, one core",
            [pair["ours"][what] / pair["joeynmt"][what] for pair in rounds],
            f"; {statistics.median(pair['ours'][what] for pair in rounds):,.0f} and "
            f"{statistics.median(pair['joeynmt'][what] for pair in rounds):,.0f}",
        )
    reached = [pair for pair in rounds if pair["ours"]["loss"] <= pair["joeynmt"]["loss"]]
    if reached:
        losses = [pair["joeynmt"]["loss"] for pair in rounds]
        write_peer(
            "JoeyNMT 2.3.0 (GRU)",
            f"time of training to the validation loss that it has after {options.seconds} s, the same",
            [pair["joeynmt"]["trained"] / pair["ours"]["reached"] for pair in reached],
            f"; {statistics.median(losses):.2f} nats a token; reached in {len(reached)} of {len(rounds)}",
        )
    write_memory(
        "JoeyNMT 2.3.0 (GRU)",
        "the same training",
        [(pair["ours"]["memory"], pair["joeynmt"]["memory"]) for pair in rounds],
    )
