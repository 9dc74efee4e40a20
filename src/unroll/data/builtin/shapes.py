"""Pictures of coloured shapes in relations, with what they show in words, from a seed."""

import random
import re
from typing import Any, NamedTuple

import numpy as np
from pydantic import NonNegativeInt

from unroll.data.captioned_images import CaptionedImages, Pictures
from unroll.errors import UsageError
from unroll.schema import Sizes

_SIDE = 48  # pixels
_COUNTS = ("a", "two", "three")
_RADII = {"small": 3.0, "": 5.0, "large": 7.0}  # pixels
_COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 90, 200),
    "yellow": (235, 200, 30),
    "purple": (140, 60, 180),
    "black": (30, 30, 30),
}
_PLURALS = {"circle": "circles", "square": "squares", "triangle": "triangles", "cross": "crosses"}
_SINGULARS = {plural: shape for shape, plural in _PLURALS.items()}
_RELATIONS = {"above": "below", "left of": "right of"}  # and the same seen from the other side
_CAPTION = re.compile(
    r"(a|two|three)( small| large)? (\w+) (\w+) (above|below|left of|right of) (a|two|three)( small| large)? (\w+) (\w+)"
)


class _Group(NamedTuple):
    number: str
    size: str
    colour: str
    shape: str

    def written(self) -> str:
        shape = self.shape if self.number == "a" else _PLURALS[self.shape]
        return " ".join(word for word in (self.number, self.size, self.colour, shape) if word)


class Shapes(CaptionedImages):
    """Two groups of one to three alike shapes, one above or left of the other: "a small red circle above two blue squares".

    Each has two captions, from either side. Where everything lies is drawn within its half. No description of one split
    stands in another: what is tested is put together anew.

    Args:
        sizes: pictures in train, validation and test.
        picture_seed: another one, other pictures.
        **captioned: see `CaptionedImages`.
    """

    def __init__(self, sizes: Sizes, picture_seed: NonNegativeInt, **captioned: Any) -> None:
        super().__init__(**captioned)
        self.sizes = sizes
        self.picture_seed = picture_seed
        self._drawn: dict[str, np.ndarray] = {}

    @property
    def source(self) -> str:
        return "shapes"

    def read(self) -> dict[str, Pictures]:
        groups = len(_COUNTS) * len(_RADII) * len(_COLOURS) * len(_PLURALS)
        if sum(self.sizes) > groups**2 * len(_RELATIONS):
            raise UsageError(
                f"data.sizes={self.sizes}: there are {groups**2 * len(_RELATIONS):,} different descriptions, and no more"
            )
        draw = random.Random(self.picture_seed)
        seen: set[str] = set()
        splits = {}
        for split, size in zip(("train", "validation", "test"), self.sizes, strict=True):
            names: list[str] = []
            captions: list[str] = []
            while len(names) < size:
                one, other = _group(draw), _group(draw)
                relation = draw.choice(list(_RELATIONS))
                caption = f"{one.written()} {relation} {other.written()}"
                if caption in seen:
                    continue
                seen.add(caption)
                name = f"{split} {len(names)}"
                self._drawn[name] = _picture(one, other, relation, np.random.default_rng(draw.getrandbits(63)))
                names.append(name)
                captions.append(f"{caption}\n{other.written()} {_RELATIONS[relation]} {one.written()}")
            splits[split] = Pictures(names, captions, f"shapes, {split}", "picture")
        return splits

    def picture(self, name: str) -> np.ndarray:
        return self._drawn[name]

    def aspects(self, caption: str) -> dict[str, str]:
        match = _CAPTION.fullmatch(caption)
        if match is None:
            return {}
        one, relation, other = match.groups()[:4], match[5], match.groups()[5:]
        names = ("counts", "sizes", "colours", "shapes")
        both = [[word or "" for word in group] for group in (one, other)]
        for group in both:
            group[3] = _SINGULARS.get(group[3], group[3])
        pairs = zip(names, *both, strict=True)
        return {"relation": relation, **{name: f"{first.strip()}, {second.strip()}" for name, first, second in pairs}}


def _group(draw: random.Random) -> _Group:
    return _Group(*(draw.choice(list(choices)) for choices in (_COUNTS, _RADII, _COLOURS, _PLURALS)))


def _picture(one: _Group, other: _Group, relation: str, chance: np.random.Generator) -> np.ndarray:
    """(3, side, side) of uint8."""
    pixels = np.full((3, _SIDE, _SIDE), 1.0) * chance.uniform(0.85, 1.0)
    for half, group in enumerate((one, other)):
        count = _COUNTS.index(group.number) + 1
        across = _SIDE * (half * 2 + 1) / 4 + chance.uniform(-2.5, 2.5)
        spread = chance.uniform(15.5, 16.5)  # pixels between neighbours: the largest do not touch
        middle = _SIDE / 2 + chance.uniform(-1, 1) * (0.7 if count == 3 else 6)
        for number in range(count):
            along = middle + (number - (count - 1) / 2) * spread + chance.uniform(-0.4, 0.4)
            x, y = (along, across) if relation == "above" else (across, along)
            _paint(pixels, group, x, y, chance)
    pixels += chance.normal(0, 0.02, pixels.shape)
    return (pixels.clip(0, 1) * 255).astype(np.uint8)


def _paint(pixels: np.ndarray, group: _Group, x: float, y: float, chance: np.random.Generator) -> None:
    radius = _RADII[group.size] + chance.uniform(-0.3, 0.3)
    rows, columns = np.mgrid[:_SIDE, :_SIDE] + 0.5
    dx, dy = np.abs(columns - x), rows - y
    if group.shape == "circle":
        outside = np.hypot(dx, dy) - radius
    elif group.shape == "square":
        outside = np.maximum(dx, np.abs(dy)) - 0.88 * radius
    elif group.shape == "triangle":
        outside = np.maximum(0.87 * dx - 0.5 * (dy - 0.2 * radius), dy - 0.2 * radius) - 0.6 * radius
    else:
        arm, dy = radius / 3, np.abs(dy)
        outside = np.minimum(np.maximum(dx - radius, dy - arm), np.maximum(dx - arm, dy - radius))
    cover = (0.5 - outside).clip(0, 1)  # of each pixel, so that edges are smooth
    colour = np.array(_COLOURS[group.colour])[:, None, None] / 255 + chance.uniform(-0.05, 0.05)
    pixels += cover * (colour - pixels)
