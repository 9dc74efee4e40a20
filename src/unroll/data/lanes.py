"""A sequence without an end in sight, in lanes: how a stream is trained on."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np


class Lanes(ABC):
    """A sequence laid out as `lanes` contiguous pieces of equal length, read a window of each at a time.

    Iterating gives windows from the start, or from where `load_state_dict` says, which holds for one pass. A subclass says
    what a window holds.

    Args:
        count: steps of the sequence; each but the first is said from those before it.
        lanes: rows of the global batch.
        length: steps of a window.
        history: steps before the window that come with it, as far as there are any.
        drop_tail: leave out the up to `lanes` - 1 last steps that do not fill every lane (training). If not, lanes
            before the last few are one longer, and every step but the first is a target exactly once (evaluation).
        rank, world_size: this process and the number of processes: each has its share of the lanes.
        vary: windows of differing lengths: the seed of what is drawn; None: each has `length`. Lengths are drawn as in Merity
            et al. 2017, section 4.1: about `length`, and one in twenty about half of it, with a deviation of 5, at least 5.
            They are drawn once, and come in another order in each pass: so there are always as many.
    """

    def __init__(
        self,
        count: int,
        lanes: int,
        length: int,
        history: int = 0,
        drop_tail: bool = False,
        rank: int = 0,
        world_size: int = 1,
        vary: int | None = None,
    ) -> None:
        pairs = count - 1
        self.lanes = lanes
        self.length = length
        self.history = history
        self.lane_length = pairs // lanes if drop_tail else -(-pairs // lanes)
        share = lanes // world_size
        self.first_lane = rank * share
        borders = [lane * self.lane_length if drop_tail else lane * pairs // lanes for lane in range(lanes + 1)]
        mine = range(self.first_lane, self.first_lane + share)
        self.bounds = [(borders[lane], borders[lane + 1]) for lane in mine]
        """Of each lane of this process, the first and the last step: it has the pairs of a step and the next between."""
        self.vary = vary
        self._lengths = np.array([]) if vary is None else self._drawn(np.random.default_rng(vary))
        self._epoch = 0
        # In steps of a lane, so that they mean the same with windows of another length.
        self._position = 0
        self._resume_at = 0

    def _drawn(self, draw: np.random.Generator) -> np.ndarray:
        """Lengths of windows that together are a lane."""
        lengths: list[int] = []
        left = self.lane_length
        while left:
            about = self.length if draw.random() < 0.95 else self.length / 2
            lengths.append(min(left, max(5, round(draw.normal(about, 5)))))
            left -= lengths[-1]
        return np.array(lengths)

    def __len__(self) -> int:
        return -(-self.lane_length // self.length) if self.vary is None else len(self._lengths)

    @abstractmethod
    def window(self, begin: int, position: int, end: int, advance: int) -> Any:
        """The window [position, end) of each lane of this process, in pairs, with the history [begin, position) before it.

        Args:
            begin, position, end: counted from where a lane begins.
            advance: after how many steps the next batch begins.
        """

    def __iter__(self) -> Iterator[Any]:
        epoch, position, self._resume_at = self._epoch, self._resume_at, 0
        ends: list[int] = []
        if self.vary is not None:
            ends = np.random.default_rng([self.vary, epoch]).permutation(self._lengths).cumsum().tolist()
        while position < self.lane_length:
            end = ends[bisect_right(ends, position)] if ends else min(position + self.length, self.lane_length)
            begin = max(0, position - self.history)
            self._epoch, self._position = (epoch, end) if end < self.lane_length else (epoch + 1, 0)
            yield self.window(begin, position, end, max(0, end - self.history) - begin)
            position = end

    def state_dict(self) -> dict[str, int]:
        """Where the next window begins, and of which pass."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next pass there."""
        self._epoch = state["epoch"]
        self._position = self._resume_at = state["position"]
