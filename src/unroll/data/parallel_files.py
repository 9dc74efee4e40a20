"""Your own translations: two files of lines, or one table with a column a side."""

from pathlib import Path
from typing import Any

from unroll.data.parallel_text import Pairs, ParallelText
from unroll.data.tables import read_lines, read_rows, unit
from unroll.errors import UsageError, UserError

_SPLITS = {"train": "", "validation": "validation_", "test": "test_"}


class ParallelFiles(ParallelText):
    """Pairs from files: line i of one is translated by line i of the other; or rows of a CSV, TSV, JSON lines or Parquet.

    Args:
        source_path, target_path: the files of the training split's two sides, or of all there is.
        path: a table in their place.
        validation_source_path, validation_target_path, validation_path, test_source_path, test_target_path, test_path:
            the same for these splits; without any a share of the training pairs is drawn.
        source, target: a table's columns.
        encoding: of text files.
        **parallel: see `ParallelText`.
    """

    def __init__(
        self,
        source_path: str | None,
        target_path: str | None,
        path: str | None,
        validation_source_path: str | None,
        validation_target_path: str | None,
        validation_path: str | None,
        test_source_path: str | None,
        test_target_path: str | None,
        test_path: str | None,
        source: str,
        target: str,
        encoding: str,
        **parallel: Any,
    ) -> None:
        super().__init__(**parallel)
        self.tables = {"train": path, "validation": validation_path, "test": test_path}
        self.files = {
            "train": (source_path, target_path),
            "validation": (validation_source_path, validation_target_path),
            "test": (test_source_path, test_target_path),
        }
        self.columns = (source, target)
        self.encoding = encoding

    @property
    def source(self) -> str:
        return self.tables["train"] or " and ".join(str(file) for file in self.files["train"])

    def _check_paths(self) -> None:
        for split, prefix in _SPLITS.items():
            given = [file for file in self.files[split] if file is not None]
            if len(given) == 1 or (given and self.tables[split] is not None):
                raise UsageError(
                    f"the {split} split: give either data.{prefix}source_path and data.{prefix}target_path, or "
                    f"data.{prefix}path"
                )
        if self.tables["train"] is None and self.files["train"][0] is None:
            raise UsageError(
                "data=parallel_files: give data.source_path and data.target_path, or data.path for a table"
            )

    def read(self) -> dict[str, Pairs]:
        self._check_paths()
        splits = {}
        for split in _SPLITS:
            table, (source, target) = self.tables[split], self.files[split]
            if table is not None:
                splits[split] = self._read_table(Path(table))
            elif source is not None and target is not None:
                splits[split] = self._read_files(Path(source), Path(target))
        return splits

    def _read_files(self, source: Path, target: Path) -> Pairs:
        if source.resolve() == target.resolve():
            raise UserError(f"{source}: is given for both sides")
        sides = []
        for path in (source, target):
            # Empty lines at a file's end are no sentences.
            lines = list(read_lines(path, self.encoding))
            while lines and not lines[-1].strip():
                lines.pop()
            sides.append(lines)
        short, long = sorted(zip((source, target), sides, strict=True), key=lambda side: len(side[1]))
        if len(short[1]) != len(long[1]):
            last = len(short[1])
            raise UserError(
                f"{short[0]} ends with line {last:,}, and {long[0]} goes on to line {len(long[1]):,}: the first one without "
                f"a partner is {_shortened(long[1][last])!r}"
            )
        for path, lines in zip((source, target), sides, strict=True):
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    raise UserError(f"{path}, line {number}: is empty: take the line out of both files")
        return Pairs(sides[0], sides[1], f"{source} and {target}", "line")

    def _read_table(self, path: Path) -> Pairs:
        if self.columns[0] == self.columns[1]:
            raise UserError(f"data.source and data.target are the same column, {self.columns[0]}")
        columns = dict(zip(self.columns, ("data.source", "data.target"), strict=True))
        sides: tuple[list[str], list[str]] = ([], [])
        numbers = []
        for row in read_rows(path, columns, self.encoding):
            for side, column, text in zip(sides, self.columns, row.fields, strict=True):
                if text is not None and not isinstance(text, str):
                    raise UserError(f"{path}, {unit(path)} {row.number}, column {column}: {text!r} is not a text")
                side.append(text or "")
            numbers.append(row.number)
        return Pairs(*sides, str(path), unit(path), numbers)


def _shortened(line: str) -> str:
    return line if len(line) <= 40 else line[:39] + "…"
