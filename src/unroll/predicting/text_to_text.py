"""Texts in, what is made of them out."""

import argparse
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import torch

from unroll.arguments import between, seed, up_to
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
    from unroll.tasks.text_to_text import TextToText, Version

_AT_ONCE = 512  # texts that are sorted by length together, and then rewritten


def add_rewriting_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of predict.py for a task that makes another text of one."""
    add_input_arguments(parser, "rewrite")
    parser.add_argument("--output", type=Path, help="file to write (default: standard output)")
    parser.add_argument(
        "--format",
        choices=["txt", "jsonl"],
        help="of the output: a text a line, or all there is to tell (default: by its name, else txt)",
    )
    parser.add_argument(
        "--beam", type=up_to(1000), metavar="B", help="hypotheses to search (default: the run's beam_size)"
    )
    parser.add_argument("--nbest", type=up_to(1000), metavar="N", help="the N best of each, with their scores")
    parser.add_argument("--length-penalty", type=between(0, 10), metavar="A", help="0 favours short ones")
    parser.add_argument(
        "--temperature", type=between(0.01, 100), metavar="T", help="draw at this temperature, in place of a search"
    )
    parser.add_argument("--seed", type=seed, help="of what is drawn")
    parser.add_argument(
        "--alignment", action="store_true", help="which source words each word was made from, too (as JSON lines)"
    )


def rewrite_stream(task: "TextToText", options: argparse.Namespace) -> None:
    """predict.py for a task that makes another text of one: as many answers as there are lines, empty ones for empty ones.

    Raises:
        UserError: something is wrong with the input, or with the output's name.
    """
    check_excluding(
        options, ("text", "input"), ("text", "column"), ("temperature", "beam"), ("temperature", "length_penalty")
    )
    if options.seed is not None and options.temperature is None:
        raise UsageError("--seed: nothing is drawn without --temperature")
    if options.beam is not None and options.nbest is not None and options.nbest > options.beam:
        raise UsageError(
            f"--nbest {options.nbest}: a beam of {options.beam} finds no more than that; make --beam larger"
        )
    check_output(options.output, options.input)
    by_name = options.output is not None and options.output.suffix in (".jsonl", ".ndjson")
    kind = options.format or ("jsonl" if by_name or options.alignment else "txt")
    if options.alignment and kind == "txt":
        raise UsageError("--alignment: has no place in plain lines; leave --format txt out")
    if options.alignment and task.model.attention is None:
        raise UsageError("--alignment: this run was trained with task.attention=none, it looks at no words")
    beam = max(options.beam or task.beam_size, options.nbest or 1)
    generator = None if options.seed is None else torch.Generator().manual_seed(options.seed)
    count = 0
    typed = is_typed(options)
    found = chunks(texts_of(options), typed, _AT_ONCE)
    first = next(found, [])  # what is wrong from the start is told before anything is written
    with answering(options.output, "texts", typed) as (file, advance):
        for chunk in itertools.chain([first], found):
            answers = task.rewrite(
                chunk, beam, options.nbest or 1, options.length_penalty, options.temperature, generator
            )
            for text, versions in zip(chunk, answers, strict=True):
                count += 1
                if kind == "jsonl":
                    _write_json(file, task, text, versions, options.alignment)
                elif options.nbest:
                    file.writelines(f"{count}\t{one.score:.4f}\t{one.text}\n" for one in versions)
                else:
                    file.write(f"{versions[0].text}\n")
            advance(len(chunk))


def _write_json(file: TextIO, task: "TextToText", text: str, versions: "list[Version]", alignment: bool) -> None:
    rows: list[dict[str, Any]] = []
    for one in versions:
        row = {"text": one.text, "score": round(one.score, 6), "log_probability": round(one.log_probability, 6)}
        if alignment and text.strip():
            (aligned,) = task.alignments([text], [one.tokens])
            weights = [[round(float(weight), 4) for weight in weights] for weights in aligned.weights]
            row["alignment"] = {"source": aligned.source, "target": aligned.target, "weights": weights}
        rows.append(row)
    file.write(json.dumps({"source": text, task.versions: rows}, ensure_ascii=False) + "\n")
