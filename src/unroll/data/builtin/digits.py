"""Digits drawn by a hand that is never the same, from a seed: a stand-in for MNIST that needs no network."""

from typing import Any

import numpy as np
from pydantic import NonNegativeInt

from unroll.data.base import SPLITS
from unroll.data.pixels import PixelData
from unroll.data.rows import Rows
from unroll.errors import UsageError
from unroll.schema import Sizes

# Points that the pen goes through, stroke by stroke: x to the right, y down, in a square from -1 to 1.
_STROKES: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
    (((0.0, -0.9), (-0.55, -0.5), (-0.6, 0.3), (-0.1, 0.9), (0.5, 0.55), (0.6, -0.3), (0.1, -0.9)),),
    (((-0.35, -0.5), (0.05, -0.9), (0.0, 0.0), (0.0, 0.9)),),
    (((-0.55, -0.45), (-0.1, -0.9), (0.5, -0.55), (0.2, 0.1), (-0.55, 0.85), (0.0, 0.8), (0.6, 0.85)),),
    (((-0.5, -0.7), (0.1, -0.9), (0.45, -0.45), (-0.05, -0.05), (0.55, 0.35), (0.1, 0.9), (-0.55, 0.65)),),
    (((-0.15, -0.9), (-0.35, -0.35), (-0.6, 0.2), (0.0, 0.2), (0.65, 0.2)), ((0.3, -0.4), (0.25, 0.2), (0.2, 0.9))),
    (((0.5, -0.85), (-0.35, -0.85), (-0.4, -0.1), (0.25, -0.15), (0.5, 0.4), (0.0, 0.9), (-0.5, 0.7)),),
    (((0.35, -0.9), (-0.25, -0.5), (-0.5, 0.3), (0.0, 0.9), (0.5, 0.45), (0.0, 0.0), (-0.45, 0.35)),),
    (((-0.6, -0.8), (0.0, -0.85), (0.6, -0.8), (0.15, 0.0), (-0.15, 0.9)),),
    (
        (
            (0.4, -0.6),
            (0.0, -0.9),
            (-0.4, -0.55),
            (0.0, 0.0),
            (0.5, 0.5),
            (0.0, 0.9),
            (-0.5, 0.5),
            (0.0, 0.0),
            (0.4, -0.6),
        ),
    ),
    (((0.45, -0.35), (0.0, 0.0), (-0.45, -0.45), (0.05, -0.9), (0.45, -0.4), (0.4, 0.3), (0.15, 0.9)),),
)
_PER_CURVE = 4  # straight pieces between two points of a stroke
_AT_ONCE = 1_000_000  # pixels that are drawn together
_MOST = 4 * 2**30  # bytes


class Digits(PixelData):
    """The ten digits in grey, each drawn anew: its points shaken, turned, slanted and stretched, the pen thick or thin.

    Args:
        sizes: pictures in train, validation and test.
        picture_seed: another one, other pictures.
        **pixels: see `PixelData`.
    """

    def __init__(self, sizes: Sizes, picture_seed: NonNegativeInt, **pixels: Any) -> None:
        super().__init__(**pixels)
        self.sizes = sizes
        self.picture_seed = picture_seed

    @property
    def source(self) -> str:
        return "digits"

    def read(self) -> dict[str, Rows]:
        if sum(self.sizes) * self.size**2 > _MOST:
            raise UsageError(
                f"data.sizes={self.sizes} data.size={self.size}: these pictures would take more than {_MOST // 2**30} GiB: "
                "take fewer, or smaller ones"
            )
        splits = {}
        for number, (split, count) in enumerate(zip(SPLITS, self.sizes, strict=True)):
            digits = np.random.default_rng([self.picture_seed, number]).integers(10, size=count)
            wanted = [str(digit) for digit in digits.tolist()]
            splits[split] = Rows(
                [f"{number} {k} {digit}" for k, digit in enumerate(wanted)], wanted, f"digits, {split}"
            )
        return splits

    def pictures(self, split: str) -> np.ndarray:
        wanted = np.array(self.rows[split].wanted, np.int64)
        found = np.empty((len(wanted), self.size, self.size), np.uint8)
        for digit in range(10):
            rows = np.flatnonzero(wanted == digit)
            chance = np.random.default_rng([self.picture_seed, SPLITS.index(split), digit])
            count = max(1, _AT_ONCE // self.size**2)
            for start in range(0, len(rows), count):
                some = rows[start : start + count]
                found[some] = _drawn(digit, len(some), self.size, chance)
        return found


def _drawn(digit: int, count: int, size: int, chance: np.random.Generator) -> np.ndarray:
    """(count, size, size) of uint8."""
    angle, slant = chance.normal(0, 0.15, count), chance.normal(0, 0.2, count)
    width, height = chance.uniform(0.45, 0.75, count), chance.uniform(0.55, 0.75, count)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretched = np.array([[width, -slant * height], [np.zeros(count), height]])
    shift = chance.normal(0, 0.07, (count, 1, 2))
    starts, ends = [], []
    for stroke in _STROKES[digit]:
        points = np.array(stroke) + chance.normal(0, 0.07, (count, len(stroke), 2))
        curve = _through(np.einsum("ijn,jkn,npk->npi", turned, stretched, points) + shift)
        starts.append(curve[:, :-1])
        ends.append(curve[:, 1:])
    start, end = np.concatenate(starts, axis=1), np.concatenate(ends, axis=1)
    middle = (np.arange(size) + 0.5) / size * 2 - 1
    pixels = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    distance = np.full((count, size * size), np.inf)
    for piece in range(start.shape[1]):  # the nearest of them
        offset, along = pixels - start[:, None, piece], (end - start)[:, None, piece]
        place = ((offset * along).sum(-1) / ((along**2).sum(-1) + 1e-9)).clip(0, 1)
        distance = np.minimum(distance, np.hypot(*np.moveaxis(offset - place[..., None] * along, -1, 0)))
    pen, soft = chance.uniform(0.07, 0.13, (count, 1)), 2 / size  # soft: a pixel, so that edges are smooth
    return (((pen + soft / 2 - distance) / soft).clip(0, 1) * 255).astype(np.uint8).reshape(count, size, size)


def _through(points: np.ndarray) -> np.ndarray:
    """A smooth line through points, (count, points, 2): Catmull and Rom 1974."""
    padded = np.concatenate([points[:, :1], points, points[:, -1:]], axis=1)
    t = np.linspace(0, 1, _PER_CURVE, endpoint=False)[:, None]
    found = []
    for first in range(points.shape[1] - 1):
        p0, p1, p2, p3 = (padded[:, first + k, None] for k in range(4))
        found.append(p1 + t / 2 * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0))))
    return np.concatenate([*found, points[:, -1:]], axis=1)
