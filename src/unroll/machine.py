"""Settings of the process that cost nothing."""

import ctypes
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unroll.writing import written_whole

# From malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


class Choices(NamedTuple):
    """What of it this process takes that a trial decides.

    Attributes:
        products: whether float32 products are oneDNN's.
        tanh: whether every tanh is NumPy's.
    """

    products: bool
    tanh: bool

    def write(self, path: Path) -> None:
        """As JSON."""
        with written_whole(path) as unfinished:
            unfinished.write_text(json.dumps(self._asdict()))

    @classmethod
    def read(cls, path: Path) -> "Choices | None":
        """What was written; None where that cannot be read."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return cls(bool(stored["products"]), bool(stored["tanh"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


def free_speed(before: Choices | None = None) -> tuple[Choices, str]:
    """Take the settings of this process that make it faster and change no result: memory, matrix products, tanh, tiny
    numbers.

    Numbers below 1e-38 become zero: a processor is many times slower with them, and a gradient that vanishes over some
    thousand steps consists of little else.

    Args:
        before: what the run took so far: a trial in another process may come out otherwise, and other products have
            other bits. None: trials decide.

    Returns:
        What was taken, and the same in words.
    """
    memory = "freed memory is kept" if keep_freed_memory() else "freed memory is given back"
    torch.set_flush_denormal(True)  # of this thread, and of those that it starts from here on
    faster = take_faster_products(before and before.products)
    products = (
        "torch's own float32 products" if faster is None else f"float32 products by oneDNN ({faster:.1f}x as fast)"
    )
    quicker = take_faster_tanh(before and before.tanh)
    tanh = "" if quicker is None else f", tanh by NumPy ({quicker:.1f}x as fast)"
    return Choices(faster is not None, quicker is not None), f"{memory}, {products}{tanh}"


_AS_EXACT = 8
"""Sums in another order err by two or three times as much, bfloat16 by thousands."""
_CLEARLY = 1.5
"""So many times as fast has to be what is taken, so that the same command, run again, takes the same, in a process that is
beside others or not. Processors were seen to gain 1.1 x or 2.3 x."""


_products_gain = 1.0


def take_faster_products(before: bool | None = None) -> float | None:
    """Let oneDNN do float32 products where they are as exact, and a trial finds them clearly faster or they were its before.

    torch's switch for that, precision "medium", *allows* bfloat16: on some processors (AMD's with AVX-512) it means
    oneDNN's float32 kernels, on those with AMX it means bfloat16, with errors of 2e-3. Only a trial can tell.

    oneDNN keeps a compiled kernel for each shape: where every batch has another one, that was seen to take 400 MiB.

    Returns:
        How many times as fast they are; None where torch's own stay.
    """
    global _products_gain
    if torch.cuda.is_available():  # there the same switch means TF32
        return None
    default = torch.get_float32_matmul_precision()
    if before is False:
        torch.set_float32_matmul_precision("highest" if default == "medium" else default)
        return None
    if default == "medium":  # of an earlier run of this process
        return _products_gain
    generator = torch.Generator().manual_seed(0)
    x, W = torch.randn(128, 512, generator=generator), torch.randn(1024, 512, generator=generator)
    exact = x.double() @ W.double().t()
    errors = {}

    def product(precision: str) -> Tensor:
        torch.set_float32_matmul_precision(precision)
        return x @ W.t()

    for precision in ("highest", "medium"):
        errors[precision] = (product(precision) - exact).abs().max().item()
    if default == "highest" and errors["medium"] <= _AS_EXACT * errors["highest"]:
        gain = _gain(partial(product, "highest"), partial(product, "medium"))
        if gain > _CLEARLY or before:
            torch.set_float32_matmul_precision("medium")
            _products_gain = gain
            return gain
    torch.set_float32_matmul_precision(default)
    return None


_tanh_library: torch.library.Library | None = None
_tanh_gain = 1.0


def take_faster_tanh(before: bool | None = None) -> float | None:
    """Let NumPy work out every tanh on the CPU, for float32 and half precision, where a trial finds it clearly faster or
    it did so before.

    torch has MKL do it, which was seen to take nine times as long on processors that are not Intel's: as long as the matrix
    product of a small recurrent step. Both are within a unit in the last place.

    Returns:
        How many times as fast it is, on the numbers of one step; None where torch's own stays.
    """
    global _tanh_library, _tanh_gain
    if before is False:
        if _tanh_library is not None:
            _tanh_library._destroy()
            _tanh_library = None
        return None
    if _tanh_library is None:
        step, many = torch.linspace(-4, 4, 64 * 256), torch.linspace(-4, 4, 2**18)
        gains = [_gain(partial(torch.tanh, x), partial(_tanh, x)) for x in (step, many)]
        if min(gains) < _CLEARLY and not before:  # torch's may be as fast, or have many threads
            return None
        _tanh_gain = gains[0]
        _tanh_library = torch.library.Library("aten", "IMPL")
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that torch had one before
            _tanh_library.impl("tanh", _tanh, "CPU")
            _tanh_library.impl("tanh_", _tanh_in_place, "CPU")
    return _tanh_gain


def _tanh(x: Tensor) -> Tensor:
    x = x.detach()
    if x.dtype is torch.float32:
        y = torch.empty_like(x)
        np.tanh(x.numpy(), out=y.numpy())
        return y
    if x.dtype in (torch.bfloat16, torch.float16):
        return _tanh_in_place(x.float()).to(x.dtype)
    kind = x.dtype if x.is_floating_point() or x.is_complex() else torch.get_default_dtype()
    return torch.tanh(x, out=torch.empty_like(x, dtype=kind))  # which is torch's own


def _tanh_in_place(x: Tensor) -> Tensor:
    values = x.detach()
    if x.dtype is torch.float32:
        numbers = values.numpy()
        np.tanh(numbers, out=numbers)
    elif x.dtype in (torch.bfloat16, torch.float16):
        values.copy_(_tanh(values))
    else:
        torch.tanh(values, out=values)
    return x


def _gain(one: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times as fast the other is: by the least of twenty trials each, in turns.

    By the processor's time: beside other processes the wait for a turn can fall upon the same one of the two every time.
    """
    trials: tuple[list[float], list[float]] = [], []
    for _ in range(20):
        for work, seconds in zip((one, other), trials, strict=True):
            began = time.thread_time()
            work()
            seconds.append(time.thread_time() - began)
    return min(trials[0]) / min(trials[1])


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
