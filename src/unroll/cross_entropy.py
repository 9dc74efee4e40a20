"""Cross-entropy over a large vocabulary without its logits in memory; and the perplexity that it is told as."""

import math
from typing import Any

import torch
from torch import Tensor

# Logits at a time: between these, as many as the weight has entries, whose gradient is read and written once a chunk.
_LEAST, _MOST = 2**21, 2**23
_ALIGNMENT = 32  # rows of logits begin at multiples of it: with an odd number of classes products take 1.6 x the time


def perplexity(loss: float) -> float:
    """Of a mean cross-entropy in nats: of how many symbols, all as likely, one would have had to be guessed. What would leave
    double precision stays below."""
    return math.exp(min(loss, 700.0))


def linear_cross_entropy(
    x: Tensor, weight: Tensor, bias: Tensor, target: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """The mean of `F.cross_entropy(F.linear(x, weight, bias), target, label_smoothing=label_smoothing)`.

    Gradients are worked out in the forward pass, some rows at a time, so that no more than 2^23 logits are ever there, twice
    (64 MiB in float32); that takes less time, too.

    Args:
        x: (rows, features), at least one row.
        weight: (classes, features).
        bias: (classes,).
        target: (rows,) of int64.
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).

    Returns:
        A scalar, in float32 or more.
    """
    kind = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, weight, bias))
    loss: Tensor = _LinearCrossEntropy.apply(x, weight, bias, target, label_smoothing, kind, wanted)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        label_smoothing: float,
        kind: torch.dtype,
        wanted: bool,
    ) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            rows, classes = len(x), len(weight)
            exact = torch.promote_types(kind, torch.float32)
            W, b = weight.to(kind), bias.to(kind)
            total = torch.zeros((), dtype=exact, device=x.device)
            d_x, d_weight, d_bias = (
                (torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias))
                if wanted
                else (None, None, None)
            )
            chunks = -(-rows * classes // min(max(_LEAST, weight.numel()), _MOST))
            size = -(-rows // chunks)
            width = -(-classes // _ALIGNMENT) * _ALIGNMENT
            # Made once: what is made and freed anew each time is not always given back. What is beyond the classes has no
            # probability and no gradient.
            both = (
                torch.full((size, width), -math.inf, dtype=kind, device=x.device),
                torch.empty(size, width, dtype=exact, device=x.device),
            )
            for start in range(0, rows, size):
                part, right = x[start : start + size].to(kind), target[start : start + size, None]
                logits, p = (buffer[: len(part)] for buffer in both)
                torch.addmm(b, part, W.t(), out=logits[:, :classes])
                told = logits.gather(1, right).to(exact)
                if label_smoothing:
                    total -= label_smoothing / classes * logits[:, :classes].sum(dtype=exact)
                # The largest probability is 1 / z, z the sum of exp(logits - largest): one pass of exponentials does both.
                torch.softmax(logits, 1, exact, out=p)
                total += (logits.amax(1) - p.amax(1).log() - (1 - label_smoothing) * told.squeeze(1)).sum()
                if d_x is None or d_weight is None or d_bias is None:
                    continue
                # rows * d loss / d logits = softmax - smoothed target: float16 could not hold it over the number of rows.
                d = p.sub_(label_smoothing / classes) if label_smoothing else p
                d.scatter_add_(1, right, torch.full_like(told, label_smoothing - 1))
                d = d.to(kind)[:, :classes]
                d_x[start : start + size] = d @ W
                if kind == d_weight.dtype:
                    d_weight.addmm_(d.t(), part)
                else:
                    d_weight += d.t() @ part
                d_bias += d.sum(0, dtype=exact)
            # Not saved as a graph saves: they are the result, and are to be there once.
            ctx.gradients = d_x, d_weight, d_bias
            ctx.rows = rows
            return total / rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("linear_cross_entropy: its gradients were taken already, and are there once")
        scale = d_loss / ctx.rows
        return *(gradient.mul_(scale) for gradient in gradients), None, None, None, None
