"""Train a recurrent network: `python train.py task=char_lm model=gru`; `python train.py --help` tells more."""

# ruff: noqa: E402
import os
import signal
import sys
from pathlib import Path

from unroll.loading import until_loaded

until_loaded("interrupted")

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from unroll.composing import (
    CONF,
    check_overrides,
    explained,
    help_text,
    named_packages,
    prepare_resume,
    readable,
    write_config,
    write_config_anew,
)
from unroll.errors import Stopped, UserError, door
from unroll.runs import FAILURE, await_config, beside_others, job_command, later_process
from unroll.sweep.begin import discard_unbegun, interrupted, prepare_sweep, spelled_out
from unroll.sweep.job import run_job
from unroll.sweep.watch import job_folders, watched


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def launch(config: DictConfig) -> float | None:
    """Give the composed config to a process of its own: it brings its memory, its W&B run and its devices."""
    runtime = HydraConfig.get()
    folder = Path(runtime.runtime.output_dir)
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    if runtime.mode is RunMode.RUN:
        try:
            if later_process():
                await_config(folder)
                become_job(folder)
            named = any(argument.startswith("hydra.run.dir=") for argument in runtime.overrides.hydra)
            write = write_config if named or beside_others() else write_config_anew
            folder = write(config, folder, runtime.runtime.choices, runtime.overrides.task) or folder
        except (UserError, OmegaConfBaseException) as error:
            refused.append(error)  # raised from here, Hydra would put words of its own before it
            return None
        become_job(folder)
    return run_job(config, folder, runtime)


refused: list[Exception] = []


def become_job(folder: Path, trust: list[str] | None = None) -> None:
    """Let the job take the place of this process: signals and the exit code are then its own."""
    os.environ.pop("HYDRA_FULL_ERROR", None)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, job_command(folder, trust))


def main() -> None:
    """Start a run or a sweep, or go on with one."""
    sys.argv[1:] = arguments = readable(sys.argv[1:])
    if {"-h", "--help"} & set(arguments):
        print(help_text())
        return
    if {"-m", "--multirun"} & set(arguments):
        sweep(arguments)
        return
    with explained():
        check_overrides(arguments)
        folder = prepare_resume(arguments)
    if folder is not None:
        become_job(folder, named_packages(arguments))
    with explained():
        launch()
        if refused:
            raise refused[0]


def sweep(arguments: list[str]) -> None:
    """Start a sweep, or go on with one; at the end its jobs stand side by side."""
    with explained():
        check_overrides([argument for argument in arguments if not argument.startswith("-")])
        folder, chosen = prepare_sweep(arguments)
        sys.argv[1:] = chosen = spelled_out(chosen)
        try:
            with watched(folder, chosen):
                launch()
        except (KeyboardInterrupt, Stopped):
            raise Stopped(signal.SIGINT, interrupted(folder)) from None
        finally:
            discard_unbegun(folder)
            jobs = job_folders(folder) if folder.exists() else []
            if jobs:
                from unroll.comparison.review import review  # takes a second to load

                review([folder])
        failed = [job for job in jobs if (job / FAILURE).exists()]
        if failed:
            raise UserError(
                f"{len(failed)} of {len(jobs)} jobs failed; the first, {failed[0]}: "
                f"{(failed[0] / FAILURE).read_text().strip()}"
            )


if __name__ == "__main__":
    door(main)
