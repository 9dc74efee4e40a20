"""Memory and time of a training step on documents of 20,000 tokens: whole, and in windows of 256 steps.

    python benchmarks/long_documents.py

Four documents, an LSTM of 128 units, AdamW, one thread. Memory is the peak of the process above what it had before the first
step, as the system accounts it (Linux).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tokens", type=int, default=20_000)
parser.add_argument("--horizon", type=int, default=256)
parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # pooling and tokens of the process that is measured
parser.add_argument("--windows", action="store_true", help=argparse.SUPPRESS)
options = parser.parse_args()


def resident(key: str) -> float:
    """MiB, by /proc."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) / 1024


def measure(pooling: str, tokens: int) -> None:
    """In a process of its own: print MiB and seconds a step."""
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from unroll.composing import CONF
    from unroll.machine import free_speed
    from unroll.models.seq_to_vec import SeqToVec

    with initialize_config_dir(str(CONF), version_base="1.3"):
        stack = instantiate(compose("train", ["model.hidden_size=128"]).model)
    torch.set_num_threads(1)
    free_speed()
    horizon = options.horizon if options.windows else None
    model = SeqToVec(1000, 2, stack, 128, pooling=pooling, horizon=horizon)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    text = torch.randint(2, 1000, (tokens, 4))
    before = resident("VmRSS")
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(text), torch.tensor([0, 1, 0, 1])).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    print(f"{resident('VmHWM') - before:,.0f} MiB, {min(seconds):.2f} s a step")


if options.one:
    measure(options.one[0], int(options.one[1]))
else:
    for pooling in ("last", "attention"):
        for tokens, flags in ((options.tokens, []), (options.tokens, ["--windows"]), (options.horizon, [])):
            command = [sys.executable, __file__, "--one", pooling, str(tokens), f"--horizon={options.horizon}", *flags]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            how = f"windows of {options.horizon}" if flags else "whole"
            print(f"{pooling:<7} {tokens:>6,} tokens, {how:<15} {said}", flush=True)
