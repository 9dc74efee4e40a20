"""The average of the weights that training goes through."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from pydantic import NonNegativeInt


class NonMonotonicAveraging(WeightAveraging):
    """Once a validation is worse than the best of those before the last few, weights are averaged from there on; the
    averages are what is validated and kept (NT-ASGD: Merity et al. 2017, algorithm 1).

    With plain SGD at a constant rate that is averaged SGD (Polyak & Juditsky 1992), begun where the rate is too large to
    lead any further down.

    Args:
        monitor: the watched metric.
        mode: `min` or `max`: which way is better.
        patience: how many of the last validations are not asked (n).
    """

    def __init__(self, monitor: str, mode: str, patience: NonNegativeInt) -> None:
        super().__init__(use_buffers=False)
        self.monitor = monitor
        self.sign = 1 if mode == "min" else -1
        self.patience = patience
        self.history: list[float] = []
        """What validations found, lower is better."""
        self.begun = False

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return self.begun and step_idx is not None

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        found = self.sign * trainer.callback_metrics[self.monitor].item()
        before = self.history[: max(0, len(self.history) - self.patience)]
        self.begun = self.begun or (bool(before) and found > min(before))
        self.history.append(found)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The weights stay what they are: training may go on from them."""

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def _follow(self, module: lightning.LightningModule) -> None:
        """Until averaging has begun, the average is what the weights are."""
        if not self.begun and self._average_model is not None:
            self._average_model.n_averaged.zero_()
            self._average_model.update_parameters(module)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "history": self.history, "begun": self.begun}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.history, self.begun = state_dict["history"], state_dict["begun"]
