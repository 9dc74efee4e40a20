"""Settings of the process that cost nothing."""

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import torch

# From malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def free_speed() -> str:
    """Take the settings of this process that make it faster and change no result: memory, matrix products, tiny numbers.

    Numbers below 1e-38 become zero: a processor is many times slower with them, and a gradient that vanishes over some
    thousand steps consists of little else.

    Returns:
        What was taken, in words.
    """
    memory = "freed memory is kept" if keep_freed_memory() else "freed memory is given back"
    torch.set_flush_denormal(True)  # of this thread, and of those that it starts from here on
    gain = take_faster_products()
    products = "torch's own float32 products" if gain is None else f"float32 products by oneDNN ({gain:.1f}x as fast)"
    return f"{memory}, {products}"


_AS_EXACT = 8
"""Sums in another order err by two or three times as much, bfloat16 by thousands."""


def take_faster_products() -> float | None:
    """Let oneDNN do float32 products where a trial finds it faster and as exact.

    torch's switch for that, precision "medium", *allows* bfloat16: on some processors (AMD's with AVX-512) it means
    oneDNN's float32 kernels, on those with AMX it means bfloat16, with errors of 2e-3. Only a trial can tell.

    Returns:
        How many times as fast they are; None where torch's own stay.
    """
    if torch.cuda.is_available():  # there the same switch means TF32
        return None
    default = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    x, W = torch.randn(256, 512, generator=generator), torch.randn(1024, 512, generator=generator)
    exact = x.double() @ W.double().t()
    seconds, errors = {}, {}
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        errors[precision] = (x @ W.t() - exact).abs().max().item()
        trials = []
        for _ in range(5):
            began = time.perf_counter()
            x @ W.t()
            trials.append(time.perf_counter() - began)
        seconds[precision] = min(trials)
    if (
        default == "highest"
        and errors["medium"] <= _AS_EXACT * errors["highest"]
        and seconds["medium"] < 0.9 * seconds["highest"]
    ):
        return seconds["highest"] / seconds["medium"]
    torch.set_float32_matmul_precision(default)
    return None


def keep_freed_memory() -> bool:
    """Let the C library keep memory that was freed instead of returning it to the system.

    A training step frees and takes the same large blocks again; by default each is mapped anew, and its pages are faulted
    in one by one. That was seen to cost an LSTM up to a third of its time. Peak memory stays what it was.

    Returns:
        Whether this system's C library took it (glibc does).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    taken = [mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, 2**31 - 1), mallopt(_M_TOP_PAD, 64 * 2**20)]
    return all(taken)


def git_commit() -> str | None:
    """The commit of the source tree that this package is run from, with + if files differ; None outside of one."""
    try:
        answers = [
            subprocess.run(
                ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for arguments in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return answers[0] + ("+" if answers[1] else "")
