"""A weight's gradient in one product after a loop, in place of one a step."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def late(weight: Tensor) -> Tensor:
    """The same weight, for `F.linear` in a loop over time: its gradient is worked out once, when the loop is done.

    Autograd multiplies and adds up a gradient as large as the weight for every step; here the inputs and the outputs'
    gradients of all steps are kept, and joined in one product, which is the same sum. For anything but `F.linear` it is a
    tensor like any other.

    Args:
        weight: (out, in).
    """
    if not weight.requires_grad or not torch.is_grad_enabled():
        return weight
    steps: list[tuple[Tensor, Tensor]] = []
    given = _Late(_Anchor.apply(weight, steps))
    given.steps = steps
    given.plain = given.product_weight = weight.detach()
    return given


class _Late(Tensor):
    steps: list[tuple[Tensor, Tensor]]
    """Of each product so far that has gone backward: its input, and its output's gradient."""
    plain: Tensor
    """The weight without a graph."""
    product_weight: Tensor
    """The same in the type that products were last made in."""

    @staticmethod
    def __new__(cls, tensor: Tensor) -> "_Late":
        return tensor.as_subclass(cls)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if function is F.linear and len(args) > 1 and type(args[1]) is cls:
                x, weight, *rest = args
                bias = rest[0] if rest else (kwargs or {}).get("bias")
                kind = x.dtype
                if torch.is_autocast_enabled(x.device.type):
                    kind = torch.get_autocast_dtype(x.device.type)
                if weight.product_weight.dtype != kind:
                    weight.product_weight = weight.plain.to(kind)
                anchor, rows = weight.as_subclass(Tensor), x.reshape(-1, x.shape[-1]).to(kind)
                with torch.autocast(x.device.type, enabled=False):
                    y = _Product.apply(rows, anchor, weight.product_weight, weight.steps)
                y = y.view(*x.shape[:-1], y.shape[-1])
                return y if bias is None else y + bias.to(kind)
            return function(*args, **(kwargs or {}))


class _Anchor(torch.autograd.Function):
    """The weight itself. Its backward comes after those of all products that it is in."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, steps: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.steps, ctx.kind = steps, weight.dtype
        ctx.set_materialize_grads(False)
        return weight.view_as(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_weight: Tensor | None) -> Any:
        if ctx.steps:
            inputs, d_outputs = zip(*ctx.steps, strict=True)
            ctx.steps.clear()
            total = (torch.cat(d_outputs).t() @ torch.cat(inputs)).to(ctx.kind)
            d_weight = total if d_weight is None else total + d_weight
        return d_weight, None


class _Product(torch.autograd.Function):
    """x W^T, with a gradient for x; what W's needs is put aside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, weight: Tensor, steps: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.save_for_backward(x, anchor)
        ctx.weight, ctx.steps = weight, steps
        return x @ weight.t()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> Any:
        x, _ = ctx.saved_tensors  # the anchor too: autograd tells if the weight has been changed in between
        ctx.steps.append((x, d_y))
        return d_y @ ctx.weight if ctx.needs_input_grad[0] else None, None, None, None
