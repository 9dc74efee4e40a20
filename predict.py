"""Use a run: `python predict.py RUN --prompt "The "`; `python predict.py --help` tells more."""

import sys
from pathlib import Path

from unroll.arguments import OptionParser
from unroll.errors import door
from unroll.runs import CONFIG

EXAMPLES = """\
options by task (python predict.py RUN --help explains those of RUN's task):
  char_lm     --prompt TEXT --length N --temperature T --top-k K --top-p P --seed N --samples N
  word_lm     the same, and --complete TEXT --top N, or --interactive
  sentiment   --text TEXT --input FILE --column NAME --encoding NAME --output FILE --format csv --explain
  tagging     --text TEXT --input FILE --column NAME --encoding NAME --output FILE --format colour --pretokenized
  translation, summarization
              --text TEXT --input FILE --column NAME --encoding NAME --output FILE --format jsonl --beam B --nbest N
              --length-penalty A --temperature T --seed N --alignment
  pixels      --image FILE ... --output FILE
  captioning  --image FILE ... --features FILE --beam B --output FILE --format jsonl
  recall, adding, copy, agreement   --text SEQUENCE --input FILE --column NAME --encoding NAME --output FILE
  forecasting --input FILE --output FILE --time COLUMN --series COLUMN --encoding NAME --decimal-comma --samples N
              --seed N

examples:
  python predict.py outputs/2026-01-31/12-00-00_char_lm_lstm
  python predict.py RUN --prompt "The " --length 400 --temperature 0.7
  python predict.py RUN --prompt "def " --top-p 0.9 --samples 3 --seed 1
  python predict.py RUN --complete "recurrent neural" --top 5
  python predict.py RUN --input reviews.csv --column body --output labels.csv
  python predict.py RUN --text "not dull at all" --explain
  python predict.py RUN --text "Klara Brenova lives in Kelm." --format colour
  python predict.py RUN --input sentences.txt --beam 5 --output translations.txt
  python predict.py RUN --image holiday/*.jpg
  python predict.py RUN --input sales.csv --output forecast.csv
"""


def main() -> None:
    """Read the run, let its task add its options, and hand over to it."""
    # Only the run's task knows which options there are and which take a value: until then RUN is told by its look.
    runs = [Path(argument) for argument in sys.argv[1:] if (Path(argument) / CONFIG).is_file()]
    parser = OptionParser(
        prog="predict.py",
        description="Let a trained run do its task: a language model writes and completes, a classifier labels, a tagger "
        "finds names,\na translator translates, a summarizer sums up, a captioner tells what a picture shows, "
        "a forecaster forecasts.",
        epilog=EXAMPLES,
        add_help=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", nargs="?", help="the run's folder")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a file (default: best)")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own cells")
    parser.add_argument("-h", "--help", action="store_true", help="show this help; after RUN, with its task's options")
    options, _ = parser.parse_known_args()
    run = runs[0] if runs else options.run
    if run is None:
        if options.help:
            parser.print_help()
            return
        parser.error("which run? give its folder, as outputs/DATE/TIME_task_model")

    from unroll.runs import load, note_last  # after --help: it takes seconds to load

    note_last(run, options.checkpoint)
    task = load(run, options.checkpoint, options.trust)
    task.add_predict_arguments(parser)
    if options.help:
        parser.print_help()
        return
    options = parser.parse_args()
    if options.run is None:
        parser.error(f"give RUN before its options: {run}, then what is asked of it")
    if options.run != run:
        parser.error(f"one run at a time: {run} or {options.run}?")
    task.predict(options)
    sys.stdout.flush()


if __name__ == "__main__":
    door(main)
