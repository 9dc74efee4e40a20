"""Texts in, answers out: streamed, in order, in constant memory."""

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from unroll.data.tables import columns_of, is_lines, is_unicode, lines_of, read_lines, read_rows, unit
from unroll.errors import UsageError, UserError, did_you_mean
from unroll.writing import written_whole

_AT_ONCE = 2048  # texts that are sorted by length together, and then answered
_CHARACTERS_AT_ONCE = 8_000_000


def add_input_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of predict.py that say which texts to `verb`."""
    parser.add_argument("--text", action="append", help=f"a text to {verb}; may be given several times")
    parser.add_argument(
        "--input",
        type=Path,
        help="a file: .txt, a text a line, or .csv, .tsv, .jsonl, .parquet; default, and -: lines of stdin",
    )
    parser.add_argument("--column", help="column of the texts in a table (default: text, or the only one)")
    parser.add_argument("--encoding", default="utf-8", help="of the input file (default: utf-8)")


def check_excluding(options: argparse.Namespace, *pairs: tuple[str, str]) -> None:
    """Are no two options given that exclude each other?

    Raises:
        UsageError: they are.
    """
    for given, other in pairs:
        if all(getattr(options, name) not in (None, False) for name in (given, other)):
            raise UsageError(f"--{given} and --{other}: give one of them")


def check_output(path: Path | None, *inputs: Path | None) -> None:
    """Can this file be written, and is it none of those that are read? Before any work: what would fail at its end.

    Raises:
        UserError: it cannot, or is.
    """
    if path is None:
        return
    if any(source is not None and path.is_file() and source.exists() and path.samefile(source) for source in inputs):
        raise UsageError(f"--output {path}: is the input; name another file")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")


def is_typed(options: argparse.Namespace) -> bool:
    """Do the texts come from a person at a terminal?"""
    from_stdin = options.text is None and options.input in (None, Path("-"))
    return from_stdin and sys.stdin is not None and sys.stdin.isatty()


def texts_of(options: argparse.Namespace) -> Iterator[str]:
    """The texts that the options name.

    Raises:
        UserError: they cannot be read.
    """
    for number, text in enumerate(_read(options), start=1):
        if not is_unicode(text):
            source = f"{options.input}, " if options.input else ""
            raise UserError(
                f"{source}text {number}: has half a character (a lone surrogate), or is not {options.encoding}"
            )
        yield text


def _read(options: argparse.Namespace) -> Iterator[str]:
    if options.text is not None:
        yield from options.text
    elif options.input in (None, Path("-")):
        if options.column is not None:
            raise UsageError(f"--column {options.column}: standard input has lines, not columns")
        if sys.stdin is None:
            raise UsageError("there is no standard input: give --text or --input")
        if sys.stdin.isatty():
            print("a text a line; Ctrl-D ends", file=sys.stderr)
        yield from lines_of(sys.stdin.buffer, "standard input", options.encoding)
    elif is_lines(options.input):
        if options.column is not None:
            raise UsageError(f"--column {options.column}: {options.input} has lines, not columns; .csv, .jsonl, ... do")
        yield from read_lines(options.input, options.encoding)
    else:
        column = options.column or _only_column(options.input, options.encoding)
        for row in read_rows(options.input, {column: "--column"}, options.encoding):
            (text,) = row.fields
            if not isinstance(text, str):
                raise UserError(
                    f"{options.input}, {unit(options.input)} {row.number}, column {column}: {text!r} is not a text"
                )
            yield text


def _only_column(path: Path, encoding: str) -> str:
    names = columns_of(path, encoding)
    if "text" in names:
        return "text"
    if len(names) == 1:
        return names[0]
    raise UsageError(f"{path}: which column has the texts? Name it by --column; {did_you_mean('text', names)}")


def chunks(texts: Iterator[str], typed: bool, most: int = _AT_ONCE) -> Iterator[list[str]]:
    """At most so many texts at a time; fewer where they are long; one by one from a person who types."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if typed or len(chunk) == most or characters > _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


@contextmanager
def opened_output(path: Path | None) -> Iterator[TextIO]:
    """Where answers go: standard output, or a file that is there when all of them are."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        sys.stdout.flush()
        return
    if path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    path = path.resolve()  # what a link points to is what is meant
    with written_whole(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def answering(path: Path | None, things: str, typed: bool = False) -> Iterator[tuple[TextIO, Callable[[int], None]]]:
    """Where answers go, see `opened_output`, and a function to be called after each few of them with how many they were: a
    terminal shows how far we are and how fast, and who types sees the answers at once. In the end all are counted.

    Args:
        path: the output's.
        things: what is answered, as `texts`.
        typed: whether what is asked comes from a keyboard.
    """
    began, count = time.perf_counter(), 0
    with opened_output(path) as file, _progress(typed) as show:

        def advance(some: int) -> None:
            nonlocal count
            count += some
            if typed:
                file.flush()
            show(f"{count:,} {things}, {count / (time.perf_counter() - began):,.0f} {things}/s")

        yield file, advance
    seconds = time.perf_counter() - began
    written = f" -> {path}" if path else ""
    print(f"{count:,} {things} in {seconds:.1f} s, {count / seconds:,.0f} {things}/s{written}", file=sys.stderr)


@contextmanager
def _progress(typed: bool) -> Iterator[Callable[[str], None]]:
    if typed or not sys.stderr.isatty():
        yield lambda told: None
        return
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("")
        yield lambda told: progress.update(task, description=told)
