"""From a checked config to objects. Sizes come from the data's spec."""

import hashlib
import inspect
import warnings
from functools import cache
from pathlib import Path
from typing import Any, cast

import hydra.utils
from hydra import compose, initialize_config_dir
from pydantic import NonNegativeInt

from unroll import schema
from unroll.composing import CONF, groups
from unroll.data.base import Data
from unroll.errors import UsageError
from unroll.tasks.base import Task
from unroll.truncation import Truncation


def make(node: dict[str, Any], **built: Any) -> Any:
    """Call a node's `_target_` with its keys and with what is already built.

    Raises:
        UsageError: it needs more.
    """
    schema.check_complete(node, built)
    return hydra.utils.instantiate({**node, "_partial_": True, "_convert_": "all"})(**built)


def check(config: dict[str, Any]) -> None:
    """Is every key and value one that its target takes?

    Raises:
        UsageError: one is not.
    """
    hints = {"seed": NonNegativeInt, "test": bool, "free_speed": bool, "init_from": str | None}
    for key, hint in hints.items():
        schema.check_value(key, config[key], hint)
    schema.check(config)
    reads: Any = hydra.utils.get_class(config["task"]["_target_"])
    given: Any = hydra.utils.get_class(config["data"]["_target_"])
    if issubclass(reads, Task) and not hasattr(reads, "reads"):
        raise UsageError(f"task._target_={config['task']['_target_']}: does not say what data it `reads`")
    for group, made in (("task", reads), ("data", given)):
        if inspect.isabstract(made):
            lacking = ", ".join(sorted(made.__abstractmethods__))
            raise UsageError(f"{group}._target_={config[group]['_target_']}: has no {lacking}")
    if issubclass(reads, Task) and not issubclass(given, reads.reads):
        raise UsageError(
            f"data={config['choices']['data']}: task={config['choices']['task']} learns from {reads.reads.__name__}, and "
            f"this is none; one of: {', '.join(data_options(reads.reads))}"
        )


def data_options(kind: type[Data]) -> list[str]:
    """The options of the group `data` that are of a format."""
    return [option for option in groups()["data"] if issubclass(_format(option), kind)]


@cache
def _format(option: str) -> type[Data]:
    # By itself, which is a third of the work: Hydra warns that it then does not know what comes before what.
    with initialize_config_dir(str(CONF), version_base="1.3"), warnings.catch_warnings(action="ignore"):
        target = compose(f"data/{option}").data["_target_"]
    return cast(type[Data], hydra.utils.get_class(target))


def build_data(config: dict[str, Any]) -> Data:
    """The data module that a config names."""
    return cast(Data, make(config["data"], truncation=build_truncation(config)))


def build_truncation(config: dict[str, Any]) -> Truncation:
    """The truncation that a config names."""
    return cast(Truncation, make(config["truncation"]))


def build_task(config: dict[str, Any], spec: Any) -> Task:
    """The task that a config names, for data with this spec; its weights are drawn from torch's generator."""
    task = make(
        config["task"],
        spec=spec,
        recurrent=hydra.utils.instantiate(config["model"], _convert_="all"),
        optimizer=hydra.utils.instantiate(config["optimizer"], _convert_="all"),
        schedule=hydra.utils.instantiate(config["schedule"], _convert_="all"),
        truncation=build_truncation(config),
    )
    task.spec_digest = hashlib.sha256(spec.identity.encode("utf-8", "surrogatepass")).hexdigest()
    return cast(Task, task)


def load_spec(config: dict[str, Any], folder: Path) -> Any:
    """The spec that a run was trained with, from its folder."""
    data: Any = hydra.utils.get_class(config["data"]["_target_"])
    return data.load_spec(folder)
