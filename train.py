"""Train a recurrent network: `python train.py task=char_lm model=gru`; `python train.py --help` tells more."""

import os
import subprocess
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from unroll.composing import CONF, check_overrides, explained, help_text, named_packages, prepare_resume, write_config
from unroll.errors import UserError, door
from unroll.sweep_table import print_sweep


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def launch(config: DictConfig) -> None:
    """Give the composed config to a process of its own: it brings its memory, its W&B run and its devices."""
    runtime = HydraConfig.get()
    folder = Path(runtime.runtime.output_dir)
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    if runtime.mode is RunMode.RUN:
        try:
            write_config(config, folder, runtime.runtime.choices, runtime.overrides.task)
        except (UserError, OmegaConfBaseException) as error:
            refused.append(error)  # raised from here, Hydra would put words of its own before it
            return
        become_job(folder)
    sweep = Path(runtime.sweep.dir).name
    write_config(config, folder, runtime.runtime.choices, runtime.overrides.task, sweep)
    jobs.append(folder)
    if subprocess.run(job_command(folder)).returncode != 0:
        # Not SystemExit: with an Exception the sweep goes on to its next job.
        raise JobFailed(f"job {runtime.job.num} failed: {folder}")


refused: list[Exception] = []
jobs: list[Path] = []
"""Of a sweep, those that this process has started."""


class JobFailed(UserError):
    """A job of a sweep ended with an error, which it has told itself."""


def job_command(folder: Path, trust: list[str] | None = None) -> list[str]:
    """The command that runs one job. What this command line has composed may name any code; what a folder holds, ours and
    that of the packages to `trust`."""
    flags = ["--own-config"] if trust is None else [f"--trust={package}" for package in trust]
    return [sys.executable, "-m", "unroll.job", str(folder), *flags]


def become_job(folder: Path, trust: list[str] | None = None) -> None:
    """Let the job take the place of this process: signals and the exit code are then its own."""
    os.environ.pop("HYDRA_FULL_ERROR", None)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, job_command(folder, trust))


def main() -> None:
    """Start a run or a sweep, or go on with a run."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(help_text())
        return
    with explained():
        folder = prepare_resume(arguments)
        check_overrides(arguments)
    if folder is not None:
        become_job(folder, named_packages(arguments))
    with explained():
        try:
            launch()
        finally:
            if jobs:
                print_sweep(jobs)
        if refused:
            raise refused[0]


if __name__ == "__main__":
    door(main)
