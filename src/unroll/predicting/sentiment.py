"""Texts in, classes out."""

import argparse
import csv
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

from unroll.errors import UsageError
from unroll.predicting.streaming import (
    add_input_arguments,
    answering,
    check_excluding,
    check_output,
    chunks,
    is_typed,
    texts_of,
)

if TYPE_CHECKING:
    from unroll.tasks.classifier import Prediction
    from unroll.tasks.sentiment import Sentiment


def add_labelling_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a task that labels texts."""
    add_input_arguments(parser, "label")
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
        for text in texts_of(options):
            prediction = task.classify([text])[0]
            told = "   (no word that the model knows)" if prediction.unknown else ""
            console.print(
                Text(prediction.label, style="bold"), f"{max(prediction.probabilities):.1%}{told}", highlight=False
            )
            console.print(task.explain(text).rich(), highlight=False)
        return
    by_name = "jsonl" if options.output and options.output.suffix in (".jsonl", ".ndjson") else "csv"
    kind = options.format or by_name
    count = unknown = 0
    typed = is_typed(options)
    found = chunks(texts_of(options), typed)
    first = next(found, [])  # what is wrong from the start is told before anything is written
    with answering(options.output, "texts", typed) as (file, advance):
        write = _row_writer(file, kind, task.spec.labels)
        for chunk in itertools.chain([first], found):
            predictions = task.classify(chunk)
            for text, prediction in zip(chunk, predictions, strict=True):
                write(text, prediction)
            count += len(chunk)
            unknown += sum(prediction.unknown for prediction in predictions)
            advance(len(chunk))
    if unknown:
        print(
            f"warning: {unknown:,} of {count:,} texts have no word that the model knows: "
            "their answers say nothing of them",
            file=sys.stderr,
        )


def _check_options(options: argparse.Namespace) -> None:
    """Before any work: what would be ignored or fail at its end."""
    check_excluding(options, ("text", "input"), ("text", "column"), ("explain", "output"), ("explain", "format"))
    path = options.output
    if path is None:
        return
    check_output(path, options.input)
    if (
        options.format is None
        and path.suffix not in (".csv", ".jsonl", ".ndjson")
        and (path.is_file() or not path.exists())
    ):
        raise UsageError(f"--output {path}: a .csv or a .jsonl is written; for another name give --format")


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
