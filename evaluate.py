"""Score a run on a split: `python evaluate.py RUN --split test`; `python evaluate.py --help` tells more."""

from pathlib import Path

from unroll.arguments import OptionParser, positive
from unroll.errors import door

EXAMPLES = """\
examples:
  python evaluate.py outputs/2026-01-31/12-00-00_char_lm_lstm
  python evaluate.py RUN --split validation+test      both together, where they are one text as one
  python evaluate.py RUN --checkpoint last            the last weights instead of the best
  python evaluate.py RUN --insight gradient_flow --split validation    how far back gradients reach
  python evaluate.py RUN --insight units              the text in the colours of a unit's state, in a browser
  python evaluate.py RUN task.samples=500 task.stride=1    a forecaster's backtest: more paths, from every step

The scores are printed and written to RUN/evaluation/SPLIT.json (SPLIT-last.json, ... for another
checkpoint than the best); of other data than the run's own to RUN/evaluation/of_NAME/.
"""


def main() -> None:
    """Read the command line, evaluate, print."""
    parser = OptionParser(
        prog="evaluate.py",
        description="Score a trained run on a split of its data.",
        epilog=EXAMPLES,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument(
        "settings",
        metavar="task.KEY=VALUE",
        nargs="*",
        default=[],
        help="settings of the task, other ones than in training",
    )
    parser.add_argument(
        "--split", default="test", help="train, validation, test, or several joined by + (default: test)"
    )
    parser.add_argument("--checkpoint", default="best", help="best, last, or a file (default: best)")
    parser.add_argument(
        "--data-path", help="where the data lies now, if it has moved since training; or other data of the same form"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "gpu", "mps"], help="(default: auto)")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own cells")
    parser.add_argument(
        "--insight",
        choices=["gradient_flow", "units"],
        help="instead of scores: how far back gradients reach in each cell; or what its units do, as a page to read",
    )
    parser.add_argument(
        "--sequences", type=positive, default=32, metavar="N", help="followed back, at most (default: 32)"
    )
    parser.add_argument(
        "--steps", type=positive, default=20_000, metavar="N", help="that units are shown on, about (default: 20000)"
    )
    options = parser.parse_intermixed_args()
    if options.insight and options.device not in ("auto", "cpu"):
        parser.error(f"--device {options.device}: --insight {options.insight} is worked out on the CPU")

    from unroll.evaluation import evaluate, show_gradient_flow, show_units  # after --help: it takes seconds to load

    which = (options.run, options.split, options.checkpoint, options.data_path)
    how = (options.trust, options.settings)
    if options.insight == "gradient_flow":
        show_gradient_flow(*which, *how, options.sequences)
    elif options.insight == "units":
        show_units(*which, *how, options.steps)
    else:
        evaluate(*which, options.device, *how)


if __name__ == "__main__":
    door(main)
