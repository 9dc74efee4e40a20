"""Text as numbers: a vocabulary, and token arrays on disk that are mapped into memory, not read."""

import codecs
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from unroll.errors import UserError

Chunk = str | bytes
Unit = Literal["characters", "bytes"]

UNKNOWN = 0
"""The token of whatever the training text does not contain."""

_FORMAT = 1  # part of the fingerprint: raised when the files written here change their meaning
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
        return sorted({character for character in text if UNKNOWN in self.encode(character)})

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps({"unit": self.unit, "symbols": self.symbols}))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is something else.
        """
        try:
            stored = json.loads(path.read_text())
            unit, symbols = stored["unit"], tuple(int(symbol) for symbol in stored["symbols"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a vocabulary ({error!r}): is the run's folder whole?") from None
        return cls(unit, symbols)

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(_CODE_POINTS if self.unit == "characters" else 256, UNKNOWN, np.uint32)
        table[list(self.symbols)] = np.arange(1, self.size)
        return table


def build_vocabulary(chunks: Iterable[Chunk], unit: Unit) -> Vocabulary:
    """Every symbol that the chunks contain: those of the training text, so that no other split is looked at."""
    seen = np.zeros(_CODE_POINTS if unit == "characters" else 256, bool)
    for chunk in chunks:
        seen[_symbols(chunk, unit)] = True
    return Vocabulary(unit, tuple(np.flatnonzero(seen).tolist()))


def _symbols(chunk: Chunk, unit: Unit) -> np.ndarray:
    if unit == "bytes":
        return np.frombuffer(chunk.encode() if isinstance(chunk, str) else chunk, np.uint8)
    assert isinstance(chunk, str)
    return np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), np.uint32)


class TokenStore:
    """A corpus's token arrays in a folder of its own, named by a fingerprint of the text and of how it was encoded.

    Attributes:
        vocabulary: built from the training text.
        unknown: split -> how many of its tokens are the unknown one.
    """

    def __init__(self, folder: Path) -> None:
        self.vocabulary = Vocabulary.load(folder / "vocabulary.json")
        self.unknown: dict[str, int] = json.loads((folder / "unknown.json").read_text())
        self._folder = folder

    def tokens(self, split: str) -> np.memmap:
        """The tokens of a split, (length,), mapped from the disk: memory is taken only where it is touched."""
        return np.load(self._folder / f"{split}.npy", mmap_mode="r")

    @classmethod
    def open(
        cls,
        cache: Path,
        fingerprint: str,
        texts: Callable[[str], Iterator[Chunk]],
        splits: Iterable[str],
        unit: Unit,
        say: Callable[[str], None] = lambda line: None,
    ) -> "TokenStore":
        """The store of a corpus; it is encoded first if it is not yet there.

        Args:
            cache: the folder that stores lie in.
            fingerprint: another one whenever the text or its splits are others.
            texts: split -> its text in chunks; called several times.
            splits: names of splits, "train" among them.
            unit: what a token stands for.
            say: is told when encoding begins.
        """
        folder = cache / hashlib.sha256(f"{_FORMAT} {unit} {fingerprint}".encode()).hexdigest()[:24]
        if not folder.is_dir():
            say(f"encoding the text into {folder}")
            cache.mkdir(parents=True, exist_ok=True)
            # Written beside its place and renamed when whole: what is killed half-way is never taken for a store.
            unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=cache))
            try:
                vocabulary = build_vocabulary(texts("train"), unit)
                vocabulary.save(unfinished / "vocabulary.json")
                unknown = {
                    split: _write_tokens(unfinished / f"{split}.npy", texts(split), vocabulary) for split in splits
                }
                (unfinished / "unknown.json").write_text(json.dumps(unknown))
                unfinished.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was first: its store is the same
                    raise
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        return cls(folder)


def _write_tokens(path: Path, chunks: Iterable[Chunk], vocabulary: Vocabulary) -> int:
    """Write a .npy of tokens in the smallest type that holds them; returns how many are unknown."""
    kind = np.min_scalar_type(vocabulary.size - 1)
    length = unknown = 0
    with path.open("wb") as file:

        def write_header() -> None:
            # numpy leaves room in it for any length, so it can be written again once the length is known.
            np.lib.format.write_array_header_1_0(file, {"descr": kind.str, "fortran_order": False, "shape": (length,)})

        write_header()
        for chunk in chunks:
            tokens = vocabulary.encode(chunk).astype(kind)
            file.write(tokens.tobytes())
            length += len(tokens)
            unknown += int((tokens == UNKNOWN).sum())
        file.seek(0)
        write_header()
        file.flush()
        os.fsync(file.fileno())
    return unknown


def release(tokens: np.ndarray) -> None:
    """Give back the memory of a mapped array's pages; they are read again when touched again.

    Pages that were read count as a process's memory until the system wants them back: a pass over a large corpus would
    look as if it were held in memory.
    """
    if isinstance(tokens.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        tokens.base.madvise(mmap.MADV_DONTNEED)
