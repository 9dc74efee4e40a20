"""A run's folder: where things lie in it, what is read from it, and which of several processes does so."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unroll.errors import UsageError, UserError, did_you_mean
from unroll.locking import LOCK

if TYPE_CHECKING:
    from unroll.tasks.base import Task

CONFIG = "config.yaml"
SUMMARY = "summary.json"
FINGERPRINT = "fingerprint"
"""What tells whether the data is still that which the run was begun with."""
SETTINGS = "settings.json"
"""What of `unroll.machine.free_speed` the run takes, whoever goes on with it."""
FAILURE = "failure.txt"
"""Of a sweep's job that failed: why, in one line."""
PROGRESS = "progress.txt"
"""Of a sweep's job: how far it is."""
CONSOLE = "console.log"
"""Of a sweep's job: what it said."""
_LARGE = 10**8
"""Numbers that a machine has room for, whatever a checkpoint has."""
BUDGET_KEYS = ("max_steps", "max_epochs", "max_time")
"""Of the trainer: what ends a run, and may be changed when it goes on."""


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run.

    Raises:
        UserError: the folder is no run's, or has a link that leads out of it.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = folder / CONFIG
    if not path.is_file():
        if folder.is_file() and (run := folder.resolve().parent.parent / CONFIG).is_file():
            raise UserError(f"{folder}: is a file of the run {run.parent}: give that folder")
        what = f"there is no {CONFIG} in it" if folder.is_dir() else "there is no such folder"
        raise UserError(f"{folder}: is not a run's folder ({what}); runs lie in outputs/DATE/TIME_task_model")
    _check_links(folder)
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    parts = ("task", "model", "data", "trainer", "choices")
    if not isinstance(config, dict) or not all(isinstance(config.get(part), dict) for part in parts):
        raise UserError(f"{path}: is not the config of a run")
    return {str(key): value for key, value in config.items()}


def _check_links(folder: Path) -> None:
    """What is read and written in a run's folder lies in it, whoever has made the folder."""
    inside = folder.resolve()
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise UserError(f"{path}: is a link out of the run's folder: put what it leads to in its place")
        if Path(root) == folder and "wandb" in folders:
            folders.remove("wandb")  # which links to its own logs; nothing of ours is read or written there


def read_overrides(folder: Path) -> list[str]:
    """What the command line of a run said, as KEY=VALUE each; nothing where that cannot be read."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        listed = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError):
        return []
    return [str(item) for item in listed] if isinstance(listed, list) else []


def job_command(folder: Path, trust: Sequence[str] | None = None) -> list[str]:
    """The command that runs one job. What one's own command line has composed may name any code (None); what a folder holds,
    ours and that of the packages to `trust`."""
    flags = ["--own-config"] if trust is None else [f"--trust={package}" for package in trust]
    return [sys.executable, "-m", "unroll.job", str(folder), *flags]


def later_process() -> bool:
    """Has torchrun or SLURM started this process beside others, as another than the first?"""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) > 0


def beside_others() -> bool:
    """Has torchrun or SLURM started several processes for this run?"""
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1


def await_config(folder: Path, wanted: dict[str, Any] | None = None, seconds: float = 120.0) -> None:
    """Wait until the first process has written a run's config.

    Args:
        folder: the run's.
        wanted: what is to stand in it; None: anything.
        seconds: how long.

    Raises:
        UserError: it has not, in so many seconds.
    """
    end = time.monotonic() + seconds
    while not (folder / CONFIG).is_file() or (wanted is not None and read_config(folder) != wanted):
        if time.monotonic() > end:
            raise UserError(
                f"{folder}: the first process has begun no run there: give all of them one folder, as hydra.run.dir=RUN"
            )
        time.sleep(0.1)


def discard(folder: Path) -> None:
    """Take away what a run that never began has put into its folder, and the folder if nothing else is in it."""
    (folder / CONFIG).unlink(missing_ok=True)
    for name in (
        LOCK,
        "vocabulary.json",
        "tokenizer.json",
        "labels.json",
        "source_tokenizer.json",
        "target_tokenizer.json",
        "languages.json",
        "series.json",
        "symbols.json",
        "pixels.json",
        "pictures.json",
        FINGERPRINT,
        SETTINGS,
        "train.log",
        "metrics.csv",
        "wandb_run.json",
    ):
        (folder / name).unlink(missing_ok=True)
    for name in (".hydra", "wandb"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()


def places(config: dict[str, Any]) -> list[str]:
    """The keys of a run's `data` that tell where it lies."""
    return [key for key in config["data"] if key in ("path", "folder") or key.endswith("_path")]


def checkpoint_path(folder: Path, which: str) -> Path:
    """`best` and `last` name a run's checkpoints; anything else is a file's path. Of a run without a validation, which has no
    best one, the last is it."""
    best, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    if which == "best":
        return last if last.exists() and not best.exists() else best
    return last if which == "last" else Path(which)


def note_last(folder: Path, checkpoint: str) -> None:
    """Say so where the best checkpoint is asked for and the run has not come to a validation: the last one is taken."""
    unvalidated = checkpoint == "best" and not (folder / SUMMARY).exists()
    if unvalidated and checkpoint_path(folder, "best").stem == "last":
        print(f"note: {folder} has no best checkpoint yet: its last one is taken", file=sys.stderr)


def load(
    folder: str | Path, checkpoint: str = "best", trust: Sequence[str] = (), settings: Sequence[str] = ()
) -> "Task":
    """A trained task from its run's folder, on the CPU and ready to use.

        model = unroll.load("outputs/2026-01-31/12-00-00_char_lm_lstm")
        print("The " + model.write("The ", length=200, temperature=0.7)[0])

    Args:
        folder: the run's.
        checkpoint: `best`, `last`, or a file's path.
        trust: packages, beside this one, whose code the run's config may name: those of your own cells.
        settings: of the task, other ones than in training, as `task.samples=500`: what changes no weight.

    Raises:
        UsageError: a setting that is none.
        UserError: the folder is no run's, it names code of others or some that cannot be imported, or the checkpoint is
            not there, not whole, or another model's.
    """
    from unroll.building import build_task, check, load_spec
    from unroll.checkpoint import read_checkpoint
    from unroll.trust import check_trusted

    folder = Path(folder)
    config = changed(read_config(folder), settings)
    check_trusted(config, list(trust), str(folder / CONFIG))
    if trust and os.getcwd() not in sys.path:  # where one's own cells lie while one works on them
        sys.path.append(os.getcwd())
    check(config)
    path = checkpoint_path(folder, checkpoint)
    weights = read_checkpoint(path)
    spec = load_spec(config, folder)
    check_size(config, spec, weights, path)
    task = build_task(config, spec)
    try:
        load_weights(task, weights, path)
    except UserError:
        if settings and not checkpoint.endswith((".ckpt", ".safetensors")):
            told = " ".join(settings)
            raise UsageError(f"{told}: changes what weights there are; what is set here can change none") from None
        raise
    return task.eval()


def check_size(config: dict[str, Any], spec: Any, checkpoint: dict[str, Any], path: Path) -> None:
    """Is a config's model about as large as the weights that are to go into it? Asked before memory is taken for it.

    Raises:
        UserError: it is far larger.
    """
    import torch

    from unroll.building import build_task

    weights = checkpoint.get("state_dict", {})
    given, layers = sum(weight.numel() for weight in weights.values()), config["model"].get("num_layers", 1)
    told = (
        f"{path}: is a checkpoint of another model: it has {len(weights)} tensors of {given:,} numbers, and the config"
    )
    if layers > len(weights):
        raise UserError(f"{told} {layers:,} layers")
    for key, value in {**config["model"], **config["task"]}.items():
        if isinstance(value, int) and value > max(given, _LARGE):
            raise UserError(f"{told} {key}={value:,}")
    try:
        with torch.device("meta"):
            wanted = sum(weight.numel() for weight in build_task(config, spec).state_dict().values())
    except (UserError, MemoryError):
        raise
    except Exception:  # a cell of one's own, whose weights begin with what only numbers have
        return
    if wanted > max(4 * given, _LARGE):
        raise UserError(f"{told} {wanted:,}")


def changed(config: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A run's config with other settings of its task.

    Raises:
        UsageError: one is not of the form task.KEY=VALUE, or the task has no such KEY.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    for setting in settings:
        key, equals, value = setting.partition("=")
        name = key.removeprefix("task.")
        if not equals or name == key or not name or "." in name:
            raise UsageError(f"{setting}: is no setting of the task: they are written task.KEY=VALUE")
        known = sorted(key for key in config["task"] if not key.startswith("_"))
        if name not in known:
            raise UsageError(f"task.{name}: there is no such key; {did_you_mean(name, known)}")
        try:
            found = OmegaConf.to_container(OmegaConf.from_dotlist([f"{name}={value}"]))
        except YAMLError:
            raise UsageError(f"{setting}: {value} cannot be read as a value") from None
        config = {**config, "task": {**config["task"], **cast(dict[str, Any], found)}}
    return config


def load_weights(task: "Task", checkpoint: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's weights into a task.

    Raises:
        UserError: it is another model's.
    """
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except (KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip() if isinstance(error, RuntimeError) else "no weights in it"
        raise UserError(f"{path}: is a checkpoint of another model: {reason}") from None
    if checkpoint.get("spec_digest", task.spec_digest) != task.spec_digest:
        raise UserError(
            f"{path}: is a checkpoint of a model with another vocabulary or tokenizer: take one of this run"
        )
