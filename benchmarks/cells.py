"""Every cell beside torch's layers: time and memory of a training step, forward and backward.

    python benchmarks/cells.py

One thread, B = 64, T = 128, H = inputs = 256 and 512, float32. All take turns in each repeat, under the shipped settings;
what is compared is the median over repeats. The table of cells is written into the README. `user_lstm` is an LSTM written
as a user would: gates and update, no derivative. Kept bytes are what autograd holds between forward and backward, weights
and input left out. Then minimal GRUs on longer sequences; nn.LSTM against the best product of its shapes; the shipped
settings against torch's own; and full backpropagation through 16,384 steps with and without recomputing.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

if os.environ.get("OMP_NUM_THREADS") != "1":  # before torch is loaded
    os.environ["OMP_NUM_THREADS"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.argv])

import hydra.utils
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from peak_memory import peak
from tables import write_table
from torch import Tensor, nn

from unroll.cells.unitwise import UnitwiseCell
from unroll.composing import CONF, groups
from unroll.machine import free_speed
from unroll.recurrent import Recurrent

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--repeats", type=int, default=7)
parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
parser.add_argument("--parts", nargs="+", default=["cells", "long", "rate", "settings", "memory"])
parser.add_argument("--torch-defaults", action="store_true", help=argparse.SUPPRESS)
parser.add_argument("--full-bptt", help=argparse.SUPPRESS)
options = parser.parse_args()
B, T = 64, 128
LAYERS = {"nn.LSTM": nn.LSTM, "nn.GRU": nn.GRU, "nn.RNN": nn.RNN}
Step = Callable[[], Tensor]


class UserLSTM(UnitwiseCell):
    """As a user would write it: `update`, and no derivative."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, gates=("sigmoid", "sigmoid", "tanh", "sigmoid"))

    def initial_state(self, batch_size: int, like: Tensor) -> tuple[Tensor, Tensor]:
        zeros = like.new_zeros(batch_size, self.hidden_size)
        return zeros, zeros

    def update(self, gates: tuple[Tensor, ...], state: tuple[Tensor, Tensor], *_: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = gates
        c = f * state[1] + i * g
        return o * torch.tanh(c), c


def built(model: str, size: int, *overrides: str) -> Recurrent:
    """The stack that a config makes."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"model={model}", f"model.hidden_size={size}", *overrides])
    node = OmegaConf.to_container(config.model, resolve=True)
    return hydra.utils.instantiate(node, _convert_="all")(input_size=size)


def medians(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Seconds of a forward and backward pass, each the median over repeats in which all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps.items())
    for repeat in range(repeats + 1):
        random.shuffle(order)  # what ran before leaves its traces in the caches
        for name, step in order:
            began = time.perf_counter()
            y = step()
            y.backward(torch.ones_like(y))
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """What autograd keeps for the backward pass."""
    not_counted = {tensor.untyped_storage().data_ptr() for tensor in [x, *module.parameters()]}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in not_counted:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = module(x)[0]
        kept = sum(storages.values())
    del y
    return kept


def runner(module: nn.Module, x: Tensor) -> Step:
    """A forward pass."""
    return lambda: module(x)[0]


def all_cells(sizes: list[int]) -> None:
    """The README's table of every cell."""
    rows: dict[str, list[str]] = {}
    kept: dict[str, str] = {}
    for size in sizes:
        for name, (path, ratio, share) in measured_cells(size).items():
            rows.setdefault(name, [f"`{name}`" if name in groups()["model"] else name, path]).append(f"{ratio:.2f}")
            kept[name] = f"{share:.2f}"
    write_table(
        "README.md",
        "cells",
        ["cell", "path", *(f"time, H = {size}" for size in sizes), f"kept for backward, H = {sizes[-1]}"],
        [[*row, kept[name]] for name, row in sorted(rows.items(), key=lambda item: float(item[1][-1]))],
        f"; one thread, float32, B = {B}, T = {T}; medians of {options.repeats}, taking turns in random order",
    )


def measured_cells(size: int) -> dict[str, tuple[str, float, float]]:
    """Of every cell at one size: its path, its time and what it keeps, against nn.LSTM's."""
    x = torch.randn(T, B, size, requires_grad=True)
    modules: dict[str, nn.Module] = {name: layer(size, size) for name, layer in LAYERS.items()}
    modules |= {model: built(model, size) for model in groups()["model"]}
    modules["user_lstm"] = Recurrent(size, size, UserLSTM)
    modules["lstm by its analytic path"] = built("lstm", size, "model.backend=analytic")
    seconds = medians({name: runner(module, x) for name, module in modules.items()}, options.repeats)
    lstm_bytes = saved_bytes(modules["nn.LSTM"], x)
    print(f"H = {size}: nn.LSTM {seconds['nn.LSTM'] * 1e3:.0f} ms, keeps {lstm_bytes / 2**20:.0f} MiB", flush=True)
    return {
        name: (
            module.path(x) if isinstance(module, Recurrent) else "torch",
            seconds[name] / seconds["nn.LSTM"],
            saved_bytes(module, x) / lstm_bytes,
        )
        for name, module in modules.items()
    }


def long_sequences(size: int) -> None:
    """The minimal GRU a token, as sequences become longer."""
    print(f"\nmin_gru, H = {size}\n\n| T | / nn.LSTM | / nn.GRU |\n|---|---|---|")
    modules = {"min_gru": built("min_gru", size), "nn.LSTM": nn.LSTM(size, size), "nn.GRU": nn.GRU(size, size)}
    for steps in (128, 1024, 4096):
        x = torch.randn(steps, B, size, requires_grad=True)
        repeats = options.repeats if steps < 4096 else 3
        seconds = medians({name: runner(module, x) for name, module in modules.items()}, repeats)
        ratios = [seconds["min_gru"] / seconds[peer] for peer in ("nn.LSTM", "nn.GRU")]
        print(f"| {steps} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def rate(size: int) -> None:
    """nn.LSTM's share of what the products alone would take at the best rate of its shapes."""
    x, W, h = torch.randn(T * B, size), torch.randn(4 * size, size), torch.randn(B, size)
    best = 0.0
    for left in (x, h):
        trials = []
        for _ in range(20 if left is x else 200):
            began = time.perf_counter()
            left @ W.t()
            trials.append(time.perf_counter() - began)
        best = max(best, 2 * len(left) * W.numel() / statistics.median(trials))
    work = 2 * T * B * W.numel() * 2 * 3  # input and recurrent products, forward, and twice that backward
    sequence = torch.randn(T, B, size, requires_grad=True)
    seconds = medians({"lstm": runner(nn.LSTM(size, size), sequence)}, options.repeats)["lstm"]
    print(
        f"H = {size}: nn.LSTM {work / seconds / 1e9:.0f} GFLOP/s, {work / seconds / best:.0%} of the "
        f"{best / 1e9:.0f} of the best product of its shapes"
    )


def settings() -> None:
    """nn's layers under the shipped settings and under torch's own, a process each, taking turns."""
    rows: dict[str, list[dict[str, float]]] = {"": [], "--torch-defaults": []}
    for _ in range(3):
        for flag, found in rows.items():
            command = [
                sys.executable,
                __file__,
                "--torch-defaults" if flag else "--parts",
                *([] if flag else ["layers"]),
            ]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found.append({name: float(value) for name, value in (line.split() for line in answer.splitlines())})
    for name in rows[""][0]:
        ratios = [theirs[name] / ours[name] for ours, theirs in zip(rows[""], rows["--torch-defaults"], strict=True)]
        print(f"{name}: {statistics.median(ratios):.2f} x as fast under the shipped settings")


def layers() -> None:
    """Seconds of each of nn's layers."""
    for size in options.sizes:
        x = torch.randn(T, B, size, requires_grad=True)
        steps = {f"{name},H={size}": runner(layer(size, size), x) for name, layer in LAYERS.items()}
        for name, value in medians(steps, options.repeats).items():
            print(name, value)


def full_bptt(kind: str) -> None:
    """Time and memory of one step over 16,384 steps, in a process of its own."""
    overrides = {"loop": ["model.backend=loop"], "recompute": ["model.backend=loop", "model.recompute=auto"]}
    overrides["analytic"] = ["model.recompute=auto", "model.backend=analytic"]
    module, x = built("lstm", 64, *overrides[kind]), torch.randn(16384, 8, 64)
    free_speed()
    module(x[:256])[0].sum().backward()
    base = peak()
    began = time.perf_counter()
    module(x)[0].sum().backward()
    seconds = time.perf_counter() - began
    print(peak() - base, seconds)


def memory() -> None:
    """Full backpropagation through time with and without recomputing."""
    found = {}
    for kind in ("loop", "recompute", "analytic"):
        runs = [
            subprocess.run([sys.executable, __file__, "--full-bptt", kind], capture_output=True, text=True, check=True)
            for _ in range(3)
        ]
        pairs = [tuple(map(float, run.stdout.split())) for run in runs]
        found[kind] = [statistics.median(column) for column in zip(*pairs, strict=True)]
        share = [value / reference for value, reference in zip(found[kind], found["loop"], strict=True)]
        print(
            f"lstm, T = 16,384, {kind}: {found[kind][0]:.0f} MiB ({share[0]:.2f}), {found[kind][1]:.1f} s ({share[1]:.2f})"
        )


torch.set_num_threads(1)
torch.manual_seed(0)
if options.torch_defaults:
    layers()
elif options.full_bptt:
    full_bptt(options.full_bptt)
else:
    _, told = free_speed()
    if options.parts != ["layers"]:
        print(f"torch {torch.__version__}; settings: {told}")
    if "cells" in options.parts:
        all_cells(options.sizes)
    for part, function in (("long", long_sequences), ("rate", rate)):
        for size in options.sizes if part in options.parts else []:
            function(size)
    for part, once in (("layers", layers), ("settings", settings), ("memory", memory)):
        if part in options.parts:
            once()
