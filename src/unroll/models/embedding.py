"""The vectors of symbols."""

import math

from torch import nn


def embedding(count: int, size: int, frozen: bool = False) -> nn.Embedding:
    """Vectors (count, size) of length about 1, like a one-hot vector's, so that an output tied to them starts near a uniform
    answer.

    Args:
        count: of symbols.
        size: of a vector.
        frozen: they stay as they are.
    """
    made = nn.Embedding(count, size)
    nn.init.normal_(made.weight, std=1 / math.sqrt(size))
    made.weight.requires_grad_(not frozen)
    return made
