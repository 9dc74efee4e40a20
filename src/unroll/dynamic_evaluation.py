"""Dynamic evaluation: the weights follow what is being read (Krause et al. 2018, "Dynamic Evaluation of Neural Sequence
Models", section 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Follower:
    """Weights that take a step of gradient descent after each piece that was scored, and are drawn back to where they were.

        w <- w - rate dL/dw + decay (w_0 - w)

    Args:
        weights: all that follow.
        rate, decay: see above.
    """

    def __init__(self, weights: Sequence[nn.Parameter], rate: float, decay: float) -> None:
        self.weights = weights
        self.rate = rate
        self.decay = decay
        self._before = [weight.detach().clone() for weight in weights]

    def follow(self, loss: Tensor) -> None:
        """Take a step for what was just scored."""
        gradients = torch.autograd.grad(loss, self.weights, allow_unused=True)
        with torch.no_grad():
            for weight, before, gradient in zip(self.weights, self._before, gradients, strict=True):
                weight.lerp_(before, self.decay)
                if gradient is not None:
                    weight.sub_(gradient, alpha=self.rate)

    @torch.no_grad()
    def restore(self) -> None:
        """Put every weight back where it was."""
        for weight, before in zip(self.weights, self._before, strict=True):
            weight.copy_(before)
