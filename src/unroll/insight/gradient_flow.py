"""How far back gradients reach: measured along a run's own sequences, for every cell and task."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn

from unroll.cells.base import Cell, Masks
from unroll.data.base import Data
from unroll.data.batches import Batches
from unroll.evaluating import evaluating
from unroll.insight.trajectory import Trajectory, traced, untruncated
from unroll.state import State, flatten, select, unflatten
from unroll.tasks.base import Task

_FADED = 0.01  # of the greatest gradient: what lies below has vanished
_GROWING = 1.01  # times a step: doubles in seventy
_EXACT = 16  # numbers of a state up to which its Jacobian is computed whole
_PROBES = 2  # random vectors elsewhere
_PRODUCTS = 20, 40  # with a step's Jacobian, until what it stretches most prevails; and after that
_POINTS = 4  # places in the sequences where that is done


@dataclass(frozen=True)
class Flow:
    """Gradients along one cell's steps, by lag: how many steps lie between a state and the last one that the loss reads.

    Attributes:
        median: (lags,) of ||dL_T / ds_t||, over the sequences; s is the whole state, all parts of it together.
        low, high: (lags,): a tenth of the sequences lie below, and above.
        growth: (lags,): the root mean square over the sequences of ||ds_T / ds_t||, in the Frobenius norm.
        radius: the spectral radius of ds_{t+1} / ds_t, the median over a few places.
        gates, units: shares that are saturated, see `Trajectory`.
        horizon: the memory horizon: the greatest lag at which the median is at least a hundredth of its largest value.
        faded: whether it is less from there on; if not, the horizon is the whole length that was looked at.
        rate: by what the median changes a step, on average over the half of the lags that lies further back.
    """

    median: Tensor
    low: Tensor
    high: Tensor
    growth: Tensor
    radius: float
    gates: float
    units: float
    horizon: int
    faded: bool
    rate: float

    @property
    def explodes(self) -> bool:
        """Does it still grow where it has come from furthest?"""
        return self.rate > _GROWING and bool(self.median.argmax() >= 0.9 * (len(self.median) - 1))

    def told(self) -> str:
        """In words."""
        if self.explodes:
            return f"explodes: {self.rate:.3g} times a step"
        return f"{self.horizon} steps" if self.faded else f"more than {self.horizon} steps"


def sample(task: Task, data: Data, split: str, sequences: int) -> Any:
    """A batch of so many sequences of a split, at most, always the same; rather long ones, where lengths differ."""
    loader = data.eval_dataloader(split)
    if isinstance(loader, Batches):
        batches = loader.batches(None)
        rows = batches[len(batches) * 3 // 4][:sequences]
        batch = loader.collate(rows, rows)
    else:  # lanes of a stream, as many windows as it takes
        windows = iter(loader)
        first = next(windows)
        batch = first.beside(islice(windows, max(0, sequences // first.lanes_here - 1)))
    return task.transfer_batch_to_device(batch, task.device, 0)


def gradient_flow(
    module: nn.Module, losses: Callable[[], Tensor], generator: torch.Generator, truncated: bool = False
) -> dict[str, Flow]:
    """Measure a model on some sequences; it is left as it was.

    Args:
        module: whose stacks are looked at; without dropout, in the precision of its weights.
        losses: computes (sequences,): the loss of what each sequence ends with.
        generator: of the random vectors.
        truncated: cut gradients as training does; if not, they go through all steps.

    Returns:
        Of each cell that has a part in it, by its name.
    """
    device = next(module.parameters()).device.type
    with evaluating(module):
        with (
            nullcontext() if truncated else untruncated(module),
            torch.enable_grad(),
            torch.autocast(device, enabled=False),
            traced(module) as found,
        ):
            total = losses().sum()
        return {
            name: flow
            for name, trajectory in found.items()
            if (flow := _flow(trajectory, total, generator)) is not None
        }


def _flow(trajectory: Trajectory, total: Tensor, generator: torch.Generator) -> Flow | None:
    states = [flatten(state) for state in trajectory.states]
    of_loss = _norms(total, states)  # (steps, batch)
    reached = of_loss > 0
    rows = reached.any(0)
    if not rows.any():
        return None
    steps = torch.arange(len(states), device=rows.device)[:, None]
    last = torch.where(reached, steps, -1).amax(0)[rows]  # the step at which each sequence ends
    by_lag = _by_lag(of_loss[:, rows], last)
    growth = _by_lag(_growth(states, rows, last, generator)[:, rows], last)
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.double)
    low, median, high = torch.nanquantile(by_lag.detach().cpu().double(), levels, dim=1)
    within = torch.nonzero(median >= _FADED * median.max()).squeeze(1)
    horizon = int(within[-1])
    gates, units = (
        torch.stack([share.cpu() for share in shares]).nanmean().item()
        for shares in zip(*trajectory.saturated, strict=True)
    )
    return Flow(
        median,
        low,
        high,
        growth.double().square().nanmean(1).sqrt().cpu(),
        _radius(trajectory, generator),
        gates,
        units,
        horizon,
        horizon + 1 < len(median),
        rate(median),
    )


def rate(curve: Tensor) -> float:
    """By what a curve over lags changes a step: the slope of its logarithm, by least squares, over the further half of it
    as far as it is above nothing."""
    there = torch.nonzero(curve > torch.finfo(torch.float32).tiny).squeeze(1)
    there = there[len(there) // 2 :]
    if len(there) < 2:
        return math.nan
    x, y = there.double(), curve[there].double().log()
    x, y = x - x.mean(), y - y.mean()
    return math.exp(float((x * y).sum() / (x * x).sum()))


def _norms(total: Tensor, states: list[list[Tensor]]) -> Tensor:
    """||d total / d state||, (steps, batch)."""
    flat = [tensor for state in states for tensor in state]
    parts = len(states[0])
    gradients = torch.autograd.grad(total, flat, retain_graph=True, allow_unused=True, materialize_grads=True)
    kind = torch.promote_types(gradients[0].dtype, torch.float32)
    squares = torch.stack([gradient.reshape(len(gradient), -1).to(kind).square().sum(1) for gradient in gradients])
    return squares.view(len(states), parts, -1).sum(1).sqrt()


def _by_lag(values: Tensor, last: Tensor) -> Tensor:
    """(steps, batch) -> (lags, batch), counted back from each sequence's last step; NaN before its first."""
    index = last - torch.arange(int(last.max()) + 1, device=last.device)[:, None]
    return values.gather(0, index.clamp(min=0)).masked_fill(index < 0, math.nan)


def _growth(states: list[list[Tensor]], rows: Tensor, last: Tensor, generator: torch.Generator) -> Tensor:
    """||ds_T / ds_t||, (steps, batch): exact of a small state, else by random vectors v: E ||v J||^2 = ||J||^2."""
    ends = [torch.stack(part)[last, rows.nonzero().squeeze(1)] for part in zip(*states, strict=True)]
    sizes = [end[0].numel() for end in ends]
    exact = sum(sizes) <= _EXACT
    count = sum(sizes) if exact else _PROBES
    vectors = torch.eye(count) if exact else torch.randn(count, sum(sizes), generator=generator)
    squares = None
    for vector in vectors.to(ends[0]):
        total = sum((end.flatten(1) @ part).sum() for end, part in zip(ends, vector.split(sizes), strict=True))
        found = _norms(total, states).square()
        squares = found if squares is None else squares + found
    assert squares is not None
    return (squares if exact else squares / count).sqrt()


def _radius(trajectory: Trajectory, generator: torch.Generator) -> float:
    found = []
    for _ in range(_POINTS):
        px_t, state, masks = trajectory.inputs[_drawn(len(trajectory.inputs), generator)]
        row = _drawn(len(px_t), generator)
        found.append(spectral_radius(trajectory.cell, px_t[row], select(state, slice(row, row + 1)), masks, generator))
    return float(torch.tensor(found).median())


def _drawn(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def spectral_radius(cell: Cell, px_t: Tensor, state: State, masks: Masks, generator: torch.Generator) -> float:
    """The largest absolute eigenvalue of J = ds_{t+1} / ds_t, of one sequence.

    Of a small state from all of J; else as the limit of ||J^k v||^(1/k) (Gelfand), which needs no more than products with v;
    by so many of them it comes out a few hundredths low, mostly.

    Args:
        cell: makes the step.
        px_t: (p,), the projected input.
        state: of a batch of one.
        masks: see `Cell.draw_masks`.
        generator: of v.
    """
    shapes = [tensor.shape for tensor in flatten(state)]

    def after(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        own = unflatten((part.view(shape) for part, shape in zip(parts, shapes, strict=True)), state)
        return _flat(cell.step(px_t.detach()[None], own, *masks))

    start = _flat(state).detach()
    if len(start) <= _EXACT:
        jacobian = cast(Tensor, torch.autograd.functional.jacobian(after, start, vectorize=True))
        return float(torch.linalg.eigvals(jacobian.cpu().double()).abs().max())
    with torch.enable_grad():
        start.requires_grad_()
        end = after(start)
        v = torch.randn(len(start), generator=generator).to(start)
        total = 0.0
        for product in range(sum(_PRODUCTS)):
            (v,) = torch.autograd.grad(end, start, v, retain_graph=True)
            size = v.norm()
            if not size > 0:
                return 0.0
            v = v / size
            if product >= _PRODUCTS[0]:
                total += math.log(size)
    return math.exp(total / _PRODUCTS[1])


def _flat(state: State) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in flatten(state)])
