"""Your own text files as a stream."""

import codecs
import glob
import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from unroll.data.base import SPLITS
from unroll.data.encoding import Chunk
from unroll.data.tables import begins_as, codec
from unroll.data.text_stream import TextStream
from unroll.errors import UsageError, UserError

_CHUNK = 2**20


class TextFiles(TextStream):
    """One file or many, in sorted order, of any size. A byte-order mark is taken off and CRLF read as a newline.

    Args:
        path: a file or a glob, "**" included: what is trained on, and, if no other files are given, split by fractions. Files
            of validation and test that it matches, too, are left out of it.
        validation_path, test_path: a file or a glob for that split; both or none.
        fractions: shares of train, validation and test, in this order along the text, by characters (bytes for
            unit=bytes). Only without validation_path and test_path.
        encoding: of the files. Not used for unit=bytes, which takes them as they are.
        **stream: see `TextStream`.

    Raises:
        UsageError: fractions that do not make a whole, or one of two paths.
        UserError: no such file, an empty one, or one in another encoding.
    """

    def __init__(
        self,
        path: str,
        validation_path: str | None,
        test_path: str | None,
        fractions: Annotated[list[float], Field(min_length=3, max_length=3)],
        encoding: str,
        **stream: Any,
    ) -> None:
        super().__init__(**stream)
        if (validation_path is None) != (test_path is None):
            raise UsageError(
                "data.validation_path and data.test_path go together: give both, or none and data.fractions"
            )
        if validation_path is None and (min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6):
            raise UsageError(f"data.fractions={fractions}: three shares above 0 that add up to 1 are needed")
        codec(encoding)
        self.path = path
        self.paths = {"train": path, "validation": validation_path, "test": test_path}
        self.fractions = fractions
        self.encoding = encoding

    @property
    def source(self) -> str:
        return self.path

    @cached_property
    def fingerprint(self) -> str:
        # The files' own bytes: read once and fast, where hashing the splits would decode a large corpus three times.
        digest = hashlib.sha256(
            f"{self.encoding} {[path is not None for path in self.paths.values()]} {self.fractions}".encode()
        )
        for split in SPLITS:
            for file in self._files(split) if self.paths[split] else []:
                with file.open("rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
            if self.paths["validation"] is not None:
                digest.update(f"end of {split}".encode())  # a file may go from one split to the next
        return digest.hexdigest()

    def texts(self, split: str) -> Iterator[Chunk]:
        if self.paths["validation"] is not None:
            yield from self._read(split)
            return
        if not hasattr(self, "_length"):
            self._length = sum(len(chunk) for chunk in self._read("train"))
        train, validation, _ = self.fractions
        borders = [0, int(train * self._length), int((train + validation) * self._length), self._length]
        start, stop = borders[SPLITS.index(split) :][:2]
        position = 0
        for chunk in self._read("train"):
            if position >= stop:
                return
            yield chunk[max(0, start - position) : stop - position]
            position += len(chunk)

    def describe(self) -> list[str]:
        lines = super().describe()
        shared = len(self._scored_too())
        if shared and glob.has_magic(self.path):
            lines.append(
                f"note: {shared:,} of the files that data.path matches are of validation or test: left out of train"
            )
        elif shared:
            lines.append(f"note: {self.path} is trained on and scored, too: scores will look too good by it")
        return lines

    def _files(self, split: str) -> list[Path]:
        found = self._matched(split)
        if split == "train" and glob.has_magic(self.path):
            shared = self._scored_too()
            found = [file for file in found if file not in shared]
            if not found:
                raise UserError(f"{self.path}: matches no file but those of data.validation_path and data.test_path")
        return found

    def _scored_too(self) -> list[Path]:
        """The files that data.path matches and those of validation or test are, too."""
        if self.paths["validation"] is None:
            return []
        scored = {file.resolve() for split in SPLITS[1:] for file in self._matched(split)}
        return [file for file in self._matched("train") if file.resolve() in scored]

    def _matched(self, split: str) -> list[Path]:
        pattern, key = self.paths[split], "data.path" if split == "train" else f"data.{split}_path"
        assert pattern is not None
        found = sorted(glob.glob(pattern, recursive=True)) or [pattern]
        files = [Path(name) for name in found if len(found) == 1 or not Path(name).is_dir()]
        for file in files:
            if not file.exists():
                kind = "no file matches it" if glob.has_magic(pattern) else "there is no such file"
                raise UserError(f"{pattern}: {kind} (seen from {Path.cwd()}); set {key} to a file or a quoted glob")
            if file.is_dir():
                raise UserError(f"{file}: is a folder; name the files in it, as {key}='{file}/*.txt'")
            if file.stat().st_size == 0:
                raise UserError(f"{file}: the file is empty; take it away, or leave it out of the glob")
        return files

    def _read(self, split: str) -> Iterator[Chunk]:
        for file in self._files(split):
            if self.unit == "bytes":
                with file.open("rb") as opened:
                    while block := opened.read(_CHUNK):
                        yield block
            else:
                yield from self._read_characters(file)

    def _read_characters(self, file: Path) -> Iterator[str]:
        encoding = codec(self.encoding)
        with file.open(encoding=encoding) as opened:  # newline=None: CRLF and CR are read as a newline
            while True:
                try:
                    block = opened.read(_CHUNK)
                except UnicodeError:
                    raise self._wrong_encoding(file, encoding) from None
                if not block:
                    return
                yield block

    def _wrong_encoding(self, file: Path, encoding: str) -> UserError:
        decoder = codecs.getincrementaldecoder(encoding)()
        offset = 0
        with file.open("rb") as opened:
            while True:
                waiting = len(decoder.getstate()[0])
                block = opened.read(_CHUNK)
                try:
                    decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    offset += error.start - waiting
                    what = f"byte 0x{error.object[error.start]:02x} at offset {offset:,} is not {self.encoding}"
                    break
                except UnicodeError as error:  # encodings that say only so, as UTF-16 without its mark
                    what = f"is not {self.encoding}: {error}"
                    break
                offset += len(block)
        begun = begins_as(file)
        hint = f"the file begins as {begun}" if begun else "name its encoding, as data.encoding=latin-1"
        return UserError(f"{file}: {what}; {hint}, or read bytes with data.unit=bytes")
