"""A trial of a search tells how it stands after each validation, and stops where it has fallen behind."""

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback

from unroll.sweep.search import PRUNED, make_pruner, storage_of


class Pruning(Callback):
    """Reports the watched metric to Optuna, in the database of the sweep, whoever runs the job.

    Args:
        folder: the job's; its name is the trial's number.
        metric: what is watched.
        pruner, startup: see `make_pruner`; the database does not hold them.
    """

    def __init__(self, folder: Path, metric: str, pruner: str, startup: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sweep = folder.absolute().parent
        study = optuna.load_study(study_name=sweep.name, storage=storage_of(sweep), pruner=make_pruner(pruner, startup))
        self._trial = optuna.trial.Trial(study, study.trials[int(folder.name)]._trial_id)
        self._metric = metric
        self.stopped_at: int | None = None
        """The step after which it had fallen behind."""

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.state.fn != "fit" or self._metric not in trainer.callback_metrics:
            return
        stop = False
        if trainer.is_global_zero:
            self._trial.report(trainer.callback_metrics[self._metric].item(), trainer.global_step)
            stop = self._trial.should_prune()
            if stop:
                self._trial.set_user_attr(PRUNED, trainer.global_step)
        if trainer.strategy.broadcast(stop):
            trainer.should_stop = True
            self.stopped_at = trainer.global_step
