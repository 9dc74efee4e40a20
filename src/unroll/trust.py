"""Whose code a run's folder may name.

A config says with `_target_` what is built from it. One's own command line may name anything. A folder that someone else has
made may name this project's parts and those of its libraries that a config is meant for; more only from packages that the
user names.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import get_object

from unroll.errors import UserError
from unroll.truncation import Truncation

_CLASSES = (
    torch.nn.Module,
    torch.optim.Optimizer,
    lightning.Trainer,
    lightning.LightningDataModule,
    lightning.Callback,
)
_LIBRARIES = ("unroll.", "torch.optim.", "lightning.pytorch.")
_WRITING = ("callbacks.", "trainer.", "logger.")
"""Groups that are never meant to read or write anywhere but in the run's folder."""
_TEXTS = ("callbacks.samples.prompt",)
"""Of these groups what is a text, and may begin with anything."""
_FUNCTIONS = ("unroll.schedule", "unroll.wandb_logger")


def check_trusted(node: Any, packages: list[str], source: str, path: str = "") -> None:
    """Is everything that a config names ours, or from a package that the user trusts? Nothing else is imported.

    Args:
        node: plain containers.
        packages: what the user named.
        source: where the config comes from, for the message.
        path: where `node` stands in it, dotted.

    Raises:
        UserError: something is not.
    """
    if isinstance(node, list):
        for index, value in enumerate(node):
            check_trusted(value, packages, source, f"{path}[{index}]")
    if isinstance(node, str) and "${" in node:  # a run's config is resolved: this would be put together when it is read
        raise UserError(f"{source}: {path}={node} is an interpolation; a run's config has none")
    if (
        isinstance(node, str)
        and path.startswith(_WRITING)
        and path not in _TEXTS
        and (node.startswith(("/", "~")) or ".." in Path(node).parts)
    ):
        raise UserError(f"{source}: {path}={node} is a path out of the run's folder")
    if not isinstance(node, Mapping):
        return
    if "_target_" in node:
        target = str(node["_target_"])
        package = target.split(".")[0]
        if package not in packages and not _is_ours(target):
            if package == "unroll":
                raise UserError(
                    f"{source}: {path}._target_={target} is no part that this project has for a config: modules, "
                    f"optimizers, callbacks and data are, and the functions of {' and '.join(_FUNCTIONS)}"
                )
            raise UserError(
                f"{source}: {path}._target_={target} is no part that this project or its libraries have for a config; "
                f"if you know and trust that code, name its package: --trust {package} (train.py: trust={package})"
            )
    for key, value in node.items():
        check_trusted(value, packages, source, f"{path}.{key}" if path else str(key))


def packages_of_others(node: Any) -> list[str]:
    """The packages beside ours and our libraries' whose code a config names: what has to be trusted to load its run."""
    found: dict[str, None] = {}
    for value in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        found.update(dict.fromkeys(packages_of_others(value)))
    if isinstance(node, Mapping) and "_target_" in node and not _is_ours(str(node["_target_"])):
        found[str(node["_target_"]).split(".")[0]] = None
    return list(found)


def _is_ours(target: str) -> bool:
    if target == "lightning.Trainer":
        return True
    if not target.startswith(_LIBRARIES):
        return False
    try:
        found = get_object(target)
    except Exception:  # whatever it is, it is none of ours
        return False
    # What counts is where it was defined: by way of our modules' imports any function could be named.
    module = str(getattr(found, "__module__", "")) + "."
    if inspect.isclass(found):
        return module.startswith(_LIBRARIES) and issubclass(found, (*_CLASSES, Truncation))
    return inspect.isfunction(found) and module.rstrip(".") in _FUNCTIONS
