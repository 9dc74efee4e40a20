"""One page to read a text in the colours of a unit's state. It needs no network."""

import base64
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unroll.errors import UsageError
from unroll.insight.units import Units
from unroll.writing import written_whole

_BYTES = 1_800_000  # of the page, about: units that tell least are left out
_LEVELS = 7  # of a state, on either side of zero
_FULL = 0.99  # of a unit's absolute states that lie below the full colour
_TEMPLATE = Path(__file__).with_name("units.html")


def write_units_page(found: Sequence[Units], title: str, path: Path) -> int:
    """Write the page, whole or not at all.

    Args:
        found: the units of each part.
        title: what the page is called.
        path: of the HTML file.

    Returns:
        How many units it had no room for: of all parts together those that are told least of.

    Raises:
        UsageError: the text alone fills the page.
    """
    texts: list[list[list[str]]] = []
    parts = []
    for part in found:
        if part.words not in texts:
            texts.append(part.words)
        parts.append({"name": part.cell, "text": texts.index(part.words), "units": []})
    left = _BYTES - len(_json(texts).encode())
    order = sorted(
        ((index, unit) for index, part in enumerate(found) for unit in range(len(part.best))),
        key=lambda place: -found[place[0]].best[place[1]],
    )
    shown = 0
    for index, unit in order:
        part = found[index]
        states = np.concatenate([one[:, unit] for one in part.states])
        entry = {
            "unit": unit,
            "told": {name: round(float(values[unit]), 3) for name, values in part.explained.items()},
            **_packed(states),
        }
        left -= len(_json(entry)) + 1
        if left < 0:
            break
        parts[index]["units"].append(entry)  # type: ignore[attr-defined]
        shown += 1
    if not shown:
        raise UsageError("--steps: the text alone fills the page; give less")
    text = _json({"title": title, "texts": texts, "parts": [part for part in parts if part["units"]]})
    page = _TEMPLATE.read_text(encoding="utf-8").replace("DATA", text.replace("<", "\\u003c"), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return len(order) - shown


def _packed(states: np.ndarray) -> dict[str, object]:
    """A unit's states in a few levels, two a byte, compressed; and what the highest level stands for."""
    full = float(np.quantile(np.abs(states), _FULL)) or 1.0
    levels = np.clip(np.round(states / full * _LEVELS), -_LEVELS, _LEVELS).astype(np.int8) + _LEVELS
    levels = np.append(levels, 0)[: len(levels) + len(levels) % 2].astype(np.uint8)
    packed = zlib.compress((levels[::2] << 4 | levels[1::2]).tobytes(), 9)
    return {"full": float(f"{full:.3g}"), "states": base64.b64encode(packed).decode()}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
