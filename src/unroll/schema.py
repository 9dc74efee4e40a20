"""Constructor signatures are the schema: a config is checked against them before anything is built.

Any node with a `_target_` is checked: do its keys exist, and do their values fit the type hints (a library's as well as
ours)? The answer to a mistake is one line that names the key as it is written on the command line.
"""

import inspect
import math
import typing
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from hydra.utils import get_object
from pydantic import ConfigDict, Field, PositiveInt, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from unroll.errors import UsageError, did_you_mean

Probability = Annotated[float, Field(ge=0, lt=1)]
Sizes = Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
"""How much there is in train, validation and test."""

_HYDRA_KEYS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}


def check(node: Any, path: str = "") -> None:
    """Check a resolved config, and all that is in it.

    Args:
        node: plain containers, as of `OmegaConf.to_container(config, resolve=True)`.
        path: where `node` stands in the whole config, dotted.

    Raises:
        UsageError: a target that does not exist, a key that it does not take, or a value that does not fit.
    """
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_target(node, path)
        for key, value in node.items():
            check(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            check(value, f"{path}[{index}]")


def _check_target(node: Mapping[str, Any], path: str) -> None:
    try:
        target = get_object(node["_target_"])
    except Exception as error:
        raise UsageError(
            f"{path}._target_={node['_target_']}: cannot be imported: {str(error).splitlines()[0]}"
        ) from None
    if not callable(target):
        raise UsageError(f"{path}._target_={node['_target_']}: is nothing that can be made: name a class or a function")
    if "_args_" in node:
        raise UsageError(f"{path}._args_: arguments are given by their names")
    parameters, hints, takes_any, _ = _signature(target)
    for key, value in node.items():
        if key in _HYDRA_KEYS:
            continue
        if key not in parameters and not takes_any:
            raise UsageError(f"{path}.{key}: there is no such key; {did_you_mean(key, sorted(parameters))}")
        if key in hints and not (isinstance(value, Mapping) and "_target_" in value):
            check_value(f"{path}.{key}", value, hints[key])


def check_complete(node: Mapping[str, Any], built: Mapping[str, Any]) -> None:
    """Has a target all that it cannot do without?

    Args:
        node: with a `_target_`, as `check` found it good.
        built: what is given to it beside the node's keys.

    Raises:
        UsageError: something is missing.
    """
    _, _, _, required = _signature(get_object(node["_target_"]))
    missing = sorted(required - set(node) - set(built))
    if missing:
        raise UsageError(
            f"{node['_target_']}: {', '.join(missing)} is not set: has the config been written by another version of Unroll?"
        )


def _signature(target: Any) -> tuple[set[str], dict[str, Any], bool, set[str]]:
    """The names a target takes, their hints, whether it takes any other name, and those that it needs. `**kwargs` go to the
    class above."""
    functions = (
        [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
        if inspect.isclass(target)
        else [target]
    )
    names: set[str] = set()
    hints: dict[str, Any] = {}
    required: set[str] = set()
    takes_any = True
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        with suppress(
            Exception
        ):  # a library's hints that only its type checker can read: names are checked all the same
            hints = {**typing.get_type_hints(function, include_extras=True), **hints}
        variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        required |= {
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty and parameter.kind not in variable
        }
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        if not takes_any:
            break
    return names - {"self"}, hints, takes_any, required - {"self"}


def check_value(path: str, value: Any, hint: Any) -> None:
    """Does a value fit a type hint? A hint that pydantic cannot read lets everything pass.

    Raises:
        UsageError: it does not, or is NaN.
    """
    if isinstance(value, float) and math.isnan(value):
        raise UsageError(f"{path}=nan: is not a number")
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, strict=True))
    except PydanticSchemaGenerationError:
        return
    except Exception:  # pydantic refuses a config where the hint is a model of its own
        adapter = TypeAdapter(hint)
    if isinstance(value, list):  # YAML has no tuples
        with suppress(ValidationError):
            adapter.validate_python(tuple(value))
            return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        written = "null" if value is None else value
        reasons = dict.fromkeys(_reason(detail) for detail in error.errors())
        raise UsageError(f"{path}={written}: {' or '.join(reasons)}") from None


def blamed(group: str, node: Mapping[str, Any], reason: str) -> str:
    """The key that a library's complaint is about, as GROUP.KEY=VALUE: the one whose value it repeats; else the group."""
    named = [key for key, value in node.items() if key not in _HYDRA_KEYS and str(value) and str(value) in reason]
    return f"{group}.{named[0]}={node[named[0]]}" if len(named) == 1 else group


def _reason(detail: Any) -> str:
    reason = detail["msg"]
    return reason[0].lower() + reason[1:]
