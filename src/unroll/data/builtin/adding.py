"""The adding problem: the sum of the two numbers of a sequence that have a mark."""

import numpy as np

from unroll.data.memory import EXACT, Drawn, MemoryData, MemorySpec


class Adding(MemoryData):
    """`0.31 0.87* 0.55 ... 0.12* 0.90` asks for 0.99 (Hochreiter & Schmidhuber 1997, section 5.4; in this form Le et al.
    2015, section 4.1).

    A step is a number, uniform from 0 to 1, and whether it has a mark. The first mark stands in the first tenth, `lag` steps
    or a few more before the end, and the second in the second half.
    """

    @property
    def source(self) -> str:
        return "adding"

    @property
    def spec(self) -> MemorySpec:
        return MemorySpec((), 2, (), 1, self.lag)

    @property
    def guessing(self) -> dict[str, float]:
        # The sum of two uniform numbers has a variance of 2 / 12, and the density 1 - |s - 1|: within EXACT of 1 lie so many.
        return {"mse": 1 / 6, "accuracy": 2 * EXACT - EXACT**2}

    def draw(self, count: int, lag: int, chance: np.random.Generator) -> Drawn:
        early = max(1, lag // 10)
        time = lag + early
        values = chance.random((count, time), dtype=np.float32)
        marks = np.zeros_like(values)
        rows = np.arange(count)
        marks[rows, chance.integers(early, size=count)] = 1
        marks[rows, chance.integers(max(early, time // 2), time, size=count)] = 1
        return Drawn(np.stack([values, marks], axis=-1), (values * marks).sum(1, keepdims=True))
