"""Noise that depends on what it is for, and on nothing else: not on the batch, not on the process."""

import torch
from torch import Tensor

_ODD = -7046029254386353131  # 0x9E3779B97F4A7C15, the golden ratio's fraction: what SplitMix64 counts by


def uniform(seed: int, *indices: Tensor) -> Tensor:
    """Numbers from the uniform distribution on (0, 1), one for each combination of indices.

    A hash of seed and indices: SplitMix64 (Steele, Lea & Flood 2014), mixed anew with each index. The same indices give the
    same number, whatever else is asked for beside them.

    Args:
        seed: another one, other numbers.
        *indices: tensors of int64 that broadcast against each other.

    Returns:
        float32 in the shape that they broadcast to.
    """
    state = _mix(torch.tensor(seed, device=indices[0].device))
    for index in indices:
        state = _mix(state + index * _ODD)
    # 23 bits, and half a step from either end: an open interval in float32.
    return ((_shifted(state, 41)).float() + 0.5) / (1 << 23)


def _mix(z: Tensor) -> Tensor:
    # Products wrap round, as those of 64 bits do.
    z = z + _ODD
    z = (z ^ _shifted(z, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    z = (z ^ _shifted(z, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """z >> bits as of an unsigned number."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
