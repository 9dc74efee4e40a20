"""Text as numbers: a vocabulary of characters or bytes."""

import codecs
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unroll.data.base import DAMAGED
from unroll.errors import UserError

Chunk = str | bytes
Unit = Literal["characters", "bytes"]

UNKNOWN_SYMBOL = 0
"""The token of whatever the training text does not contain."""

_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Vocabulary:
    """What tokens stand for.

    Attributes:
        unit: `characters` (Unicode code points) or `bytes`.
        symbols: code points or byte values in rising order; token i + 1 stands for symbols[i]. Token 0 is the unknown.
    """

    unit: Unit
    symbols: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of tokens, the unknown one among them."""
        return len(self.symbols) + 1

    @property
    def identity(self) -> str:
        """What gives a model's numbers their meaning."""
        return f"{self.unit} {self.symbols}"

    def pieces(self, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        """The same text in chunks that can be encoded by themselves: any can."""
        return chunks

    def encode(self, chunk: Chunk) -> np.ndarray:
        """Text -> tokens, (length,) of uint32. A str is taken as UTF-8 where the unit is bytes."""
        return self._table[_symbols(chunk, self.unit)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Tokens -> text; the unknown becomes U+FFFD, and so do bytes that are not UTF-8."""
        decoder = self.decoder()
        return "".join(decoder(int(token)) for token in tokens) + decoder(None)

    def decoder(self) -> Callable[[int | None], str]:
        """A function that is given token after token and returns the text that is complete by then; None ends it."""
        if self.unit == "characters":
            return lambda token: "" if token is None else chr(self.symbols[token - 1]) if token else "\ufffd"
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")

        def decode(token: int | None) -> str:
            if token is None:
                return utf8.decode(b"", final=True)
            return utf8.decode(bytes([self.symbols[token - 1]]) if token else b"\xff")

        return decode

    def unknown(self, text: str) -> list[str]:
        """The characters of `text` that have no token, each once."""
        return sorted({character for character in text if UNKNOWN_SYMBOL in self.encode(character)})

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps({"unit": self.unit, "symbols": self.symbols}))

    @classmethod
    def of(cls, stored: dict[str, Any], path: Path) -> "Vocabulary":
        """From what `save` wrote.

        Raises:
            UserError: it is something else.
        """
        try:
            unit, symbols = stored["unit"], tuple(int(symbol) for symbol in stored["symbols"])
        except DAMAGED as error:
            raise UserError(f"{path}: not a vocabulary ({error!r}): is the run's folder whole?") from None
        return cls(unit, symbols)

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(_CODE_POINTS if self.unit == "characters" else 256, UNKNOWN_SYMBOL, np.uint32)
        table[list(self.symbols)] = np.arange(1, self.size)
        return table


def build_vocabulary(chunks: Iterable[Chunk], unit: Unit) -> Vocabulary:
    """Every symbol that the chunks contain: those of the training text, so that no other split is looked at. Of bytes all
    256: what was learned of one text can go on with any other."""
    if unit == "bytes":
        return Vocabulary(unit, tuple(range(256)))
    seen = np.zeros(_CODE_POINTS, bool)
    for chunk in chunks:
        seen[_symbols(chunk, unit)] = True
    return Vocabulary(unit, tuple(np.flatnonzero(seen).tolist()))


def _symbols(chunk: Chunk, unit: Unit) -> np.ndarray:
    if unit == "bytes":
        return np.frombuffer(chunk.encode() if isinstance(chunk, str) else chunk, np.uint8)
    assert isinstance(chunk, str)
    return np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), np.uint32)
