"""A sequence without an end in sight, in lanes: how a stream is trained on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any


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
        # In steps of a lane, so that they mean the same with windows of another length.
        self._position = 0
        self._resume_at = 0

    def __len__(self) -> int:
        return -(-self.lane_length // self.length)

    @abstractmethod
    def window(self, begin: int, position: int, end: int, advance: int) -> Any:
        """The window [position, end) of each lane of this process, in pairs, with the history [begin, position) before it.

        Args:
            begin, position, end: counted from where a lane begins.
            advance: after how many steps the next batch begins.
        """

    def __iter__(self) -> Iterator[Any]:
        position, self._resume_at = self._resume_at, 0
        while position < self.lane_length:
            end = min(position + self.length, self.lane_length)
            begin = max(0, position - self.history)
            self._position = end % self.lane_length
            yield self.window(begin, position, end, max(0, end - self.history) - begin)
            position = end
        self._position = 0

    def state_dict(self) -> dict[str, int]:
        """Where the next window begins."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next pass there."""
        self._position = self._resume_at = state["position"]
