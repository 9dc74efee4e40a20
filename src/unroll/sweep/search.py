"""What a search and its trials, each in a process of its own, must agree on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unroll.errors import UsageError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

PRUNED = "pruned at step"
"""Of a trial that was stopped: an attribute that says when."""


def database(sweep: Path) -> Path:
    """Where the trials of a sweep are."""
    return sweep / "optuna.db"


def storage_of(sweep: Path) -> str:
    """The same, as Optuna names it."""
    return f"sqlite:///{database(sweep).absolute()}"


def make_pruner(name: str, startup: int) -> "BasePruner":
    """When a trial is stopped: `median`, `hyperband` or `none`; see conf/sweep/optuna.yaml.

    Raises:
        UsageError: another name.
    """
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=startup)
    if name == "hyperband":
        return pruners.HyperbandPruner()
    if name == "none":
        return pruners.NopPruner()
    raise UsageError(f"sweep.pruner={name}: one of median, hyperband, none")


def was_pruned(study: Any, number: int) -> bool:
    """Did a trial stop because it had fallen behind?"""
    return PRUNED in study.trials[number].user_attrs
