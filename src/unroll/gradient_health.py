"""Gradients that are no numbers, that vanish, or that explode: where, and what led there."""

import math
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from unroll.errors import UserError
from unroll.insight.trajectory import traced
from unroll.state import flatten

_VANISHED = 1e-7  # of what is usual among a model's parameters, an entry
_EXPLODED = 100.0  # times what was usual before
_LOOKS = 5  # in a row, before a parameter is said to have vanished; and before anything is usual


class NotFinite(UserError):
    """A loss, a gradient or a weight is no number."""


def not_finite(module: nn.Module, what: str, update: int, batch: Any, kept: int | None) -> NotFinite:
    """What is said when training cannot go on, with what led there.

    Args:
        module: in training.
        what: `a loss`, `the gradient's norm`, `a weight`.
        update: in which.
        batch: that was trained on; a task tells from it where its states are largest.
        kept: the step of the last checkpoint; None: there is none.
    """
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    broken = [name for name, weight in weights.items() if not weight.isfinite().all()]
    broken_gradients = [
        name
        for name, weight in module.named_parameters()
        if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    parts = []
    if broken:
        parts.append(f"{_some(broken)} not finite")
    else:
        name = max(weights, key=lambda name: float(weights[name].abs().max()))
        parts.append(f"the largest weight is {float(weights[name].abs().max()):.3g}, in {name}")
        parts.append(_largest_state(module, batch))
    if broken_gradients and broken_gradients != broken:
        parts.append(f"the gradient of {_some(broken_gradients)} not finite")
    goes_on = "lower optimizer.lr, or set trainer.gradient_clip_val"
    if kept is not None:
        goes_on = f"the checkpoint of step {kept} is kept; for a new run, from there by init_from= or anew: {goes_on}"
    return NotFinite(f"{what} is no number in update {update}: {'; '.join(parts)}; {goes_on}")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} is" if len(names) == 1 else f"{shown}{', ...' if len(names) > 3 else ''} are"


def _largest_state(module: Any, batch: Any) -> str:
    losses = torch.zeros(())
    # What comes after the states may not take such numbers at all; that is not to hide what led there.
    with torch.no_grad(), traced(module) as found, suppress(Exception):
        losses = module.last_losses(batch)
    largest: tuple[float, str, int] = (0.0, "", 0)
    for name, trajectory in found.items():
        for step, state in enumerate(trajectory.states):
            size = max(float(part.detach().abs().max()) for part in flatten(state))
            if not math.isfinite(size):
                return f"the state of {name} is not finite after {step + 1} steps"
            largest = max(largest, (size, name, step + 1))
    if not found:
        return "its states could not be worked out again"
    told = f"the largest state is {largest[0]:.3g}, in {largest[1]} after {largest[2]} steps"
    bad = torch.nonzero(~losses.isfinite()).flatten().tolist()
    return told + (f"; of sequence {bad[0]} of the batch the loss is not finite" if bad else "")


class Watch:
    """Tells of parameters whose gradients vanish or explode, once of each."""

    def __init__(self) -> None:
        self._faint: dict[str, int] = {}
        self._told: set[str] = set()
        self._norms: deque[float] = deque(maxlen=50)

    def look(self, gradients: Mapping[str, Tensor], total: float) -> list[str]:
        """Lines to tell.

        Args:
            gradients: of all parameters that have one, by their names.
            total: the norm of all of them together, before it was clipped.
        """
        norms = torch.stack(torch._foreach_norm(list(gradients.values()))).tolist()  # waits for the device once
        each = {
            name: norm / math.sqrt(gradient.numel())
            for (name, gradient), norm in zip(gradients.items(), norms, strict=True)
        }
        usual = median(each.values())
        lines = []
        for name, size in each.items():
            self._faint[name] = self._faint.get(name, 0) + 1 if size < _VANISHED * usual else 0
            if self._faint[name] == _LOOKS and name not in self._told:
                self._told.add(name)
                lines.append(
                    f"note: the gradient of {name} has vanished: {size:.1e} an entry, where {usual:.1e} is usual; it does "
                    "not learn"
                )
        before = median(self._norms) if len(self._norms) >= _LOOKS else math.inf
        if total:  # of what has no loss, a gap in a series, there is none
            self._norms.append(total)
        if total > _EXPLODED * before and "" not in self._told:
            self._told.add("")
            _, name = max(zip(norms, each, strict=True))
            lines.append(
                f"note: the gradient explodes: its norm is {total:.3g}, where {before:.3g} was usual; most of it is that of "
                f"{name}: trainer.gradient_clip_val bounds it"
            )
        return lines
