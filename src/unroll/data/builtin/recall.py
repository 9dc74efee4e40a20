"""Delayed recall: the first symbol of a sequence, asked for at its end."""

from string import ascii_lowercase, ascii_uppercase
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from unroll.data.memory import Drawn, MemoryData, MemorySpec, guessing_classes


class Recall(MemoryData):
    """`C f b a ?` asks for C (after Hochreiter & Schmidhuber 1997, section 5.2: a symbol, noise, and the question).

    Args:
        choices: symbols that may have to be remembered, all alike frequent; as many others are the noise.
        **memory: see `MemoryData`.
    """

    def __init__(self, choices: Annotated[int, Field(ge=2, le=26)], **memory: Any) -> None:
        super().__init__(**memory)
        self.choices = choices

    @property
    def source(self) -> str:
        return "recall"

    @property
    def spec(self) -> MemorySpec:
        asked_for, noise = ascii_uppercase[: self.choices], ascii_lowercase[: self.choices]
        return MemorySpec((*asked_for, *noise, "?"), 0, tuple(asked_for), 1, self.lag)

    @property
    def guessing(self) -> dict[str, float]:
        return guessing_classes(self.choices)

    def draw(self, count: int, lag: int, chance: np.random.Generator) -> Drawn:
        first = chance.integers(self.choices, size=(count, 1), dtype=np.int8)
        noise = chance.integers(self.choices, 2 * self.choices, size=(count, lag - 1), dtype=np.int8)
        question = np.full((count, 1), 2 * self.choices, np.int8)
        return Drawn(np.concatenate([first, noise, question], axis=1), first)
