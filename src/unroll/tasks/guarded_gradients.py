"""Gradients that are clipped, measured, and known to be numbers, without waiting for the device in every update."""

from pathlib import Path
from typing import Any, NoReturn, cast

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from unroll.checkpoint import FOLDER, read_checkpoint
from unroll.gradient_health import not_finite


class GuardedGradients(lightning.LightningModule):
    """What a task is, as far as its gradients are concerned."""

    def __init__(self) -> None:
        super().__init__()
        self.trained_on: Any = None
        """The batch of the last training step."""
        self.gradient_norm = torch.zeros(())
        """Of the last update, before it was clipped."""
        self._unfinite = torch.zeros((), dtype=torch.bool)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if not isinstance(self.trainer.strategy, SingleDeviceStrategy | DDPStrategy):  # no process has whole gradients
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        parameters = [
            weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None
        ]
        norm = torch.nn.utils.get_total_norm([cast(Tensor, weight.grad) for weight in parameters])
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # 16-mixed
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            norm = norm / scaler.get_scale()  # fused, it scales gradients back itself, within its step
        self.gradient_norm = norm.detach()
        if scaler is None:  # which finds infinities itself, and leaves such an update out
            self._unfinite = self._unfinite.to(norm.device) | ~self.gradient_norm.isfinite()
            if norm.device.type == "cpu":  # elsewhere that would wait for the device: see `check_gradients`
                self.check_gradients(self.trainer.global_step + 1)
        # Not Lightning's own, which would compute the norm again, and refuses a fused optimizer in any mixed precision.
        if gradient_clip_val and gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def check_gradients(self, update: int) -> None:
        """Have all gradients been numbers so far? Asked where one waits for the device anyway, and before weights are kept.

        Args:
            update: the last one that was begun.

        Raises:
            UserError: one was not; with what led there.
        """
        if self._unfinite:
            self.stop("the gradient's norm", update)

    def check_weights(self) -> None:
        """Are all weights numbers? Asked before they are kept; `check_gradients` is too.

        Raises:
            UserError: one is not; with what led there.
        """
        self.check_gradients(self.trainer.global_step)
        if not all(weight.isfinite().all() for weight in self.parameters()):
            self.stop("a weight", self.trainer.global_step)

    def stop(self, what: str, update: int) -> NoReturn:
        """End the training; see `not_finite`.

        Raises:
            UserError: always.
        """
        last = Path(self.trainer.default_root_dir) / FOLDER / "last.ckpt"
        kept = read_checkpoint(last)["global_step"] if last.exists() else None
        raise not_finite(self, what, update, self.trained_on, kept)
