"""The loss over a large vocabulary: time and peak memory of ours, some rows at a time, beside torch's cross-entropy.

    python benchmarks/large_vocabulary.py

33,278 words (WikiText-2), windows of 70 steps of 20 lanes, 400 features, float32, one thread. Time: forward and backward,
medians of turns in random order. Memory: what a process of its own takes at most beyond what it had before the loss.
"""

import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from unroll.cross_entropy import linear_cross_entropy

ROWS, FEATURES, WORDS, TURNS = 1400, 400, 33_278, 9

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "torch": lambda x, weight, bias, target: F.cross_entropy(F.linear(x, weight, bias), target),
    "ours": linear_cross_entropy,
}


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs of a network, the output layer's weight and bias, and the words that come next."""
    torch.manual_seed(1)
    x = torch.randn(ROWS, FEATURES, requires_grad=True)
    weight = torch.nn.Parameter(torch.empty(WORDS, FEATURES).normal_(std=FEATURES**-0.5))
    bias = torch.nn.Parameter(torch.zeros(WORDS))
    return x, weight, bias, torch.randint(WORDS, (ROWS,))


def once(name: str, given: tuple[Tensor, Tensor, Tensor, Tensor]) -> float:
    """Seconds of one forward and backward pass."""
    for tensor in given[:3]:
        tensor.grad = None
    start = time.perf_counter()
    LOSSES[name](*given).backward()
    return time.perf_counter() - start


def peak(name: str) -> float:
    """MiB, in this process."""
    given = inputs()
    (given[0][:1] @ given[1].t()).sum().item()  # what the library itself takes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    once(name, given)
    unit = 1024 if sys.platform == "linux" else 1024**2
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        print(peak(sys.argv[1]))
        sys.exit()
    # First: what this process has taken at most would count as theirs.
    memory = {
        name: float(subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True).stdout)
        for name in LOSSES
    }
    given = inputs()
    seconds: dict[str, list[float]] = {name: [] for name in LOSSES}
    for turn in range(TURNS + 1):
        for name in random.sample(list(LOSSES), len(LOSSES)):
            found = once(name, given)
            if turn:
                seconds[name].append(found)
    for name in LOSSES:
        print(f"{name:<6} {statistics.median(seconds[name]):.3f} s   {memory[name]:,.0f} MiB")
    ratio = statistics.median(one / two for one, two in zip(seconds["ours"], seconds["torch"], strict=True))
    print(f"ours / torch: time {ratio:.2f} x, memory {memory['ours'] / memory['torch']:.2f} x")
