"""How the learning rate moves over a run, each times a linear warm-up: of one that falls meanwhile the whole is not reached.

Every function takes `(optimizer, total_steps, ...)` and returns Lightning's scheduler configurations.
"""

import math
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

from unroll.errors import UsageError
from unroll.schema import Probability

Share = Annotated[float, Field(gt=0, lt=1)]
Schedulers = list[dict[str, Any]]


def constant(optimizer: Optimizer, total_steps: int | None, warmup_steps: NonNegativeInt) -> Schedulers:
    """The optimizer's own rate after `warmup_steps` updates."""
    return _by_share(optimizer, None, warmup_steps, lambda share: 1.0)


def linear(
    optimizer: Optimizer, total_steps: int | None, warmup_steps: NonNegativeInt, final_fraction: Probability
) -> Schedulers:
    """Down in a straight line to `final_fraction` of the rate at the last update."""
    return _by_share(optimizer, _known(total_steps), warmup_steps, lambda share: 1 - (1 - final_fraction) * share)


def cosine(
    optimizer: Optimizer, total_steps: int | None, warmup_steps: NonNegativeInt, final_fraction: Probability
) -> Schedulers:
    """Down in half a cosine to `final_fraction` of the rate at the last update (Loshchilov & Hutter 2017)."""

    return _by_share(optimizer, _known(total_steps), warmup_steps, lambda share: _half_cosine(1, final_fraction, share))


def one_cycle(optimizer: Optimizer, total_steps: int | None, warmup_fraction: Share) -> Schedulers:
    """From 1/25 of the rate up to it in half a cosine over `warmup_fraction` of the steps, and down to 1/250,000 in
    another (Smith & Topin 2018, in the form and with the ends of torch's OneCycleLR; momentum stays)."""

    def shape(share: float) -> float:
        if share < warmup_fraction:
            return _half_cosine(1 / 25, 1, share / warmup_fraction)
        return _half_cosine(1, 1 / 250_000, (share - warmup_fraction) / (1 - warmup_fraction))

    return _by_share(optimizer, _known(total_steps), 0, shape)


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def plateau(
    optimizer: Optimizer,
    total_steps: int | None,
    warmup_steps: NonNegativeInt,
    factor: Share,
    patience: NonNegativeInt,
    monitor: str,
    mode: Literal["min", "max"],
) -> Schedulers:
    """Times `factor` whenever `monitor` has not become better for more than `patience` validations."""
    # Lightning would take a step of it once an epoch, whatever the number of validations in it: the task takes them.
    schedulers: Schedulers = [
        {
            # Its own threshold is a share of the score: of one below zero nothing would ever be worse.
            "scheduler": ReduceLROnPlateau(optimizer, mode, factor, patience, threshold=0.0),
            "monitor": monitor,
            "interval": "epoch",
            "frequency": sys.maxsize,
        }
    ]
    if warmup_steps:
        schedulers.append(_each_step(LinearLR(optimizer, 1 / (warmup_steps + 1), total_iters=warmup_steps)))
    return schedulers


def _by_share(
    optimizer: Optimizer, total_steps: PositiveInt | None, warmup_steps: int, shape: Callable[[float], float]
) -> Schedulers:
    def factor(step: int) -> float:
        warm = min(1.0, (step + 1) / (warmup_steps + 1))
        return warm * (shape(min(1.0, step / max(1, total_steps - 1))) if total_steps else 1.0)

    return [_each_step(LambdaLR(optimizer, factor))]


def _each_step(scheduler: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "interval": "step"}


def _known(total_steps: int | None) -> int:
    if total_steps is None:
        raise UsageError(
            "this schedule needs to know where it ends: set trainer.max_steps or trainer.max_epochs, or take "
            "schedule=constant or schedule=plateau"
        )
    return total_steps
