"""Optuna as Hydra's sweeper. The plugin of that name is bound to Optuna 2; this one takes what is current, and goes on."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from pydantic import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

_LOGARITHMIC = 100  # a range whose ends are this far apart is searched by its logarithm


class OptunaSweeper(Sweeper):
    """A job a trial, in the sweep's optuna.db; what was killed is gone on with, what is done is kept.

    Args:
        trials: how many in all.
        sampler: `tpe` or `random`.
        pruner: `median`, `hyperband`, or `none`: stop a trial that falls behind.
        at_once: trials that are drawn and run together; None: the launcher's `n_jobs`, else 1.
        startup: trials before the sampler and the pruner have their say.
        seed: of the sampler.
        params: what a config sweeps over by itself; it has been put on the command line by now.
    """

    def __init__(
        self,
        trials: PositiveInt,
        sampler: Literal["tpe", "random"],
        pruner: Literal["median", "hyperband", "none"],
        at_once: PositiveInt | None,
        startup: NonNegativeInt,
        seed: NonNegativeInt,
        params: dict[str, str] | None = None,
    ) -> None:
        self.trials = trials
        self.sampler = sampler
        self.pruner = pruner
        self.at_once = at_once
        self.startup = startup
        self.seed = seed

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's."""
        self.hydra_context = hydra_context
        self.config = self.settings = config
        self.jobs = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that are not done yet.

        Raises:
            UserError: Optuna is not installed, or a setting is none of its.
        """
        from unroll.errors import UsageError, UserError
        from unroll.schema import check
        from unroll.sweep.search import make_pruner, storage_of

        check(OmegaConf.to_container(self.settings.hydra.sweeper, resolve=True), "sweep")
        try:
            import optuna
        except ImportError:
            raise UserError("sweep=optuna needs Optuna: pip install -e '.[sweeps]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder = Path(self.settings.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.settings.hydra.overrides.task, folder / "multirun.yaml")
        overrides = OverridesParser.create().parse_overrides(arguments)
        space = {one.get_key_element(): _distribution(one) for one in overrides if one.is_sweep_override()}
        if not space:
            raise UsageError(
                "sweep=optuna: nothing is searched: give a key several values, as model=lstm,gru, or a range, as "
                "'optimizer.lr=interval(1e-4,1e-2)'"
            )
        fixed = [str(one.input_line) for one in overrides if not one.is_sweep_override()]
        self.validate_batch_is_legal([fixed])
        samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
            "tpe": lambda: optuna.samplers.TPESampler(
                seed=self.seed, n_startup_trials=self.startup, constant_liar=True
            ),
            "random": lambda: optuna.samplers.RandomSampler(seed=self.seed),
        }
        pruner = make_pruner(self.pruner, self.startup)
        assert self.hydra_context is not None
        first = self.hydra_context.config_loader.load_sweep_config(self.settings, fixed)
        study = optuna.create_study(
            study_name=folder.name,
            storage=storage_of(folder),
            sampler=samplers[self.sampler](),
            pruner=pruner,
            direction="minimize" if first.watch.mode == "min" else "maximize",
            load_if_exists=True,
        )
        running = optuna.trial.TrialState.RUNNING
        at_once = self._at_once()
        left_over = study.get_trials(states=(running,))  # by a killed sweep
        while left_over:
            # A launcher counts on from the first: numbers that follow each other can go together.
            first_number = left_over[0].number
            count = sum(trial.number == first_number + place for place, trial in enumerate(left_over[:at_once]))
            self._run(study, left_over[:count], fixed)
            left_over = left_over[count:]
        while (left := self.trials - len(study.trials)) > 0:
            self._run(study, [study.ask(space) for _ in range(min(at_once, left))], fixed)

    def _at_once(self) -> int:
        if self.at_once is not None:
            return self.at_once
        count = int(self.settings.hydra.launcher.get("n_jobs", 1))
        return count if count > 0 else os.cpu_count() or 1

    def _run(self, study: Any, trials: "Sequence[Trial | FrozenTrial]", fixed: list[str]) -> None:
        import optuna

        from unroll.sweep.search import was_pruned

        batch = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
        returned = self.jobs.launch(batch, initial_job_idx=trials[0].number)
        for trial, result in zip(trials, returned, strict=True):
            value = result.return_value
            state = optuna.trial.TrialState.COMPLETE
            if value is None or value != value:
                state, value = optuna.trial.TrialState.FAIL, None
            elif was_pruned(study, trial.number):
                state, value = optuna.trial.TrialState.PRUNED, None
            study.tell(trial.number, value, state=state)


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    from unroll.errors import UsageError

    value = override.value()
    if isinstance(value, RangeSweep):
        start, stop, step = value.start, value.stop, value.step
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
            return IntDistribution(start, stop - 1, step=step)  # as Python's range: without its end
        if start is not None and stop is not None:
            return FloatDistribution(start, stop, step=step)
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        if low is None or high is None or not low < high:
            raise UsageError(f"{override.input_line}: an interval is from less to more")
        logarithmic = low > 0 and high / low >= _LOGARITHMIC
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=logarithmic)
        return FloatDistribution(float(low), float(high), log=logarithmic)
    return CategoricalDistribution(list(override.sweep_string_iterator()))
