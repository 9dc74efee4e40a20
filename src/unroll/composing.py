"""From a command line to a run's folder with its resolved config; mistakes are answered in one line."""

import itertools
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from unroll import schema
from unroll.errors import UsageError, UserError, did_you_mean
from unroll.locking import is_locked, locked
from unroll.runs import BUDGET_KEYS, CONFIG, FINGERPRINT, await_config, discard, later_process, places, read_config
from unroll.writing import written_whole

CONF = next(
    (
        conf
        for root in (Path(__file__).parents[2], Path(sys.argv[0]).resolve().parent)
        if (conf := root / "conf").is_dir()
    ),
    Path("conf"),
)
"""Beside the source; where that was installed without (`pip install .`), beside the door."""

_DEVICE_KEYS = ("accelerator", "devices", "num_nodes", "strategy")

_HELP = """\
Train a recurrent network.

  python train.py                                            a first model: no network, no account
  python train.py model=gru truncation=k128                  another cell, another reach of gradients
  python train.py data=text_files data.path='notes/*.txt'    your own text
  python train.py model.hidden_size=512 model.num_layers=2 trainer.max_steps=9000
  python train.py resume=outputs/DATE/TIME_task_model        go on exactly where it was stopped
  python train.py -m model=rnn,lstm,gru truncation=k8,k64    a sweep: every combination
  python train.py -m sweep=optuna 'optimizer.lr=interval(1e-4,1e-2)' sweep.trials=40    a search
  python train.py -m launcher=parallel seed=1,2,3            several jobs at once
  python train.py -m resume=outputs/multirun/DATE_TIME       go on with a sweep

Groups and their options, as GROUP=OPTION:
{groups}
Any key is set as GROUP.KEY=VALUE. The files in conf/ say what each key does and what it is by default;
`python train.py --cfg job` shows all that a command line would set, without running it; --hydra-help tells the rest."""


def help_text() -> str:
    """What `train.py --help` says."""
    options = groups()
    width = max(map(len, options)) + 2
    return _HELP.format(
        groups="".join(
            textwrap.fill(
                ", ".join(options[name]), 110, initial_indent=f"  {name:<{width}}", subsequent_indent=" " * (width + 2)
            )
            + "\n"
            for name in options
        )
    )


def groups() -> dict[str, list[str]]:
    """The config groups and their options; a name that begins with _ is a part of others, not an option."""
    found: dict[str, list[str]] = {}
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        names = [path.stem for path in folder.glob("*.yaml") if not path.stem.startswith("_")]
        # k8 before k16: by the number in it, where there is one.
        names.sort(key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
        if names:
            found[folder.name] = names
    return found


def readable(arguments: list[str]) -> list[str]:
    """The arguments, with quotes around values of letters that Hydra's grammar does not have, as in the path of a file."""
    return [_in_quotes(argument) for argument in arguments]


def _in_quotes(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key.startswith("-") or value.isascii() or re.search(r"""[,'"\[\]{}()]""", value):
        return argument
    return f"{key}='{value}'"


@contextmanager
def explained() -> Iterator[None]:
    """Turn Hydra's errors into one line each.

    HYDRA_FULL_ERROR=1, Hydra's own switch, makes it raise; who has set it wants the frames and gets them.
    """
    if "HYDRA_FULL_ERROR" in os.environ:
        yield
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise in_one_line(error) from None
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def in_one_line(error: Exception) -> UsageError:
    """What is wrong with a command line, of Hydra's or OmegaConf's error."""
    message = str(error)
    match error:
        case MissingConfigException():
            return _no_such_option(message)
        case OverrideParseException():
            key, equals, value = str(error.override).partition("=")
            quotes = (
                f"; a value with signs of Hydra's own takes quotes within quotes: \"{key}='{value}'\"" if equals else ""
            )
            return UsageError(f"{error.override}: is not of the form KEY=VALUE ({message.splitlines()[0]}){quotes}")
        case CompactHydraException():
            if isinstance(error.__cause__, OmegaConfBaseException):
                return _no_such_key(error.__cause__, message)
        case MissingMandatoryValue():
            return UsageError(f"{error.full_key} has no value: give it one, as {error.full_key}=VALUE")
        case InterpolationKeyError():
            return UsageError(f"{error.full_key}: {message.splitlines()[0]}")
    if "does not support sweep type" in message:
        return UsageError("a range, as interval(1e-4,1e-2), is searched: add sweep=optuna, or list its values")
    return UsageError(" ".join(message.split()))


def check_overrides(arguments: list[str]) -> None:
    """Answer what Hydra would answer with a traceback: no name where a group's option belongs, a key taken away.

    Raises:
        UsageError: as said.
    """
    for argument in arguments:
        if argument.startswith("~") and not argument.startswith("~callbacks."):
            raise UsageError(
                f"{argument}: only a callback can be taken away, as ~callbacks.samples; a key that may be empty "
                "takes null: KEY=null"
            )
        group, equals, value = argument.partition("=")
        if (group, value) == ("experiment", "null"):
            continue
        if equals and group in groups() and re.fullmatch(r"([\d,.]+|null|true|false)?", value.lower()):
            near = f"{group}=k{value}, " if f"k{value}" in groups()[group] else ""
            number = f" or {group}.length={value}" if group == "truncation" else ""
            raise UsageError(f"{argument}: options are names; {near}one of {', '.join(groups()[group])}{number}")


def _no_such_option(message: str) -> UsageError:
    found = re.search(r"Could not find '([^']*)/([^'/]*)'", message)
    if not found:
        return UsageError(" ".join(message.split()))
    group, option = found.groups()
    if group.startswith("hydra/"):
        extra = "ray" if option == "ray" else "sweeps"
        return UsageError(f"{group.removeprefix('hydra/')}={option}: is not installed: pip install -e '.[{extra}]'")
    # Hydra lists those of a user's own --config-dir, too.
    listed = message.partition("Available options in")[2].partition("Config search path")[0]
    own = [name for name in re.findall(r"^\t(\w+)$", listed, re.M) if not name.startswith("_")]
    valid = list(dict.fromkeys([*groups().get(group, []), *own]))
    return UsageError(f"{group}={option}: there is no such option; {did_you_mean(option, valid)}")


def _no_such_key(cause: OmegaConfBaseException, message: str) -> UsageError:
    path = cause.full_key or ""
    if not isinstance(cause.parent_node, DictConfig) or "not in struct" not in str(cause):
        return UsageError(f"{path}: {' '.join((str(cause) or message).splitlines()[0].split())}")
    valid = {str(key) for key in cause.parent_node if not str(key).startswith("_")} - {"hydra"}
    if "." not in path:
        valid |= groups().keys()
    prefix, _, name = path.rpartition(".")
    return UsageError(
        f"{path}: there is no such key{f' in {prefix}' if prefix else ''}; {did_you_mean(name, sorted(valid))}"
    )


def write_config(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    overrides: Iterable[str] = (),
    sweep: str | None = None,
) -> None:
    """Put the resolved config into a run's folder, with the choices that made it.

    Args:
        config: as composed.
        folder: the run's, which exists.
        choices: Hydra's record of them, group -> option.
        overrides: what was written on the command line; kept in .hydra/overrides.yaml.
        sweep: the name of the sweep that the run is a job of.

    Raises:
        UserError: the folder holds a run already, or another process is at work there.
        MissingMandatoryValue, InterpolationKeyError: a value is missing; of a fresh folder nothing is then left.
    """
    with locked(folder, "a run"):
        _write_config(config, folder, choices, overrides, sweep)


def write_config_anew(
    config: DictConfig, folder: Path, choices: Mapping[str, Any], overrides: Iterable[str] = ()
) -> Path:
    """As `write_config`; where another run was given the same name within the same second, beside it, as NAME_2.

    Returns:
        The folder.
    """
    name = folder.name
    for number in itertools.count(2):
        try:
            write_config(config, folder, choices, overrides)
            break
        except UserError:
            if not (folder / CONFIG).exists() and not is_locked(folder):
                raise
        folder = folder.with_name(f"{name}_{number}")
        folder.mkdir(exist_ok=True)
    return folder


def _write_config(
    config: DictConfig, folder: Path, choices: Mapping[str, Any], overrides: Iterable[str], sweep: str | None
) -> None:
    if (folder / CONFIG).exists():
        again = shlex.quote(f"resume={folder}")
        raise UsageError(f"{folder}: holds a run already: go on with it by {again}, or name another folder")
    (folder / ".hydra").mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.create(list(overrides)), folder / ".hydra" / "overrides.yaml")
    try:
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException:
        discard(folder)
        raise
    assert isinstance(resolved, dict)
    if resolved["test"] is None:
        resolved["test"] = sweep is None
    chosen = {key.split("@")[0]: option for key, option in choices.items() if "/" not in key}
    resolved["choices"] = {**chosen, "sweep": sweep}
    _write({str(key): value for key, value in resolved.items()}, folder)


def named_packages(arguments: list[str]) -> list[str]:
    """The packages that `trust=PACKAGE` names."""
    return [argument.removeprefix("trust=") for argument in arguments if argument.startswith("trust=")]


def prepare_resume(arguments: list[str]) -> Path | None:
    """The folder that `resume=FOLDER` names, its config brought up to date; None without `resume=`.

    The stored config wins; budget, devices, logger and where the data lies may be changed.

    Raises:
        UsageError: a key that may not be changed.
        UserError: the folder is no run's, its config names code that is not trusted, or what lies in the new place is not
            the run's data.
    """
    named = [argument for argument in arguments if argument.startswith("resume=")]
    if not named or named[-1] == "resume=null":
        return None
    folder = Path(named[-1].removeprefix("resume=").strip("'\""))
    from unroll.trust import check_trusted  # after --help: it takes seconds to load

    config = read_config(folder)
    # Before anything in it is looked up: what it names is imported for that.
    check_trusted(config, named_packages(arguments), str(folder / CONFIG))
    others = [argument for argument in arguments if not argument.startswith(("resume=", "trust="))]
    if not others:
        return folder
    if any(argument.startswith(("--config-dir", "-cd")) for argument in others):
        raise UsageError("resume= goes on by the run's own config: leave out --config-dir")
    overrides = OverridesParser.create().parse_overrides(others)
    movable = [f"data.{key}" for key in (*places(config), "cache_dir") if key in config["data"]]
    moved = {one.key_or_group: one.value() for one in overrides if one.key_or_group in movable}
    for one in overrides:
        if one.key_or_group in moved and (one.is_sweep_override() or "${" in str(one.value())):
            raise UsageError(f"{one.input_line}: one place is asked for, written out; a name with commas is quoted")
    others = [other for one, other in zip(overrides, others, strict=True) if one.key_or_group not in moved]
    changed = [one.key_or_group for one in overrides if one.key_or_group not in moved]
    allowed = {"logger", "trainer", *(f"trainer.{key}" for key in _DEVICE_KEYS + BUDGET_KEYS)}
    for key in changed:
        if key not in allowed and not key.startswith("logger."):
            lies = f", and where its data lies now ({', '.join(movable)})" if movable else ""
            raise UsageError(
                f"resume: {key} belongs to the run and cannot be changed; what can: budget (trainer.max_steps, "
                f"max_epochs, max_time), devices (trainer, trainer.devices, ...), logger{lies}. "
                f"A new run from its weights: init_from={folder}"
            )
    logger = config["choices"].get("logger")
    if logger not in groups()["logger"]:  # a path would be read as a config, and resolved
        raise UserError(f"{folder / CONFIG}: choices.logger={logger} is no option of the group logger")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", [f"logger={logger}", *others])
    container: Any = OmegaConf.to_container(composed.trainer)
    if "trainer" in changed:
        config["trainer"].update({key: container[key] for key in _DEVICE_KEYS})
    for key in changed:
        if key.startswith("trainer."):
            name = key.removeprefix("trainer.")
            config["trainer"][name] = container[name]
    if any(key.split(".")[0] == "logger" for key in changed):
        config["logger"] = OmegaConf.to_container(composed.logger, resolve=True) or {}
    schema.check({"trainer": config["trainer"], "logger": config["logger"]})
    config["data"].update({key.removeprefix("data."): place for key, place in moved.items()})
    if moved and (folder / FINGERPRINT).exists() and not later_process():
        from unroll.building import build_data, check

        check(config)
        build_data(config).check_unchanged(folder)  # as its job does, but before the old place is forgotten
    if later_process():
        await_config(folder, config)
    else:
        _write(config, folder)
    return folder


def _write(config: dict[str, Any], folder: Path) -> None:
    try:
        with written_whole(folder / CONFIG) as unfinished:
            OmegaConf.save(OmegaConf.create(config), unfinished)
    except PermissionError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from None
