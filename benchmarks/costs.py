"""What a training step costs as the work grows: time and memory of forward and backward pass, beside the theory's line.

    python benchmarks/costs.py

An LSTM of one layer on tokens, one thread, float32: by length of sequence (whole, recomputed, in windows), truncation, hidden
size, batch and vocabulary; and train.py as a whole by the size of its text. Each point is a process of its own, of which the
largest resident set above that at its start is taken (Linux); medians over repeats in which all points take turns. Draws
docs/images/costs.png and writes the table of docs/costs.md.
"""

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

if os.environ.get("OMP_NUM_THREADS") != "1":  # before torch is loaded
    os.environ["OMP_NUM_THREADS"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.argv])

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.ticker import NullFormatter
from peak_memory import peak, run_measured
from tables import ROOT, write_table

from unroll.cells.lstm import LSTM
from unroll.cross_entropy import linear_cross_entropy
from unroll.machine import free_speed
from unroll.recurrent import Recurrent
from unroll.state import detach

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 10, 100])
options = parser.parse_args()
H, B, K, V = 128, 16, 64, 100  # units, sequences side by side, steps of a window, vocabulary
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
WINDOWS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
SIZES = (32, 64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
VOCABULARIES = (100, 1_000, 10_000, 50_000, 100_000)


Step = Callable[[], None]


def sequence(
    length: int, window: int, size: int = H, batch: int = B, recompute: Literal["auto"] | None = None
) -> tuple[int, Step]:
    """How many tokens, and a forward and backward pass through a sequence of them, in windows."""
    recurrent, head = Recurrent(size, size, LSTM, recompute=recompute), torch.nn.Linear(size, V)
    embedding = torch.nn.Embedding(V, size)
    tokens = torch.randint(V, (length + 1, batch))

    def step() -> None:
        state = None
        for start in range(0, length, window):
            part = tokens[start : start + window + 1]
            y, state = recurrent(embedding(part[:-1]), state)
            linear_cross_entropy(y.flatten(0, 1), head.weight, head.bias, part[1:].flatten()).backward()
            state = detach(state)

    return length * batch, step


def vocabulary(classes: int, plain: bool) -> tuple[int, Step]:
    """How many rows, and a loss over many classes of each, with its gradients."""
    x = torch.randn(K * B, H, requires_grad=True)
    weight, bias = torch.randn(classes, H, requires_grad=True), torch.zeros(classes, requires_grad=True)
    target = torch.randint(classes, (K * B,))

    def step() -> None:
        if plain:
            F.cross_entropy(F.linear(x, weight, bias), target).backward()
        else:
            linear_cross_entropy(x, weight, bias, target).backward()

    return K * B, step


def alone(work: Callable[..., tuple[int, Step]], settings: dict[str, Any]) -> tuple[float, float]:
    """Microseconds a token of the fastest of some steps, and MiB above what was there, in a process of its own."""

    def measure() -> None:
        free_speed()
        tokens, step = work(**settings)
        Path("/proc/self/clear_refs").write_text("5")  # the largest resident set is counted anew
        before = peak()
        step()
        times = []
        while len(times) < 3 or (sum(times) < 0.2 and len(times) < 100):
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
        sender.send((min(times) / tokens * 1e6, peak() - before))

    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=measure)
    process.start()
    sender.close()
    found: tuple[float, float] = receiver.recv()
    process.join()
    return found


Point = tuple[str, int]


def points() -> dict[Point, tuple[Callable[..., tuple[int, Step]], dict[str, Any]]]:
    """What is measured: a curve's name and the size of the work, and the work."""
    found: dict[Point, tuple[Callable[..., tuple[int, Step]], dict[str, Any]]] = {}
    for length in LENGTHS:
        found["whole", length] = sequence, {"length": length, "window": length}
        found["recomputed", length] = sequence, {"length": length, "window": length, "recompute": "auto"}
        found["windows of 64", length] = sequence, {"length": length, "window": K}
    for window in WINDOWS:
        found["truncation", window] = sequence, {"length": 2048, "window": window}
    for size in SIZES:
        found["hidden size", size] = sequence, {"length": K * 2, "window": K, "size": size}
    for batch in BATCHES:
        found["batch", batch] = sequence, {"length": K * 2, "window": K, "batch": batch}
    for classes in VOCABULARIES:
        found["in chunks", classes] = vocabulary, {"classes": classes, "plain": False}
        found["plain", classes] = vocabulary, {"classes": classes, "plain": True}
    return found


def product_rate(size: int) -> float:
    """FLOP a second of the largest matrix product of a window: (K B, size) by (size, 4 size)."""
    x, w, out = torch.randn(K * B, size), torch.randn(size, 4 * size), torch.empty(K * B, 4 * size)
    times = []
    while len(times) < 20:
        began = time.perf_counter()
        torch.mm(x, w, out=out)
        times.append(time.perf_counter() - began)
    return 2 * x.numel() * 4 * size / min(times)


def share_of_the_limit(size: int, microseconds: float) -> float:
    """What a token's products would take at that rate, over what it takes: 8 H^2 multiplications and additions forward (W and
    U) and V H for the classes, and twice that backward."""
    flops = 3 * 2 * (8 * size**2 + V * size)
    return flops / product_rate(size) / (microseconds * 1e-6)


def corpus(megabytes: int) -> tuple[float, float]:
    """Seconds and MiB of a train.py that encodes a text and takes 100 steps."""
    chance = random.Random(1)
    words = [f"{a}{b}" for a in "bcdfghjklmnprstvw" for b in ("a", "e", "in", "or", "um", "ight")]
    with tempfile.TemporaryDirectory() as name:
        with open(f"{name}/text.txt", "w") as file:
            for _ in range(megabytes):
                file.write(" ".join(chance.choices(words, k=400_000))[:1_000_000])
        brief = ["trainer.max_steps=100", "trainer.limit_val_batches=0", "test=false", "logger=none"]
        places = [f"data.path={name}/text.txt", f"data.cache_dir={name}/cache", f"hydra.run.dir={name}/run"]
        began = time.perf_counter()
        _, most = run_measured([sys.executable, "train.py", "data=text_files", *brief, *places], cwd=ROOT)
        return time.perf_counter() - began, most


def main() -> None:
    """Measure, draw, write."""
    free_speed()
    work = points()
    found: dict[Point, list[tuple[float, float]]] = {point: [] for point in work}
    for repeat in range(options.repeats):
        order = list(work)
        random.Random(repeat).shuffle(order)
        for point in order:
            found[point].append(alone(*work[point]))
        print(f"repeat {repeat + 1} of {options.repeats}", flush=True)
    cost = {
        point: tuple(statistics.median(column) for column in zip(*values, strict=True))
        for point, values in found.items()
    }
    shares = {size: share_of_the_limit(size, cost["hidden size", size][0]) for size in SIZES}
    texts = {megabytes: corpus(megabytes) for megabytes in options.megabytes}
    draw(cost, shares, texts)
    rows = []
    for name, sizes, theory in (
        ("whole", LENGTHS, "a token's time constant, memory with T"),
        ("recomputed", LENGTHS, "memory with the root of T, a second forward pass"),
        ("windows of 64", LENGTHS, "memory constant"),
        ("truncation", WINDOWS, "time constant, memory with k"),
        ("hidden size", SIZES, "time with H^2"),
        ("batch", BATCHES, "a token's time constant once products are large"),
        ("in chunks", VOCABULARIES, "time with V, memory of the weights"),
        ("plain", VOCABULARIES, "memory with V times the tokens of a window"),
    ):
        (first_time, first_memory), (last_time, last_memory) = cost[name, sizes[0]], cost[name, sizes[-1]]
        grown = f"{sizes[0]:,} to {sizes[-1]:,}"
        rows.append(
            [name, grown, f"{first_time:.1f}; {last_time:.1f}", f"{first_memory:.0f}; {last_memory:.0f}", theory]
        )
    first, last = options.megabytes[0], options.megabytes[-1]
    rows.append(
        [
            "text (train.py, 100 steps)",
            f"{first} to {last} MB",
            f"{texts[first][0]:.0f}; {texts[last][0]:.0f} s in all",
            f"{texts[first][1]:.0f}; {texts[last][1]:.0f} in all",
            "encoding with the text, memory constant",
        ]
    )
    header = ["what grows", "from, to", "microseconds a token", "MiB", "theory"]
    least, most = min(shares.values()), max(shares.values())
    said = f"one thread, medians of {options.repeats} processes"
    reached = f"share of the matrix products' rate: {least:.0%} at H = {SIZES[0]}, {most:.0%} at best"
    write_table("docs/costs.md", "costs", header, rows, f", {said}; {reached}")


def draw(cost: dict[Point, tuple[float, ...]], shares: dict[int, float], texts: dict[int, tuple[float, float]]) -> None:
    """Time above, memory below; theory in grey; beside the hidden sizes the share of the products' rate."""
    panels = (
        ("steps of the sequence", ("whole", "recomputed", "windows of 64"), LENGTHS, 0, 1),
        ("truncation", ("truncation",), WINDOWS, 0, 1),
        ("hidden size", ("hidden size",), SIZES, 2, 2),
        ("batch", ("batch",), BATCHES, 0, 1),
        ("vocabulary", ("in chunks", "plain"), VOCABULARIES, 1, 1),
    )
    figure, axes = plt.subplots(2, 6, figsize=(17, 6), layout="constrained")
    for column, (label, names, sizes, *powers) in enumerate(panels):
        for row, power in enumerate(powers):
            ax = axes[row, column]
            for name in names:
                ax.plot(sizes, [cost[name, size][row] for size in sizes], marker="o", markersize=4, label=name)
            anchor = cost[names[0], sizes[-1]][row]
            theory = [anchor * (size / sizes[-1]) ** power for size in sizes]
            ax.plot(
                sizes, theory, color="grey", linestyle=":", label=f"as {('constant', 'its size', 'its square')[power]}"
            )
            ax.set(xscale="log", yscale="log" if power else "linear", xlabel=label)
            shown = (sizes[0], sizes[len(sizes) // 2], sizes[-1])
            ax.set_xticks(shown, [f"{size:,}" for size in shown])
            if power:
                ax.legend(fontsize=7, loc="upper left")
            else:
                ax.set_ylim(0, 1.4 * ax.get_ylim()[1])  # room for the legend above the curves
                ax.legend(fontsize=7, loc="upper right")
    axes[0, 0].set_ylabel("microseconds a token")
    axes[1, 0].set_ylabel("MiB")
    for size, share in shares.items():
        at = (size, cost["hidden size", size][0])
        axes[0, 2].annotate(f"{share:.0%}", at, (6, -8), textcoords="offset points", fontsize=7)
    for row, ylabel in enumerate(("seconds", "MiB")):
        ax = axes[row, 5]
        ax.plot(list(texts), [found[row] for found in texts.values()], marker="o", markersize=4)
        ax.set(xscale="log", xlabel="MB of text (train.py)", ylabel=ylabel)
        ax.set_ylim(0, 1.4 * ax.get_ylim()[1])
        ax.set_xticks(list(texts), [f"{megabytes:,}" for megabytes in texts])
    for ax in axes.flat:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs/images/costs.png", dpi=110)


if __name__ == "__main__":
    main()
