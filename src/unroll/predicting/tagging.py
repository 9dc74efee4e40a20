"""Texts in, entities or tagged words out."""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

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
    from unroll.tasks.tagging import Mark, Tagging

# Light enough for black letters, and told apart by every kind of eye; the label stands there in words too.
_COLOURS = ("#9ecae1", "#fdae6b", "#a1d99b", "#e7a6c8", "#f2dc8a", "#c9c9c9")


def add_marking_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a task that finds entities in texts, or tags their words."""
    add_input_arguments(parser, "mark")
    parser.add_argument("--output", type=Path, help="file to write JSON lines to (default: standard output)")
    parser.add_argument(
        "--format",
        choices=["jsonl", "colour"],
        help="JSON lines with places and probabilities, or the texts in colours (default: colour on a terminal)",
    )
    parser.add_argument(
        "--pretokenized", action="store_true", help="words and marks are apart by spaces already, as in a treebank"
    )


def mark_stream(task: "Tagging", options: argparse.Namespace) -> None:
    """predict.py for such a task.

    Raises:
        UserError: something is wrong with the input, or with the output's name.
    """
    check_excluding(options, ("text", "input"), ("text", "column"))
    if options.output is not None and options.format == "colour":
        raise UsageError("--format colour: is for the terminal; a file gets JSON lines: leave one of the two out")
    check_output(options.output, options.input)
    coloured = options.format == "colour" or (options.format is None and options.output is None and sys.stdout.isatty())
    typed = is_typed(options)
    found = chunks(texts_of(options), typed)
    first = next(found, [])  # what is wrong from the start is told before anything is written
    if coloured:
        console = Console()
        for chunk in itertools.chain([first], found):
            for text, marks in zip(chunk, task.tag(chunk, options.pretokenized), strict=True):
                console.print(_coloured(text, marks, _colours(task)), highlight=False)
        return
    name = "entities" if task.spec.of_entities else "words"
    with answering(options.output, "texts", typed) as (file, advance):
        for chunk in itertools.chain([first], found):
            for text, marks in zip(chunk, task.tag(chunk, options.pretokenized), strict=True):
                rows = [
                    {**mark._asdict(), "text": text[mark.start : mark.end], "probability": round(mark.probability, 6)}
                    for mark in marks
                ]
                file.write(json.dumps({"text": text, name: rows}, ensure_ascii=False) + "\n")
            advance(len(chunk))


def _colours(task: "Tagging") -> dict[str, str]:
    tags = task.spec.tags
    labels = sorted({tag[2:] for tag in tags if tag[1:2] == "-"} if task.spec.of_entities else tags)
    return {label: _COLOURS[number % len(_COLOURS)] for number, label in enumerate(labels)}


def _coloured(text: str, marks: "list[Mark]", colours: dict[str, str]) -> Text:
    shown = Text()
    position = 0
    for mark in marks:
        style = f"black on {colours[mark.label]}"
        shown.append(text[position : mark.start])
        shown.append(f"[{text[mark.start : mark.end]}", f"bold {style}")
        shown.append(f" {mark.label}]", style)
        position = mark.end
    shown.append(text[position:])
    return shown
