"""Texts in, classes out: streamed, in order, in constant memory."""

import argparse
import csv
import io
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from unroll.data.tables import columns_of, is_lines, is_unicode, lines_of, read_lines, read_rows, unit
from unroll.errors import UsageError, UserError, did_you_mean
from unroll.writing import written_whole

if TYPE_CHECKING:
    from unroll.tasks.sentiment import Prediction, Sentiment

_AT_ONCE = 2048  # texts that are sorted by length together, and then answered
_CHARACTERS_AT_ONCE = 8_000_000


def add_labelling_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a task that labels texts."""
    parser.add_argument("--text", action="append", help="a text to label; may be given several times")
    parser.add_argument(
        "--input",
        type=Path,
        help="a file: .txt, a text a line, or .csv, .tsv, .jsonl, .parquet; default: lines of stdin",
    )
    parser.add_argument("--column", help="column of the texts in a table (default: text, or the only one)")
    parser.add_argument("--encoding", default="utf-8", help="of the input file (default: utf-8)")
    parser.add_argument("--output", type=Path, help="file to write, .csv or .jsonl (default: CSV on standard output)")
    parser.add_argument("--format", choices=["csv", "jsonl"], help="of the output (default: by its name, else csv)")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show each text with the words that decided in colours, instead of a table",
    )


def label_stream(task: "Sentiment", options: argparse.Namespace) -> None:
    """predict.py for a task that labels texts.

    Raises:
        UserError: something is wrong with the input, or with the output's name.
    """
    _check_options(options)
    if options.explain:
        console = Console()
        for text in _texts(options):
            prediction = task.classify([text])[0]
            told = "   (no word that the model knows)" if prediction.unknown else ""
            console.print(
                Text(prediction.label, style="bold"), f"{max(prediction.probabilities):.1%}{told}", highlight=False
            )
            console.print(task.explain(text).rich(), highlight=False)
        return
    by_name = "jsonl" if options.output and options.output.suffix in (".jsonl", ".ndjson") else "csv"
    kind = options.format or by_name
    began = time.perf_counter()
    count = unknown = 0
    typed = options.text is None and options.input is None and sys.stdin is not None and sys.stdin.isatty()
    chunks = _chunks(_texts(options), typed)
    first = next(chunks, [])  # what is wrong from the start is told before anything is written
    with _writer(options.output, kind, task.spec.labels) as write, _bar(typed) as advance:
        for chunk in itertools.chain([first], chunks):
            predictions = task.classify(chunk)
            for text, prediction in zip(chunk, predictions, strict=True):
                write(text, prediction)
            count += len(chunk)
            unknown += sum(prediction.unknown for prediction in predictions)
            advance(count, count / (time.perf_counter() - began))
    seconds = time.perf_counter() - began
    if unknown:
        print(
            f"warning: {unknown:,} of {count:,} texts have no word that the model knows: "
            "their answers say nothing of them",
            file=sys.stderr,
        )
    written = f" -> {options.output}" if options.output else ""
    print(f"{count:,} texts in {seconds:.1f} s, {count / seconds:,.0f} texts/s{written}", file=sys.stderr)


def _check_options(options: argparse.Namespace) -> None:
    """Before any work: what would be ignored or fail at its end."""
    for given, other in (("text", "input"), ("text", "column"), ("explain", "output"), ("explain", "format")):
        if getattr(options, given) and getattr(options, other) is not None:
            raise UsageError(f"--{given} and --{other}: give one of them")
    path = options.output
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    if options.format is None and path.suffix not in (".csv", ".jsonl", ".ndjson") and not path.exists():
        raise UsageError(f"--output {path}: a .csv or a .jsonl is written; for another name give --format")


def _texts(options: argparse.Namespace) -> Iterator[str]:
    for number, text in enumerate(_read(options), start=1):
        if not is_unicode(text):
            raise UserError(f"text {number}: has half a character (a lone surrogate), or is not {options.encoding}")
        yield text


def _read(options: argparse.Namespace) -> Iterator[str]:
    if options.text is not None:
        yield from options.text
    elif options.input is None:
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


def _chunks(texts: Iterator[str], typed: bool) -> Iterator[list[str]]:
    """Some thousand texts at a time; fewer where they are long; one by one from a person who types."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if typed or len(chunk) == _AT_ONCE or characters > _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


@contextmanager
def _writer(path: Path | None, kind: str, labels: Sequence[str]) -> Iterator[Callable[[str, "Prediction"], None]]:
    """A function that writes one answer; a file is there when all of them are."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield _row_writer(sys.stdout, kind, labels)
        sys.stdout.flush()
        return
    path = path.resolve()  # what a link points to is what is meant
    if path.exists() and not path.is_file():  # a pipe or a device is written to, not replaced
        with path.open("w", encoding="utf-8", newline="") as file:
            yield _row_writer(file, kind, labels)
        return
    with written_whole(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        yield _row_writer(file, kind, labels)


def _row_writer(file: TextIO, kind: str, labels: Sequence[str]) -> Callable[[str, "Prediction"], None]:
    if kind == "jsonl":

        def write_json(text: str, prediction: "Prediction") -> None:
            probabilities = {name: round(p, 6) for name, p in zip(labels, prediction.probabilities, strict=True)}
            row = {"text": text, "label": prediction.label, "probabilities": probabilities}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

        return write_json
    writer = csv.writer(file, lineterminator="\n")
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["label", *(f"p({name})" for name in labels), "text"])

    def write_csv(text: str, prediction: "Prediction") -> None:
        # A lone carriage return ends a row for a reader, and the library does not quote it before Python 3.13.
        (quoting if "\r" in text or "\r" in prediction.label else writer).writerow(
            [prediction.label, *(f"{p:.6f}" for p in prediction.probabilities), text]
        )

    return write_csv


@contextmanager
def _bar(typed: bool) -> Iterator[Callable[[int, float], None]]:
    """A function that is told how far we are and how fast; on a terminal it shows so."""
    if typed or not sys.stderr.isatty():
        yield lambda count, rate: None
        return
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("")
        yield lambda count, rate: progress.update(task, description=f"{count:,} texts, {rate:,.0f} texts/s")
