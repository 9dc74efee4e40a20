"""Copying: symbols, a long pause, and then all of them again."""

from string import ascii_uppercase
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from unroll.data.memory import Drawn, MemoryData, MemorySpec, guessing_classes


class Copying(MemoryData):
    """`C A B . . . ? . .` asks for C at the question mark, then for A and for B (Hochreiter & Schmidhuber 1997; in this
    form Arjovsky et al. 2016, section 4.1).

    Args:
        choices: different symbols, all alike frequent.
        length: symbols to copy. Each is asked for `lag` steps after it was read, so `lag` is at least this.
        **memory: see `MemoryData`.
    """

    def __init__(self, choices: Annotated[int, Field(ge=2, le=26)], length: PositiveInt, **memory: Any) -> None:
        super().__init__(**memory)
        self.choices = choices
        self.length = self.shortest = length

    @property
    def source(self) -> str:
        return "copy"

    @property
    def spec(self) -> MemorySpec:
        letters = ascii_uppercase[: self.choices]
        return MemorySpec((*letters, ".", "?"), 0, tuple(letters), self.length, self.lag)

    @property
    def guessing(self) -> dict[str, float]:
        return guessing_classes(self.choices)

    def draw(self, count: int, lag: int, chance: np.random.Generator) -> Drawn:
        pause, question = self.choices, self.choices + 1
        symbols = chance.integers(self.choices, size=(count, self.length), dtype=np.int8)
        steps = np.full((count, lag + self.length), pause, np.int8)
        steps[:, : self.length] = symbols
        steps[:, lag] = question
        return Drawn(steps, symbols)
