"""A text's tokens on disk, which are mapped into memory and not read."""

import fcntl
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from unroll.data.base import DAMAGED
from unroll.data.encoding import UNKNOWN_SYMBOL, Chunk, Vocabulary
from unroll.data.words import WordVocabulary
from unroll.errors import UserError

_FORMAT = 1  # part of the fingerprint: raised when the files written here change their meaning


def load_vocabulary(path: Path) -> Vocabulary | WordVocabulary:
    """Read what a vocabulary's `save` wrote.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        words = stored["unit"] in ("words", "bpe")
    except DAMAGED as error:
        raise UserError(f"{path}: not a vocabulary ({error!r}): is the run's folder whole?") from None
    return WordVocabulary.of(stored, path) if words else Vocabulary.of(stored, path)


class TokenStore:
    """A corpus's token arrays in a folder of its own, named by a fingerprint of the text and of how it was encoded.

    Attributes:
        vocabulary: built from the training text.
        unknown: split -> how many of its tokens are the unknown one.
    """

    def __init__(self, folder: Path) -> None:
        self.vocabulary = load_vocabulary(folder / "vocabulary.json")
        self.unknown: dict[str, int] = json.loads((folder / "unknown.json").read_text())
        self._folder = folder

    def tokens(self, split: str) -> np.memmap:
        """The tokens of a split, (length,), mapped from the disk: memory is taken only where it is touched."""
        return np.load(self._folder / f"{split}.npy", mmap_mode="r")

    @classmethod
    def known(cls, cache: Path, fingerprint: str, settings: str) -> "TokenStore | None":
        """The store of a corpus, if there is one; see `open`."""
        folder = cls._folder_of(cache, fingerprint, settings)
        return cls(folder) if folder.is_dir() else None

    @staticmethod
    def _folder_of(cache: Path, fingerprint: str, settings: str) -> Path:
        return cache / hashlib.sha256(f"{_FORMAT} {settings} {fingerprint}".encode()).hexdigest()[:24]

    @classmethod
    def open(
        cls,
        cache: Path,
        fingerprint: str,
        texts: Callable[[str], Iterator[Chunk]],
        splits: Iterable[str],
        fit: Callable[[Iterator[Chunk]], Vocabulary | WordVocabulary],
        settings: str,
        say: Callable[[str], None] = lambda line: None,
    ) -> "TokenStore":
        """The store of a corpus; it is encoded first if it is not yet there.

        Args:
            cache: the folder that stores lie in.
            fingerprint: another one whenever the text or its splits are others.
            texts: split -> its text in chunks; called several times.
            splits: names of splits, "train" among them.
            fit: makes the vocabulary from the training text.
            settings: another one whenever `fit` would make another vocabulary of the same text.
            say: is told when encoding begins.
        """
        folder = cls._folder_of(cache, fingerprint, settings)
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            with _alone(folder.with_name(f"unfinished-{folder.name}")) as unfinished:
                if not folder.is_dir():  # else another process was first
                    say(f"encoding the text into {folder}")
                    vocabulary = fit(texts("train"))
                    vocabulary.save(unfinished / "vocabulary.json")
                    unknown = {
                        split: _write_tokens(unfinished / f"{split}.npy", texts(split), vocabulary) for split in splits
                    }
                    (unfinished / "unknown.json").write_text(json.dumps(unknown))
                    unfinished.rename(folder)
        return cls(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """A folder to write in, beside its place, empty and to oneself: what is killed half-way is never taken for whole, and
    found by who comes next. It is taken away at the end, if it has not been renamed."""
    while True:
        folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another has just come to its end with it
            held = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(held, fcntl.LOCK_EX)  # waits for another process
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(held), folder.stat()):
                    break
            os.close(held)
    try:
        for left in folder.iterdir():
            left.unlink()
        yield folder
    finally:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), folder.stat()):  # renamed, its old name may be another's by now
                shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _write_tokens(path: Path, chunks: Iterable[Chunk], vocabulary: Vocabulary | WordVocabulary) -> int:
    """Write a .npy of tokens in the smallest type that holds them; returns how many are unknown."""
    kind = np.min_scalar_type(vocabulary.size - 1)
    length = unknown = 0
    with path.open("wb") as file:

        def write_header() -> None:
            # numpy leaves room in it for any length, so it can be written again once the length is known.
            np.lib.format.write_array_header_1_0(file, {"descr": kind.str, "fortran_order": False, "shape": (length,)})

        write_header()
        for chunk in vocabulary.pieces(chunks):
            tokens = vocabulary.encode(chunk).astype(kind)
            file.write(tokens.tobytes())
            length += len(tokens)
            unknown += int((tokens == UNKNOWN_SYMBOL).sum())
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
