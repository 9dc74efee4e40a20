"""One run, from its folder's config.yaml: `python -m unroll.job FOLDER`.

The same in a sweep, under DDP (each process comes through here) and on resuming.
"""

# ruff: noqa: E402
import argparse
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from unroll.loading import until_loaded


def _goes_on(folder: Path, packages: Sequence[str] = ()) -> str:
    told = [f"resume={folder}", *(f"trust={package}" for package in packages)]
    return f"`python train.py {' '.join(map(shlex.quote, told))}` goes on"


if __name__ == "__main__":
    until_loaded(f"interrupted before its first step; {_goes_on(Path(sys.argv[1]))}")

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import WandbLogger

from unroll.building import build_data, build_task, check, load_spec
from unroll.checkpoint import read_checkpoint
from unroll.comparison.rows import differences
from unroll.console import log, log_to, quiet
from unroll.data.base import Data
from unroll.errors import Stopped, UsageError, UserError, did_you_mean, door, one_line
from unroll.locking import locked
from unroll.machine import Choices, free_speed
from unroll.metrics_csv import MetricsCSV
from unroll.recurrent import Recurrent
from unroll.runs import CONFIG, SETTINGS, SUMMARY, check_size, checkpoint_path, discard, load_weights, read_config
from unroll.stopping import stop_at_once
from unroll.summary import budget, finish, parameters
from unroll.tasks.base import Task
from unroll.trainer import build_loggers, build_trainer, check_optimizer, rank
from unroll.training_log import TrainingLog
from unroll.trust import check_trusted, packages_of_others

_TOLD = 3  # settings in which two models differ


def main() -> None:
    """Read the command line and run the job."""
    parser = argparse.ArgumentParser(prog="python -m unroll.job", description="Run, or go on with, a run's folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--own-config", action="store_true", help="the config is one's own: it may name any code")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="code that a config may name")
    options = parser.parse_args()
    if os.getsid(0) == os.getpid():  # as a sweep's job has it
        # What a shell ignores for a command in the background is no business of a session of its own: the sweep stops it so.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    stop_at_once()
    run(options.folder, None if options.own_config else options.trust)


def run(folder: Path, trust: list[str] | None = None) -> None:
    """Train, or go on training, as the folder's config says; evaluate; write the summary.

    Args:
        folder: the run's.
        trust: packages whose code its config may name, beside ours; None: any, for a config that is one's own.

    Raises:
        UserError: something is wrong with the config, the data, or the checkpoint. Of a new run that did not get as far
            as training, nothing is left behind.
    """
    config = read_config(folder)
    if trust is not None:
        check_trusted(config, trust, str(folder / CONFIG))
    if rank():
        _run(config, folder)
        return
    with locked(folder, "a run"):
        _run(config, folder)


def _run(config: dict[str, Any], folder: Path) -> None:
    resumed = checkpoint_path(folder, "last").exists()
    # What has a log was begun, and killed before its first checkpoint.
    fresh = not resumed and not (folder / "train.log").exists()
    quiet()
    goes_on = _goes_on(folder, packages_of_others(config))
    choices, settings = None, "torch's own"
    if config["free_speed"]:
        choices, settings = free_speed(Choices.read(folder / SETTINGS))
    try:
        check(config)
        data, task, trainer, training_log, described = _build(config, folder, resumed)
    except Stopped as stopped:
        raise Stopped(stopped.number, f"{stopped} before its first step; {goes_on}") from None
    except (UserError, OSError) as error:
        _discard_unbegun(config, folder, fresh)
        if config["choices"]["sweep"]:
            _record_failure(config, folder, error)
        raise _told_once(error) from None
    if trainer.is_global_zero:
        if not resumed:
            data.save(folder)
        if choices is not None:
            choices.write(folder / SETTINGS)
        log_to(folder / "train.log")
    title = f"{_title(config)}: {parameters(task):,} parameters, {_paths(config, task, trainer)} path over time"
    for line in [title, f"settings: {settings}", *described]:
        log.info(line)
    last = checkpoint_path(folder, "last") if resumed else None
    if last is not None and (folder / SUMMARY).exists():
        if _is_finished(read_checkpoint(last), config, folder):
            early = json.loads((folder / SUMMARY).read_text()).get("ended_early")
            if early:
                log.info(f"{folder}: ended early, {early}; init_from={folder} begins a new run from its best weights")
            else:
                log.info(f"{folder}: has reached its budget; trainer.max_steps=N with a larger N goes on")
            return
        if trainer.is_global_zero:
            (folder / SUMMARY).unlink()  # of a shorter run
    trainer.loggers = [MetricsCSV(folder / "metrics.csv"), *build_loggers(config, folder)]
    finished = False
    try:
        before = None if last is None else read_checkpoint(last)["global_step"]
        trainer.fit(task, data, ckpt_path=last, weights_only=True)
        if trainer.global_step == before:
            ends = ", ".join(
                f"trainer.{key}={value}" for key, value in budget(config).items() if value not in (None, -1)
            )
            log.info(f"no step was left to train: {ends} end this run after step {before}")
        finish(config, trainer, task, data, training_log, folder)
        finished = True
    except (MisconfigurationException, ValueError, UserError) as error:
        if training_log.begun:
            raise
        _discard_unbegun(config, folder, fresh)
        # Lightning speaks of its own arguments.
        told = re.sub(r"`(?:Trainer\()?(\w+)(=None)?\)?`", _as_key, one_line(error))
        raise _told_once(error if isinstance(error, UserError) else UsageError(told)) from None
    except Stopped as stopped:
        if not trainer.is_global_zero:  # the first process tells
            raise SystemExit(128 + stopped.number) from None
        raise Stopped(stopped.number, f"{stopped}; {goes_on}") from None
    except RuntimeError as error:
        if trainer.world_size > 1 and _tells_of_another(error):
            reason = f"another process of this run has ended, or cannot be reached any more ({one_line(error)[:120]})"
            raise UserError(f"{reason}: {goes_on}") from None
        raise
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise Stopped(signal.SIGINT, f"interrupted after step {trainer.global_step}; {goes_on}") from None
    finally:
        _close(trainer, finished)


def _build(
    config: dict[str, Any], folder: Path, resumed: bool
) -> tuple[Data, Task, lightning.Trainer, TrainingLog, list[str]]:
    lightning.seed_everything(config["seed"], workers=True, verbose=False)
    data = build_data(config)
    source = Path(config["init_from"]) if config["init_from"] and not resumed else None
    if resumed:
        data.check_unchanged(folder)
        data.adopt(load_spec(config, folder))
    elif source is not None:
        data.adopt(_spec_of(source, config))
    data.prepare_data()
    if resumed:
        last = checkpoint_path(folder, "last")
        check_size(config, data.spec, read_checkpoint(last), last)
    task = build_task(config, data.spec)
    told = data.describe()
    if not resumed:
        told += task.check(data)
    if source is not None:
        _take_weights(task, source, config)
    elif not resumed:
        told += task.begin(data)
    trainer, training_log = build_trainer(config, folder)
    check_optimizer(config)
    measured = [f"val/{name}" for name in task.evaluation_metrics]
    if config["watch"]["metric"] not in measured:
        metric = config["watch"]["metric"]
        raise UsageError(f"watch.metric={metric}: is not measured; {did_you_mean(metric, measured)}")
    return data, task, trainer, training_log, told


def _as_key(argument: re.Match[str]) -> str:
    return f"trainer.{argument[1]}{'=null' if argument[2] else ''}"


def _discard_unbegun(config: dict[str, Any], folder: Path, fresh: bool) -> None:
    """Of a run that was refused before its first step nothing stays. A sweep's job keeps its config, to be looked at."""
    if fresh and not config["choices"]["sweep"] and _local_rank() == 0:
        discard(folder)


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))


def _record_failure(config: dict[str, Any], folder: Path, error: Exception) -> None:
    """W&B shows a job of a sweep that was refused as failed, and why."""
    with suppress(Exception):  # the config itself may be what is wrong
        for logger in build_loggers(config, folder):
            cast(WandbLogger, logger).experiment.summary["error"] = one_line(error)
            cast(WandbLogger, logger).experiment.finish(exit_code=1)


def _told_once(error: UserError | OSError) -> BaseException:
    """What is wrong before the first step is so for every process: the first one of a machine tells."""
    if isinstance(error, UserError) and _local_rank() != 0:
        return SystemExit(error.exit_code)
    return error


def _tells_of_another(error: RuntimeError) -> bool:
    """Is it about the connection to another process? Of gloo there is no kind of error of its own."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def _spec_of(source: Path, config: dict[str, Any]) -> Any:
    """The spec of the run that a new one, of this config, takes its weights from."""
    theirs = read_config(source)
    if theirs["task"].get("_target_") != config["task"]["_target_"]:
        raise UsageError(f"init_from={source}: is a run of another task; its weights do not fit this one")
    check_trusted(theirs["data"], [config["trust"]] if config["trust"] else [], str(source / CONFIG), "data")
    return load_spec(theirs, source)


def _take_weights(task: Task, source: Path, config: dict[str, Any]) -> None:
    """Begin from a run's best weights."""
    path = checkpoint_path(source, "best")
    try:
        load_weights(task, read_checkpoint(path), path)
    except UserError:
        differing = [
            f"{group}.{key} is {theirs or 'not there'}, and {ours or 'not there'} here"
            for group in ("model", "task")
            for key, theirs, ours in differences(read_config(source)[group], config[group])
        ]
        if not differing:
            raise
        told = "; ".join(differing[:_TOLD])
        raise UsageError(f"init_from={source}: its weights do not fit this model: {told}") from None


def _is_finished(checkpoint: dict[str, Any], config: dict[str, Any], folder: Path) -> bool:
    summary = json.loads((folder / SUMMARY).read_text())
    return summary["steps"] == checkpoint["global_step"] and summary["budget"] == budget(config)


def _title(config: dict[str, Any]) -> str:
    choices = config["choices"]
    return f"{choices['task']} · {choices['data']} · {choices['model']} · {choices['truncation']}"


def _paths(config: dict[str, Any], task: Task, trainer: lightning.Trainer) -> str:
    like = torch.empty(0, config["data"].get("batch_size", 64), 0, device=trainer.strategy.root_device)
    lengths = like if task.ragged else None
    stacks = [module for module in task.modules() if isinstance(module, Recurrent)]
    return " and ".join(dict.fromkeys(stack.path(like, lengths) for stack in stacks))


def _close(trainer: lightning.Trainer, finished: bool) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            error = sys.exception()
            if error is not None:
                logger.experiment.summary["error"] = f"{type(error).__name__}: {one_line(error)}"
            offline = logger.experiment.settings._offline
            logger.experiment.finish(exit_code=0 if finished else 1)
            if offline:
                log.info(f"W&B      offline; `wandb sync {trainer.default_root_dir}/wandb/offline-run-*` sends it up")
    if torch.distributed.is_available() and torch.distributed.is_initialized() and finished:
        # Without a common end, one process may tear the connection down under another: aborts at exit were seen.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    for handler in log.handlers:
        handler.close()


if __name__ == "__main__":
    door(main)
