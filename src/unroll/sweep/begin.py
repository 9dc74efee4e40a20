"""How a sweep begins, and goes on: its folder, and what Hydra is told."""

import json
import os
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unroll.composing import CONF, groups, named_packages
from unroll.errors import UsageError, UserError
from unroll.sweep.job import TRUST
from unroll.sweep.watch import job_folders
from unroll.writing import written_whole

ARGUMENTS = "sweep.json"
# What a job asks for, as a number or a name: nothing of it is run.
_ASKED = re.compile(
    r"hydra\.launcher\.(n_jobs|timeout_min|array_parallelism|signal_delay_s|max_num_timeout|name|partition|qos|account|constraint"
    r"|exclude|gres|cpus_per_(task|gpu)|gpus_per_(node|task)|mem_gb|mem_per_(cpu|gpu))=[\w.,:&|\[\]'-]*"
)
_NO_PARAMS = "hydra.sweeper.params=null"


def prepare_sweep(arguments: list[str]) -> tuple[Path, list[str]]:
    """Where a sweep lies, and what Hydra is to be told.

    Args:
        arguments: of the command line; with `resume=FOLDER` those of that sweep are taken.

    Returns:
        The sweep's folder and the arguments.

    Raises:
        UsageError: nothing else may be given with `resume=`, or the folder holds a sweep already.
        UserError: the folder is no sweep's.
    """
    resumed = [argument for argument in arguments if argument.startswith("resume=")]
    if resumed and resumed[-1] != "resume=null":
        return _resumed(Path(resumed[-1].removeprefix("resume=").strip("'\"")), arguments)
    folder = _sweep_folder(arguments)
    if (folder / ARGUMENTS).exists():
        raise UsageError(
            f"{folder}: holds a sweep already: go on with it by -m {shlex.quote(f'resume={folder}')}, or name another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept = [argument for argument in arguments if not argument.startswith("hydra.sweep.dir=")]
    with written_whole(folder / ARGUMENTS) as unfinished:
        unfinished.write_text(json.dumps({"folder": os.getcwd(), "arguments": kept}, indent=2) + "\n")
    os.environ.pop(TRUST, None)
    return folder, [*kept, _quoted("hydra.sweep.dir", folder)]


def _resumed(folder: Path, arguments: list[str]) -> tuple[Path, list[str]]:
    try:
        stored = json.loads((folder / ARGUMENTS).read_text())
        kept, begun_in = [str(argument) for argument in stored["arguments"]], Path(stored["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder}: is no sweep's folder ({ARGUMENTS} is not there, or not whole); without -m, resume= goes on with a run"
        ) from None
    others = []
    for argument in arguments:
        if argument.startswith(("resume=", "trust=")) or argument in ("-m", "--multirun", *kept):
            continue
        if not argument.startswith(("launcher=", "hydra.launcher.")):
            raise UsageError(
                f"resume: {argument} cannot be changed in a sweep that goes on; what can: launcher, hydra.launcher.KEY"
            )
        others.append(argument)
    if any(argument.startswith("launcher=") for argument in others):
        kept = [argument for argument in kept if not argument.startswith(("launcher=", "hydra.launcher."))]
    if not named_packages(arguments):
        _check_harmless(kept, folder / ARGUMENTS)
    folder = folder.absolute()
    if begun_in.is_dir():  # what the jobs read by relative paths lies there
        os.chdir(begun_in)
    os.environ[TRUST] = json.dumps(named_packages(arguments))
    return folder, [*kept, *others, _quoted("hydra.sweep.dir", folder)]


def _check_harmless(arguments: list[str], source: Path) -> None:
    """A folder may come from somebody else: of what is stored in it nothing is to name code, or configs that could.

    Raises:
        UserError: something does.
    """
    for argument in arguments:
        key, _, value = argument.lstrip("+~").partition("=")
        asks = _ASKED.fullmatch(argument.lstrip("+~"))
        own = key.startswith("hydra") and not key.startswith("hydra.sweep.") and not asks
        flag = argument.startswith("-") and argument not in ("-m", "--multirun")
        path = key.partition("@")[0] in groups() and not re.fullmatch(r"[\w, ()-]+", value)
        if own or flag or path:
            raise UserError(
                f"{source}: {argument} is not taken from a file, unless trust=PACKAGE names your own package; or begin anew "
                "with your own command line"
            )


def _quoted(key: str, path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{text}'"


def spelled_out(arguments: list[str]) -> list[str]:
    """The arguments, with what a config of them sweeps over by itself (hydra.sweeper.params) as if it stood on the command
    line: what really stands there replaces it, where Hydra would run both."""
    params = _composed(arguments).hydra.sweeper.get("params")
    if not params:
        return _with_their_groups(arguments)
    given = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    return _with_their_groups(
        [
            *arguments,
            *(f"{key}={value}" for key, value in params.items() if key.lstrip("+") not in given),
            _NO_PARAMS,
        ]
    )


def _with_their_groups(arguments: list[str]) -> list[str]:
    """The arguments, with keys that only what is swept over has (`model=skip,skip_only model.cell.distance=3`) as if they
    were swept over too. Hydra first composes what does not change, where it would look for them in vain."""
    parsed = OverridesParser.create().parse_overrides(
        [argument for argument in arguments if "=" in argument and argument[0] != "-"]
    )
    if not any(one.is_sweep_override() and one.key_or_group in groups() for one in parsed):
        return arguments
    try:
        _composed([str(one.input_line) for one in parsed if not one.is_sweep_override()])
        return arguments
    except (OmegaConfBaseException, HydraException):
        keys = {str(one.input_line) for one in parsed if not one.is_sweep_override() and _is_a_groups(one)}
    return [
        f"{argument.partition('=')[0]}=choice({argument.partition('=')[2]})" if argument in keys else argument
        for argument in arguments
    ]


def _is_a_groups(override: Override) -> bool:
    group, _, key = override.key_or_group.partition(".")
    return bool(key) and group in groups() and not override.is_add() and not override.is_delete()


def _sweep_folder(arguments: list[str]) -> Path:
    """What hydra.sweep.dir is for these arguments."""
    config = _composed(arguments)
    folder = Path(str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["dir"]))  # type: ignore[call-overload,index]
    return Path(str(config.hydra.sweep.dir)) if "${" in str(folder) else folder


def _composed(arguments: list[str]) -> DictConfig:
    """With Hydra's own part; of what is swept the first is taken."""
    first = []
    config_dir: list[str] = []
    expects = ""
    for argument in arguments:
        if expects:
            config_dir, expects = [argument], ""
        elif argument in ("--config-dir", "-cd"):
            expects = argument
        elif argument.startswith("--config-dir="):
            config_dir = [argument.partition("=")[2]]
        elif not argument.startswith("-"):
            first.append(argument)
    search = [f"hydra.searchpath=[file://{Path(config_dir[0]).absolute()}]"] if config_dir else []
    chosen = [_first(override) for override in OverridesParser.create().parse_overrides(first)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*search, *chosen], return_hydra_config=True)


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    if override.is_discrete_sweep():
        return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    return f"{override.get_key_element()}={interval.start}"


def discard_unbegun(folder: Path) -> None:
    """Of a sweep that was refused before its first job nothing stays."""
    if not job_folders(folder):
        for name in (ARGUMENTS, "multirun.yaml"):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def interrupted(folder: Path) -> str:
    """What is said after Ctrl-C."""
    return f"interrupted: `{Path(sys.argv[0]).name} -m {shlex.quote(f'resume={folder}')}` goes on"
