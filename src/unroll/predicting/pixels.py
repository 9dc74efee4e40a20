"""Pictures in, classes out."""

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unroll.data.picture_files import read_in_grey
from unroll.errors import UsageError
from unroll.predicting.streaming import answering, check_output

if TYPE_CHECKING:
    from unroll.tasks.pixels import Pixels

_AT_ONCE = 256


def add_classifying_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a task that classifies pictures."""
    parser.add_argument("--image", action="append", nargs="+", metavar="FILE", help="pictures to classify")
    parser.add_argument("--output", type=Path, help="file to write, as CSV (default: standard output)")


def classify_stream(task: "Pixels", options: argparse.Namespace) -> None:
    """predict.py for such a task.

    Raises:
        UserError: something is wrong with the input, or with the output's name.
    """
    if options.image is None:
        raise UsageError("what is to be classified? Give --image FILE ...")
    names = [name for several in options.image for name in several]
    check_output(options.output, *map(Path, names))
    with answering(options.output, "pictures") as (file, advance):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", *(f"p({name})" for name in task.spec.labels), "image"])
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            pictures = np.stack([read_in_grey(Path(name), task.spec.size) for name in some])
            for name, answer in zip(some, task.classify(pictures), strict=True):
                writer.writerow([answer.label, *(f"{p:.6f}" for p in answer.probabilities), name])
            advance(len(some))
