"""Give a run's model to other programs: `python export.py RUN --format onnx`; `python export.py --help` tells more."""

from pathlib import Path

from unroll.arguments import OptionParser, positive
from unroll.errors import door

EXAMPLES = """\
examples:
  python export.py outputs/2026-01-31/12-00-00_char_lm_lstm          RUN/export/best.safetensors
  python export.py RUN --format onnx --output model.onnx             a step of a language model, for onnxruntime
  python evaluate.py RUN --checkpoint RUN/export/best.safetensors    weights are read back

safetensors has the weights by their names, and nothing that could be run. onnx has one step of char_lm
or word_lm: a token and the state go in, log-probabilities of the next token and the state after it come
out; the vocabulary, and the numbers that the state begins with, are in its metadata.
"""


def main() -> None:
    """Read the command line, load, write."""
    parser = OptionParser(
        prog="export.py",
        description="Write a trained model in a form that other programs read.",
        epilog=EXAMPLES,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument(
        "--format", choices=["safetensors", "onnx"], default="safetensors", help="(default: %(default)s)"
    )
    parser.add_argument("--checkpoint", default="best", help="best, last, or a file (default: best)")
    parser.add_argument("--output", type=Path, help="the file (default: RUN/export/CHECKPOINT.FORMAT)")
    parser.add_argument(
        "--batch", type=positive, default=1, metavar="N", help="of onnx: sequences side by side (default: 1)"
    )
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own cells")
    options = parser.parse_args()

    from unroll.exporting import export_step, export_weights  # after --help: it takes seconds to load
    from unroll.predicting.streaming import check_output
    from unroll.runs import load, note_last

    check_output(options.output)
    note_last(options.run, options.checkpoint)
    task = load(options.run, options.checkpoint, options.trust)
    path = options.output or options.run / "export" / f"{Path(options.checkpoint).stem}.{options.format}"
    if options.format == "onnx":
        vocabulary = options.run / "vocabulary.json"
        told = export_step(
            task, path, options.batch, vocabulary.read_text(encoding="utf-8") if vocabulary.exists() else ""
        )
    else:
        told = export_weights(task, path)
    for line in told:
        print(line)


if __name__ == "__main__":
    door(main)
