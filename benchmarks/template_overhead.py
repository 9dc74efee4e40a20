"""What ashleve/lightning-hydra-template and our train.py cost over a bare PyTorch loop: a step, the start, memory.

    git clone https://github.com/ashleve/lightning-hydra-template TEMPLATE
    pip install rootutils hydra-colorlog hydra-optuna-sweeper      # beside torch and lightning
    python benchmarks/template_overhead.py TEMPLATE [--peer-python PYTHON]

The same model everywhere (embedding and nn.LSTM of 128, dropout, one linear layer), the same lanes of the same text, fused
AdamW, clipping by norm, float32, one thread; no validation. The template is run by its src/train.py, with its default
callbacks and its CSV logger, a LightningModule and a LightningDataModule written for it as its own example is: the state
is carried, detached, from one training_step to the next. It logs its loss alone; its example also logs an accuracy.

Both are run as they come; on a terminal, where a progress bar is drawn; and alike in what is not the loop: the C library's
memory settings for both, torch's own products and no W&B for ours. All take turns in random order, a process each. The same
callback of Lightning looks at the clock in both; of the steps the first 100 are left out. Memory is the peak of that process.
On a machine that others use too, --clock processor counts what the process itself computes; what it waits for, and what W&B's
own process does, is then not in it.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SKIPPED = 100
HIDDEN, BATCH, LENGTH = 128, 64, 64
NEEDED = "hydra, hydra_plugins.hydra_colorlog, lightning, rich, rootutils, torchmetrics"
# What `unroll.machine.keep_freed_memory` asks for, as glibc reads it for any program.
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(64 * 2**20)}

CLOCK = '''
import json
import time
from pathlib import Path

from lightning import Callback


class Clock(Callback):
    """Writes down when each training step began: the time of the day, and what the process has computed until then."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.times = []

    def on_train_batch_start(self, *arguments) -> None:
        self.times.append((time.time(), time.process_time()))

    def on_train_end(self, *arguments) -> None:
        Path(self.path).write_text(json.dumps(self.times))
'''

# What a user of the template writes: a module, its data, and a config for each.
MODULE = '''
import numpy as np
import torch
from lightning import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanMetric


class CharLSTM(nn.Module):
    def __init__(self, vocabulary, embedding_size, hidden_size, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        self.lstm = nn.LSTM(embedding_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, vocabulary)

    def forward(self, tokens, state):
        h, state = self.lstm(self.embedding(tokens), state)
        return self.output(self.dropout(h)), state


class CharLitModule(LightningModule):
    def __init__(self, net, optimizer):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net = net
        self.criterion = nn.CrossEntropyLoss()
        self.train_loss = MeanMetric()
        self.state = None

    def on_train_epoch_start(self):
        self.state = None

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        logits, state = self.net(inputs, self.state)
        self.state = tuple(part.detach() for part in state)
        loss = self.criterion(logits.flatten(0, 1), targets.flatten())
        self.train_loss(loss)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return {"optimizer": self.hparams.optimizer(params=self.trainer.model.parameters())}


class Windows(Dataset):
    """The next piece of every lane."""

    def __init__(self, tokens, lanes, length):
        self.lane, self.length = (len(tokens) - 1) // lanes, length
        used = lanes * self.lane
        self.inputs = tokens[:used].view(lanes, self.lane).T
        self.targets = tokens[1 : used + 1].view(lanes, self.lane).T

    def __len__(self):
        return -(-self.lane // self.length)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        window = slice(index * self.length, (index + 1) * self.length)
        return self.inputs[window].contiguous(), self.targets[window].contiguous()


class LanesDataModule(LightningDataModule):
    def __init__(self, path, batch_size, length):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.data_train = None

    def setup(self, stage=None):
        if not self.data_train:
            tokens = torch.from_numpy(np.load(self.hparams.path).astype(np.int64))
            self.data_train = Windows(tokens, self.hparams.batch_size, self.hparams.length)

    def train_dataloader(self):
        return DataLoader(self.data_train, batch_size=None, shuffle=False, num_workers=0)
'''
MODEL = f"""
_target_: peer_module.CharLitModule
optimizer:
  _target_: torch.optim.AdamW
  _partial_: true
  lr: 0.004
  betas: [0.9, 0.99]
  weight_decay: 0.01
  fused: true
net:
  _target_: peer_module.CharLSTM
  vocabulary: ???
  embedding_size: 128
  hidden_size: {HIDDEN}
  dropout: 0.2
"""
DATA = f"""
_target_: peer_module.LanesDataModule
path: ???
batch_size: {BATCH}
length: {LENGTH}
"""


class Turn(NamedTuple):
    """One run: seconds a step, seconds from the command to the first step, MiB at the peak."""

    step: float
    start: float
    memory: float


class Process(NamedTuple):
    """What a process printed, when it began, the seconds that it took or computed, the MiB of its peak."""

    printed: str
    began: float
    seconds: float
    memory: float


def ran(command: list[str], environment: dict[str, str], terminal: bool = False) -> Process:
    """Run a command to its end.

    A terminal is a pseudo-terminal of 40 lines and 120 columns; what is drawn there is read and dropped.
    """
    reading, writing = os.openpty() if terminal else os.pipe()
    if terminal:
        termios.tcsetwinsize(writing, (40, 120))
    printed: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(reading, 1 << 16):
                printed.append(piece)
        except OSError:  # how a pseudo-terminal tells that nobody holds its other end any more
            pass

    began = time.time()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing
    )
    os.close(writing)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    # Not `wait`: the peak of one child is wanted, and the usual call for it knows only that of all children.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = usage.ru_utime + usage.ru_stime if options.clock == "processor" else time.time() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join(10)
    os.close(reading)
    text = b"".join(printed).decode(errors="replace")
    if process.returncode:
        sys.exit(f"{' '.join(command)}\nended with {process.returncode}:\n{text[-3000:]}")
    return Process(text, began, seconds, usage.ru_maxrss / 1024)


def clocked(command: list[str], environment: dict[str, str], terminal: bool, folder: Path) -> Turn:
    """A run of Lightning, with the clock among its callbacks."""
    times = folder / "times.json"
    times.unlink(missing_ok=True)
    clock = ["+callbacks.clock._target_=peer_clock.Clock", f"+callbacks.clock.path={times}"]
    process = ran([*command, *clock], environment, terminal)
    walls, computed = zip(*json.loads(times.read_text()), strict=True)
    at = computed if options.clock == "processor" else [wall - process.began for wall in walls]
    return Turn((at[-1] - at[SKIPPED]) / (len(at) - 1 - SKIPPED), at[0], process.memory)


def ours(folder: Path, run: str, terminal: bool = False, alike: bool = False, steps: int | None = None) -> Turn:
    """train.py, as overhead.py runs it."""
    command = [
        sys.executable,
        "train.py",
        f"hydra.run.dir={folder / run}",
        f"data.cache_dir={folder / 'cache'}",
        f"model.hidden_size={HIDDEN}",
        f"data.batch_size={BATCH}",
        f"truncation.length={LENGTH}",
        f"trainer.max_steps={steps or options.steps}",
        "trainer.accelerator=cpu",
        "trainer.limit_val_batches=0",
        "test=false",
        *(["free_speed=false", "logger=csv"] if alike else []),
    ]
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = {**variables, "PYTHONPATH": paths, **(MEMORY if alike else {})}
    return clocked(command, environment, terminal, folder)


def template(folder: Path, run: str, terminal: bool = False, alike: bool = False) -> Turn:
    """The template's src/train.py. It has nothing to validate: its callbacks watch the loss of training."""
    command = [
        options.peer_python,
        str(options.template / "src" / "train.py"),
        "--config-dir",
        str(folder / "configs"),
        f"hydra.run.dir={folder / run}",
        "model=char_lstm",
        f"model.net.vocabulary={vocabulary(folder)}",
        "data=lanes",
        f"data.path={store(folder) / 'train.npy'}",
        "logger=csv",
        "callbacks.model_checkpoint.monitor=train/loss",
        "callbacks.model_checkpoint.mode=min",
        "callbacks.early_stopping.monitor=train/loss",
        "callbacks.early_stopping.mode=min",
        f"+trainer.max_steps={options.steps}",
        "trainer.max_epochs=-1",
        "+trainer.gradient_clip_val=1.0",
        "seed=1",
        "test=false",
    ]
    environment = {**variables, "PYTHONPATH": str(folder), **(MEMORY if alike else {})}
    return clocked(command, environment, terminal, folder)


def bare(folder: Path, run: str) -> Turn:
    """bare_loop.py, which keeps freed memory as train.py does. Its end is in what it takes beside its steps."""
    arguments = [f"--vocabulary={vocabulary(folder)}", f"--steps={options.steps}", f"--hidden={HIDDEN}"]
    if options.clock == "processor":
        arguments.append("--clock=process_time")
    process = ran([sys.executable, "benchmarks/bare_loop.py", str(store(folder) / "train.npy"), *arguments], variables)
    steps = json.loads(process.printed.splitlines()[-1])
    return Turn(statistics.mean(steps[SKIPPED:]), process.seconds - sum(steps), process.memory)


def store(folder: Path) -> Path:
    """Of the encoded text."""
    (found,) = (folder / "cache").iterdir()
    return found


def vocabulary(folder: Path) -> int:
    """How many characters there are, the unknown one among them."""
    return len(json.loads((store(folder) / "vocabulary.json").read_text())["symbols"]) + 1


def told(values: list[float], form: str) -> str:
    """Median and range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


SIDES = {
    "bare loop": bare,
    "`train.py`": ours,
    "template": template,
    "`train.py`, on a terminal": lambda folder, run: ours(folder, run, terminal=True),
    "template, on a terminal": lambda folder, run: template(folder, run, terminal=True),
    "`train.py`, alike": lambda folder, run: ours(folder, run, alike=True),
    "template, alike": lambda folder, run: template(folder, run, alike=True),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("template", type=Path, help="a clone of ashleve/lightning-hydra-template")
    parser.add_argument("--peer-python", default=sys.executable, help="a python that has what the template needs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0, help="of the order of turns")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="what seconds are")
    options = parser.parse_args()
    options.template = options.template.absolute()
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "TERM": "xterm-256color"}
    trial = subprocess.run([options.peer_python, "-c", f"import {NEEDED}"], capture_output=True, text=True)
    if trial.returncode:
        print(f"skipped: the template cannot run there: {trial.stderr.strip().splitlines()[-1]}")
        sys.exit()
    commit = ["git", "-C", str(options.template), "rev-parse", "--short=7", "HEAD"]
    version = subprocess.run(commit, capture_output=True, text=True).stdout.strip() or "unknown"
    turns: dict[str, list[Turn]] = {side: [] for side in SIDES}
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "peer_clock.py").write_text(CLOCK)
        (folder / "peer_module.py").write_text(MODULE)
        for group, option, text in (("model", "char_lstm", MODEL), ("data", "lanes", DATA)):
            (folder / "configs" / group).mkdir(parents=True)
            (folder / "configs" / group / f"{option}.yaml").write_text(text)
        ours(folder, "warm", steps=SKIPPED + 2)  # the text is encoded, and modules are compiled
        for repeat in range(options.repeats):
            for number, side in enumerate(draw.sample(list(SIDES), len(SIDES))):
                turns[side].append(SIDES[side](folder, f"run{repeat}_{number}"))
                print(f"{side}: {turns[side][-1]}", flush=True)
    rows = []
    for side, found in turns.items():
        over = [turn.step / reference.step for turn, reference in zip(found, turns["bare loop"], strict=True)]
        rows.append(
            [
                side,
                f"{told([turn.step * 1e3 for turn in found], '.2f')} ms",
                "1" if side == "bare loop" else f"{told(over, '.2f')} x",
                f"{told([turn.start for turn in found], '.1f')} s",
                f"{statistics.median(turn.memory for turn in found):,.0f} MiB",
            ]
        )
    # Imported with torch here: before this, a child's peak would begin with what this process holds.
    from tables import write_peer, write_table

    write_peer(
        "lightning-hydra-template",
        f"steps a second of the same LSTM of {HIDDEN}, B = {BATCH}, T = {LENGTH}, both as they come, one thread",
        [theirs.step / ours.step for theirs, ours in zip(turns["template"], turns["`train.py`"], strict=True)],
    )
    write_table(
        "benchmarks/README.md",
        "template_overhead",
        ["side", "a step", "against the bare loop", "until the first step", "peak memory"],
        rows,
        f"; float32, one thread, H = {HIDDEN}, B = {BATCH}, T = {LENGTH}; template at {version}; "
        f"{options.clock} time; medians of {options.repeats} turns, with ranges",
    )
