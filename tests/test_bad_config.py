"""Every key of every group with values that it is not meant for: taken, or refused in one line that names it.

`pytest tests/test_bad_config.py --long` tries all of them on each key, not three.
"""

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import composed
from test_configs import NEEDED, OPTIONS, spec_of, task_for

from unroll.building import build_data, build_task, check
from unroll.errors import UsageError, UserError
from unroll.trainer import build_trainer, check_optimizer

STRANGE: list[Any] = [{"a": 1}, "nonsense", "", -1, 0, 1.5, 1e30, math.nan, None, [], ["x"], True]
BUILT = ("callbacks", "data", "logger", "model", "optimizer", "schedule", "task", "trainer", "truncation")


def keys(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All keys of a group but Hydra's own, with their defaults."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from keys(value, (*path, key))
        elif not key.startswith("_"):
            yield (*path, key), value


def changed(config: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    found = copy.deepcopy(config)
    node = found
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = copy.deepcopy(value)
    return found


def build(config: dict[str, Any], group: str, folder: Any) -> None:
    """As far as a run gets before its first step, without reading data."""
    check(config)
    if group in ("data", "truncation"):
        build_data(config)
    if group in ("model", "optimizer", "schedule", "task", "truncation"):
        lengths = {"context_length", "prediction_length"} & config["data"].keys()
        sized = [f"data.{key}={config['data'][key]}" for key in sorted(lengths)]
        build_task(config, spec_of(config["choices"]["task"], *sized))
    if group in ("optimizer", "schedule"):
        check_optimizer(config)
    if group == "trainer":
        build_trainer(config, folder)


@pytest.mark.parametrize("group", BUILT)
def test_strange_values(group, tmp_path, request):
    chance, seen = random.Random(group), set()
    for option in [option for of, option in OPTIONS if of == group]:
        task = [] if group == "task" else [f"task={task_for(group, option)}"]
        config = composed(*task, f"{group}={option}", *NEEDED.get((group, option), []))
        for path, _ in keys(config[group]):
            if (config[group].get("_target_"), path) in seen:
                continue
            seen.add((config[group].get("_target_"), path))
            name = ".".join((group, *path))
            # A mapping is never what is meant: it is refused by every key.
            tried = STRANGE if request.config.getoption("--long") else [STRANGE[0], *chance.sample(STRANGE[1:], 2)]
            for value in tried:
                try:
                    build(changed(config, (group, *path), value), group, tmp_path)
                except UserError as error:
                    told = str(error)
                    assert "\n" not in told, (name, value)
                    assert path[-1] in told or group in told, (name, value, told)
                else:
                    assert value != {"a": 1}, f"{name}: took a mapping"
                    assert not (isinstance(value, float) and math.isnan(value)), f"{name}: took NaN"
            misspelt = copy.deepcopy(config)
            node = misspelt[group]
            for key in path[:-1]:
                node = node[key]
            if "_target_" in node:
                node[f"{path[-1]}x"] = node.pop(path[-1])
                with pytest.raises(UsageError, match=rf"^{name}x: there is no such key; did you mean "):
                    check(misspelt)
    assert seen or group == "logger"
