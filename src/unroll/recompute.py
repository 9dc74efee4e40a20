"""Full backpropagation through time in little memory: keep the states between windows, run each window again."""

from typing import Any, cast

import torch
from torch import Tensor

from unroll.cells.base import Cell, Masks
from unroll.state import State, detach, flatten, unflatten


def run_recomputed(
    cell: Cell, x: Tensor, state: State, lengths: Tensor | None, masks: Masks, backend: str, steps: int
) -> tuple[Tensor, State]:
    """`cell(x, state, lengths, masks, backend)`, of which only the states before each window of `steps` steps are kept.

    In the backward pass each window is run again, the last one first (Chen et al. 2016; over time: Gruslys et al. 2016).
    Memory is that of the outputs, of time / steps states, and of one window: least at steps = sqrt(time).
    """
    inputs = [*flatten(state), *masks, *cell.parameters()]
    y, *final = _Recomputed.apply(cell, state, len(masks), lengths, backend, steps, x, *inputs)
    return cast(Tensor, y), unflatten(final, state)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        like: State,
        mask_count: int,
        lengths: Tensor | None,
        backend: str,
        steps: int,
        x: Tensor,
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.cell, ctx.like, ctx.lengths, ctx.backend, ctx.steps = cell, detach(like), lengths, backend, steps
        parts = len(flatten(like))
        state, masks = unflatten(inputs[:parts], like), inputs[parts : parts + mask_count]
        ctx.parts = parts
        outputs: Tensor | None = None
        ctx.states, ctx.random = [], []
        start = 0
        for window in x.split(steps):
            ctx.states.append(state)
            ctx.random.append(_random_state(x))
            y, state = cell(window, state, _left(lengths, start, len(window)), masks, backend)
            if outputs is None:
                outputs = y.new_empty(len(x), *y.shape[1:])
            outputs[start : start + len(window)] = y
            start += len(window)
        assert outputs is not None
        ctx.autocast = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)
        # The parameters too, which are kept anyway: autograd then notices if they have been changed in between.
        ctx.save_for_backward(x, *inputs[parts:])
        ctx.mask_count = mask_count
        torch.clear_autocast_cache()  # what was cast without a graph here must not be taken where there is one
        final = [tensor.clone() for tensor in flatten(state)]
        ctx.mark_non_differentiable(*(tensor for tensor in final if not tensor.is_floating_point()))
        return (outputs, *final)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_y: Tensor, *d_final: Tensor) -> Any:
        x, *rest = ctx.saved_tensors
        masks = rest[: ctx.mask_count]
        parts = ctx.parts
        # What counts, in whole numbers, has no gradient.
        moving = [index for index, tensor in enumerate(flatten(ctx.like)) if tensor.is_floating_point()]
        d_state: list[Tensor | None] = [d_final[index] if index in moving else None for index in range(parts)]
        wants_x = ctx.needs_input_grad[6]
        d_x = torch.empty_like(x) if wants_x else None
        parameters = list(ctx.cell.parameters())
        trained = [tensor for tensor in [*masks, *parameters] if tensor.requires_grad]
        totals = [torch.zeros_like(tensor) for tensor in trained]
        now = _random_state(x)
        starts = list(range(0, len(x), ctx.steps))
        for start, state, random in zip(reversed(starts), reversed(ctx.states), reversed(ctx.random), strict=True):
            window = x[start : start + ctx.steps].detach().requires_grad_(wants_x)
            leaves = [tensor.detach() for tensor in flatten(state)]
            for index in moving:
                leaves[index].requires_grad_()
            mask_leaves = [mask.detach().requires_grad_(mask.requires_grad) for mask in masks]
            _set_random_state(x, random)
            enabled, kind = ctx.autocast
            with torch.enable_grad(), torch.autocast(x.device.type, kind, enabled=enabled):
                y, final = ctx.cell(
                    window,
                    unflatten(leaves, ctx.like),
                    _left(ctx.lengths, start, len(window)),
                    tuple(mask_leaves),
                    ctx.backend,
                )
            wanted = [tensor for tensor in [*mask_leaves, *parameters] if tensor.requires_grad]
            after = flatten(final)
            grads = torch.autograd.grad(
                [y, *(after[index] for index in moving)],
                [*([window] if wants_x else []), *(leaves[index] for index in moving), *wanted],
                [d_y[start : start + ctx.steps], *(d_state[index] for index in moving)],
                allow_unused=True,
                materialize_grads=True,
            )
            if d_x is not None:
                d_x[start : start + ctx.steps] = grads[0]
                grads = grads[1:]
            for index, d_part in zip(moving, grads, strict=False):
                d_state[index] = d_part
            for total, grad in zip(totals, grads[len(moving) :], strict=True):
                total += grad
        _set_random_state(x, now)
        by_tensor = iter(totals)
        d_rest = [next(by_tensor) if tensor.requires_grad else None for tensor in [*masks, *parameters]]
        return (None, None, None, None, None, None, d_x, *d_state, *d_rest)


def _left(lengths: Tensor | None, start: int, steps: int) -> Tensor | None:
    """How many of a window's steps each sequence has."""
    return None if lengths is None else (lengths - start).clamp(min=0, max=steps)


# A window that draws random numbers step by step, as zoneout does, has to draw the same ones again.


def _random_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


def _set_random_state(x: Tensor, state: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.set_rng_state(state, x.device)
    else:
        torch.set_rng_state(state)
