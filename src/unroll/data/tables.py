"""Files of rows, read one row after the other: CSV and its kin, JSON lines, Parquet, and plain lines."""

import codecs
import csv
import glob
import io
import itertools
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from unroll.errors import UsageError, UserError, did_you_mean

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_ROWS_AT_ONCE = 256


class Row(NamedTuple):
    """Some fields of a row.

    Attributes:
        number: its place in the file, from 1: of its (last) line, or of its row in Parquet.
        fields: the asked-for columns' values, in the order asked for; None for what Parquet or JSON calls null. A CSV's
            are strings as they stand there: "NA" and "None" are texts.
    """

    number: int
    fields: tuple[Any, ...]


def unit(path: Path) -> str:
    """What `Row.number` counts in this file."""
    return "row" if path.suffix == ".parquet" else "line"


def read_rows(path: Path, columns: Mapping[str, str], encoding: str) -> Iterator[Row]:
    """The rows of a file, in constant memory. What kind it is its name's ending says.

    Args:
        path: `.csv`, `.tsv` (a header, then rows; comma, semicolon, tab or bar is told from the header), `.jsonl` or
            `.ndjson`, or `.parquet`.
        columns: those to read; with each the option that names it, for messages.
        encoding: of text files; a byte-order mark is taken off, and lines may end in CRLF.

    Raises:
        UserError: no such file, an empty one, another encoding, no such column, a row that is broken.
    """
    check_file(path)
    if path.suffix == ".parquet":
        yield from _read_parquet(path, columns)
        return
    if path.suffix not in _TABLES:
        raise UserError(f"{path}: what kind of file is it? Its name should end in .csv, .tsv, .jsonl or .parquet")
    with open_text(path, encoding) as file:
        reader = _read_csv if path.suffix in (".csv", ".tsv") else _read_json_lines
        try:
            yield from reader(path, file, columns)
        except UnicodeError as error:
            raise wrong_encoding(path, encoding, error) from None


def lines_of(stream: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    """The lines of a stream without their ends, each as soon as it is there.

    Raises:
        UserError: it is in another encoding.
    """
    reader = io.TextIOWrapper(stream, encoding=codec(encoding))
    number = 0
    try:
        while line := reader.readline():
            number += 1
            yield line.rstrip("\n")
    except UnicodeError as error:
        raise UserError(f"{name}, line {number + 1} or soon after: is not {encoding} ({error})") from None


def read_lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file without their ends.

    Raises:
        UserError: no such file, an empty one, another encoding.
    """
    with open_text(path, encoding) as file:
        try:
            for line in file:
                yield line.rstrip("\n")
        except UnicodeError as error:
            raise wrong_encoding(path, encoding, error) from None


def is_unicode(text: str) -> bool:
    """Does it have whole characters only? JSON and broken streams can give half of one."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def is_lines(path: Path) -> bool:
    """Is this file, by its name, one of plain lines?"""
    return path.suffix not in _TABLES


def check_file(path: Path) -> None:
    """Is it there, and is there something in it?

    Raises:
        UserError: it is not.
    """
    if not path.exists():
        hint = "; one file is read here, no pattern" if glob.has_magic(str(path)) else ""
        raise UserError(f"{path}: there is no such file (seen from {Path.cwd()}){hint}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if path.is_file() and path.stat().st_size == 0:  # a pipe has no size
        raise UserError(f"{path}: the file is empty (0 bytes)")


def open_text(path: Path, encoding: str) -> IO[str]:
    """Open a text file for reading; a UTF-8 byte-order mark is taken off.

    Raises:
        UserError: no such file, an empty one, no such encoding.
    """
    check_file(path)
    return path.open(encoding=codec(encoding), newline="" if path.suffix in (".csv", ".tsv") else None)


def codec(encoding: str) -> str:
    """The encoding to read by: UTF-8 with or without its mark.

    Raises:
        UsageError: there is none of this name.
    """
    try:
        "".encode(encoding)
        return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    except LookupError:  # some names are of codecs that are no text encodings
        raise UsageError(f"encoding {encoding}: Python knows no text encoding of this name") from None


def wrong_encoding(path: Path, encoding: str, error: UnicodeError) -> UserError:
    """The answer to bytes that are not in the encoding: says the line."""
    if not isinstance(error, UnicodeDecodeError):
        return UserError(f"{path}: is not {encoding}: {error}")
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):  # noqa: B007  # the last one is told
            try:
                decoder.decode(line)
            except UnicodeDecodeError as found:
                error = found
                break
    byte = error.object[error.start]
    begun = begins_as(path)
    hint = f"the file begins as {begun}" if begun else "name the file's encoding (latin-1, ...)"
    return UserError(f"{path}, line {number}: byte 0x{byte:02x} is not {encoding}; {hint}")


def begins_as(path: Path) -> str | None:
    """What a file's first bytes say that it is, and what to do; None: nothing that is known."""
    with path.open("rb") as file:
        begin = file.read(2)
    if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "one in the encoding utf-16 does: name that"
    return {
        b"\x1f\x8b": "a gzip archive does: unpack it",
        b"PK": "a zip archive or a spreadsheet does: save it as text",
    }.get(begin)


def _read_csv(path: Path, file: IO[str], columns: Mapping[str, str]) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    header = file.readline()
    names, delimiter = _header(header, columns)
    places = _places(path, columns, names, f" (read with {_DELIMITERS[delimiter]}s between columns)")
    reader = csv.reader(itertools.chain([header], file), delimiter=delimiter, strict=True)
    try:
        next(reader)
        begins = reader.line_num + 1
        for fields in reader:
            if fields and len(fields) != len(names):
                raise UserError(
                    f"{path}, line {begins}: has {len(fields)} fields where the header has {len(names)}; a text with "
                    f"{_DELIMITERS[delimiter]}s in it has to stand in double quotes"
                )
            if fields:
                yield Row(begins, tuple(fields[place] for place in places))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {begins}: is no proper CSV from here on: {error}") from None


def _header(header: str, columns: Collection[str]) -> tuple[list[str], str]:
    """The columns' names and the delimiter: that which finds most of what is asked for, then that which finds most."""
    found = {}
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader(io.StringIO(header), delimiter=delimiter), [])
        except csv.Error:
            names = [header]
        found[delimiter] = [name.strip() for name in names]
    best = max(found, key=lambda delimiter: (len(set(columns) & set(found[delimiter])), len(found[delimiter])))
    return found[best], best


def _places(path: Path, columns: Mapping[str, str], names: Sequence[str], how: str = "") -> list[int]:
    places = {name: place for place, name in enumerate(names)}
    counts = Counter(names)
    for column in columns:
        if column not in places:
            valid = did_you_mean(column, list(names))
            raise UserError(f"{path}: there is no column {column}{how}; name another by {columns[column]}: {valid}")
        if counts[column] > 1:
            raise UserError(f"{path}: {counts[column]} columns are called {column}: which one? Rename the others")
    return [places[column] for column in columns]


def _read_json_lines(path: Path, file: IO[str], columns: Mapping[str, str]) -> Iterator[Row]:
    first = True
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except RecursionError:
            raise UserError(f"{path}, line {number}: is nested too deep") from None
        except ValueError as error:
            raise UserError(f"{path}, line {number}: is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number}: is no JSON object, as {{"text": "...", "label": "..."}}')
        if first:
            _places(path, columns, list(row))
            first = False
        yield Row(number, tuple(row.get(column) for column in columns))


def _read_parquet(path: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    import pyarrow

    file = _open_parquet(path)
    _places(path, columns, file.schema_arrow.names)
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(columns)):
            for fields in zip(*(batch.column(column).to_pylist() for column in columns), strict=True):
                number += 1
                yield Row(number, fields)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}, row {number + 1}: cannot be read on: {str(error).splitlines()[0]}") from None


def _open_parquet(path: Path) -> Any:
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: is not a Parquet file: {str(error).splitlines()[0]}") from None


def columns_of(path: Path, encoding: str) -> list[str]:
    """The names of a file's columns.

    Raises:
        UserError: as `read_rows`.
    """
    if path.suffix == ".parquet":
        check_file(path)
        return list(_open_parquet(path).schema_arrow.names)
    with open_text(path, encoding) as file:
        try:
            first = next((line for line in file if line.strip()), "")
        except UnicodeError as error:
            raise wrong_encoding(path, encoding, error) from None
    if path.suffix in (".csv", ".tsv"):
        return _header(first, [])[0]
    try:
        row = json.loads(first)
    except ValueError:
        row = None
    return list(row) if isinstance(row, dict) else []
