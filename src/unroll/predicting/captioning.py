"""Pictures in, captions out."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unroll.arguments import up_to
from unroll.data.picture_files import as_vectors, read_features, read_picture
from unroll.errors import UsageError, UserError
from unroll.predicting.streaming import answering, check_excluding, check_output

if TYPE_CHECKING:
    from unroll.tasks.captioning import Captioning

_AT_ONCE = 256


def add_describing_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a task that captions pictures."""
    parser.add_argument("--image", action="append", nargs="+", metavar="FILE", help="pictures to caption")
    parser.add_argument(
        "--features",
        type=Path,
        help="for a run that was trained with data.features_path: a .npy of vectors, a row a picture",
    )
    parser.add_argument("--beam", type=up_to(100), help="hypotheses a picture (default: the run's task.beam_size)")
    parser.add_argument("--output", type=Path, help="file to write (default: standard output)")
    parser.add_argument(
        "--format", choices=["txt", "jsonl"], help="a caption a line, or JSON lines (default: by the name, else txt)"
    )


def describe_stream(task: "Captioning", options: argparse.Namespace) -> None:
    """predict.py for such a task.

    Raises:
        UserError: something is wrong with the input, or with the output's name.
    """
    check_excluding(options, ("image", "features"))
    names: list[str | int] = [name for several in options.image or [] for name in several]
    check_output(options.output, *(Path(str(name)) for name in names), options.features)
    shape = task.spec.shape
    if options.features is not None:
        if len(shape) == 3:
            raise UsageError("--features: this run was trained on pictures: give --image")
        vectors = read_features(options.features)
        if vectors.shape[1:] != shape:
            raise UserError(
                f"{options.features}: has vectors of {vectors.shape[1]} numbers, and the run was trained with {shape[0]}"
            )
        names = list(range(len(vectors)))
    elif options.image is not None:
        if len(shape) == 1:
            raise UsageError("--image: this run was trained on vectors: give --features")
    else:
        raise UsageError(
            "what is to be captioned? Give --image FILE ..." if len(shape) == 3 else "give --features FILE.npy"
        )
    by_name = options.output is not None and options.output.suffix in (".jsonl", ".ndjson")
    is_json = options.format == "jsonl" or (options.format is None and by_name)
    with answering(options.output, "pictures") as (file, advance):
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            if options.features is not None:
                pictures = as_vectors(vectors[start : start + _AT_ONCE], options.features, start)
            else:
                pictures = np.stack([read_picture(Path(str(name)), shape[1]) for name in some])
            for name, (caption, log_probability) in zip(some, task.caption(pictures, options.beam), strict=True):
                row = {"image": name, "caption": caption, "log_probability": round(log_probability, 6)}
                file.write((json.dumps(row, ensure_ascii=False) if is_json else caption) + "\n")
            advance(len(some))
