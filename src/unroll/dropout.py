"""Dropout (Srivastava et al. 2014), drawn fast on a CPU too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """`F.dropout(x, p, training)`.

    On a CPU torch draws a number of 53 bits for each entry, one after the other; here one of 16 bits decides, so that p is
    met within 1/65,536, and what is kept is divided by just that, as far as the type of x can say it.
    """
    if not training or not p:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    dropped = min(round(p * 2**16), 2**16 - 1)
    keep = drawn[: x.numel()].view(x.shape) >= dropped - 2**15
    return x * keep.to(x.dtype).mul_(2**16 / (2**16 - dropped))


class Dropout(nn.Dropout):
    """As torch's, by `dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)


class Locked(nn.Module):
    """Dropout of the same features at every step of (time, batch, features), another mask for each sequence.

    Args:
        p: probability of dropping one.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return x * dropout(x.new_ones(x.shape[1:]), self.p)
