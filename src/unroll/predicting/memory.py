"""Sequences in, what stood there long before out."""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from unroll.errors import UserError
from unroll.predicting.streaming import (
    add_input_arguments,
    check_excluding,
    check_output,
    chunks,
    is_typed,
    opened_output,
    texts_of,
)

if TYPE_CHECKING:
    from unroll.tasks.memory import Memory


def add_answering_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a memory task."""
    add_input_arguments(parser, "answer")
    parser.add_argument("--output", type=Path, help="file to write, an answer a line (default: standard output)")


def answer_stream(task: "Memory", options: argparse.Namespace) -> None:
    """predict.py for such a task.

    Raises:
        UserError: something is wrong with the input, or with the output's name.
    """
    check_excluding(options, ("text", "input"), ("text", "column"))
    check_output(options.output)
    typed = is_typed(options)
    found = chunks(texts_of(options), typed, 1)
    first = next(found, [])  # what is wrong from the start is told before anything is written
    with opened_output(options.output) as file:
        for number, text in enumerate(itertools.chain(first, itertools.chain.from_iterable(found)), 1):
            try:
                file.write(f"{task.answer(text)}\n")
            except UserError as error:
                raise UserError(f"text {number}, {error}") from None
            if typed:
                file.flush()
