"""What units do: their states beside the text that was read, and which simple property of it tells them best."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from unroll.evaluating import evaluating
from unroll.insight.reading import Reading
from unroll.insight.trajectory import Trajectory, traced, untruncated
from unroll.state import flatten

_LEAST = 1e-8  # variance of what is constant


@dataclass(frozen=True)
class Units:
    """The units of one part of a cell's state.

    Attributes:
        cell: its name.
        words: of each sequence, what each step is in writing.
        states: of each sequence, (steps, units).
        explained: by the name of each property, (units,): the share of a unit's variance that the property explains (R^2 of
            a linear regression of the unit's state on it, on what was read).
    """

    cell: str
    words: list[list[str]]
    states: list[np.ndarray]
    explained: dict[str, np.ndarray]

    @property
    def best(self) -> np.ndarray:
        """(units,): what the property explains that explains it best."""
        return np.max([np.zeros(self.states[0].shape[1]), *self.explained.values()], axis=0)


def look_at_units(module: nn.Module, losses: Callable[[], Tensor], reading: Reading) -> list[Units]:
    """Let a model read, and look at the units of all its cells.

    Args:
        module: whose stacks are looked at; without dropout, in the precision of its weights.
        losses: runs it over the reading.
        reading: what it reads.
    """
    device = next(module.parameters()).device.type
    with (
        evaluating(module),
        torch.no_grad(),
        untruncated(module),
        torch.autocast(device, enabled=False),
        traced(module) as found,
    ):
        losses()
    units = []
    for name, trajectory in found.items():
        words = reading.words_of(name)
        for part, states in _parts(name, trajectory):
            if states.shape[1] != len(words):  # as where several targets are read side by side
                continue
            assert max(map(len, words)) <= len(states), "a word that no step has read"
            each = [states[: len(one), row] for row, one in enumerate(words)]
            if name.endswith(" reverse"):
                each = [one[::-1] for one in each]
            units.append(Units(part, words, each, explain_units(np.concatenate(each), words, reading)))
    return units


def _parts(name: str, trajectory: Trajectory) -> list[tuple[str, np.ndarray]]:
    """What others see of a state, and those of its other parts that have a number a unit: (steps, sequences, units)."""
    outputs = [trajectory.cell.output(state) for state in trajectory.states]
    parts = [(name, outputs)]
    inner = [
        place
        for place, part in enumerate(flatten(trajectory.states[0]))
        if part.shape == outputs[0].shape and not torch.equal(part, outputs[0])
    ]
    for number, place in enumerate(inner, 1):
        told = f"inner state {number}" if len(inner) > 1 else "inner state"
        parts.append((f"{name} {told}", [flatten(state)[place] for state in trajectory.states]))
    return [(title, torch.stack(found).detach().float().cpu().numpy()) for title, found in parts]


def explain_units(states: np.ndarray, words: list[list[str]], reading: Reading) -> dict[str, np.ndarray]:
    """How much of each unit each property explains.

    Args:
        states: (steps, units), of all sequences one after the other.
        words: of each sequence what its steps are in writing.
        reading: whose facts are properties, too.

    Returns:
        By the property's name, (units,); properties that do not change are left out.
    """
    found = {}
    for name, values in {**text_properties(words), **_facts(words, reading)}.items():
        values = values - values.mean(0)
        if (values.var(0) > _LEAST).any():
            found[name] = _explained(values, states.astype(np.float64))
    return found


def _explained(values: np.ndarray, states: np.ndarray) -> np.ndarray:
    """R^2 of the regression of each column of `states` on those of `values`, which have a mean of zero."""
    states = states - states.mean(0)
    weights, *_ = np.linalg.lstsq(values, states, rcond=None)
    total = (states**2).sum(0)
    left = ((states - values @ weights) ** 2).sum(0)
    return np.where(total > _LEAST * len(states), 1 - left / np.maximum(total, 1e-300), 0.0).clip(0, 1)


def text_properties(words: list[list[str]]) -> dict[str, np.ndarray]:
    """Simple properties of texts, told after each step.

    Args:
        words: of each text what its steps are in writing.

    Returns:
        By name, (steps, 1), of all texts one after the other.
    """
    each = [_properties(one) for one in words]
    found = {name: np.concatenate([one[name] for one in each])[:, None] for name in each[0]}
    if not any("\n" in step for one in words for step in one):  # there are no lines
        del found["place in the line"], found["indentation"]
    if len(words) > 1:
        found["place in the sequence"] = np.concatenate([np.arange(len(one), dtype=float) for one in words])[:, None]
    return found


def _properties(words: list[str]) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = {name: [] for name in _NAMES}
    line = word = depth = indentation = 0
    quoted, starting = False, True
    for step in words:
        if "\n\n" in step or (step == "\n" and found["place in the line"] and found["place in the line"][-1] == 0):
            quoted, depth = False, 0  # what was left open in a paragraph does not open all that follows
        for character in step:
            if character == "\n":
                line = word = indentation = 0
                starting = True
            else:
                line += 1
                word = word + 1 if character.isalnum() else 0
                starting = starting and character == " "
                indentation += starting
            if character == '"':
                quoted = not quoted
            depth += (character in "([{") - (character in ")]}")
        depth = max(depth, 0)
        told = step.strip()
        sign = bool(told) and not re.search(r"\w", told)
        blank = bool(step) and not told  # not a byte that is no whole character yet
        kinds = (told[:1].isupper(), told[:1].isdigit(), blank, sign)
        for name, value in zip(_NAMES, (line, quoted, min(depth, 1), indentation, word, *kinds), strict=True):
            found[name].append(float(value))
    return {name: np.array(values) for name, values in found.items()}


_NAMES = (
    "place in the line",
    "inside quotes",
    "inside brackets",
    "indentation",
    "place in the word",
    "capital",
    "digit",
    "blank",
    "punctuation",
)


def _facts(words: list[list[str]], reading: Reading) -> dict[str, np.ndarray]:
    """Facts of whole sequences as columns: one for each name that there is."""
    found = {}
    for name, values in reading.facts.items():
        kinds = sorted(set(values))
        columns = [[float(value == kind) for kind in kinds] for value in values]
        found[name] = np.concatenate([np.tile(row, (len(one), 1)) for row, one in zip(columns, words, strict=True)])
    return found


def saliency(
    module: nn.Module, predictions: Callable[[], list[tuple[str, Tensor]]]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """How much each prediction hangs on each step that was read: ||d log p / d x_s||, x_s what the lowest layer reads.

    Args:
        module: whose stacks are looked at, as in `look_at_units`.
        predictions: runs it; of each prediction its name and its (sequences,) log-probability, or what stands for it. The
            first sequence is looked at.

    Returns:
        The names of the predictions; by the name of each stack (predictions, steps).
    """
    from unroll.recurrent import Recurrent

    inputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., tuple[tuple[Tensor, ...], dict[str, object]]]:
        def hook(
            part: nn.Module, given: tuple[Tensor, ...], named: dict[str, object]
        ) -> tuple[tuple[Tensor, ...], dict[str, object]]:
            x = given[0] if given[0].requires_grad else given[0].detach().requires_grad_()
            if name not in inputs or len(x) > len(inputs[name]):
                inputs[name] = x
            return (x, *given[1:]), named

        return hook

    stacks = {name: part for name, part in module.named_modules() if isinstance(part, Recurrent)}
    hooks = [part.register_forward_pre_hook(keep(name), with_kwargs=True) for name, part in stacks.items()]
    device = next(module.parameters()).device.type
    with evaluating(module):
        try:
            with torch.enable_grad(), untruncated(module), torch.autocast(device, enabled=False), traced(module):
                told = predictions()
            rows: dict[str, list[Tensor]] = {name: [] for name in inputs}
            for _, value in told:
                found = torch.autograd.grad(value[0], list(inputs.values()), retain_graph=True, allow_unused=True)
                for name, x, gradient in zip(inputs, inputs.values(), found, strict=True):
                    rows[name].append((torch.zeros_like(x) if gradient is None else gradient)[:, 0].norm(dim=-1))
        finally:
            for hook in hooks:
                hook.remove()
    names = {name: name.removeprefix("model").strip(".") for name in inputs}
    tables = {names[name]: torch.stack(found).float().cpu().numpy() for name, found in rows.items()}
    return [name for name, _ in told], tables
