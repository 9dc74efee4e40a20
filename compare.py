"""Runs side by side: `python compare.py outputs/multirun/DATE_TIME`; `python compare.py --help` tells more."""

from pathlib import Path

from unroll.arguments import OptionParser
from unroll.errors import door

FETCHED = Path("outputs/wandb")

EXAMPLES = """\
examples:
  python compare.py outputs/multirun/2026-01-31_12-00-00      a sweep: table, pictures, one page for the browser
  python compare.py RUN RUN                                   two runs: what differs in config and result
  python compare.py SWEEP SWEEP RUN --output comparison       any of them together
  python compare.py wandb:ENTITY/PROJECT                      the runs of a W&B project, brought into outputs/wandb/

Runs that differ only in their seed stand in one row, as mean ± standard deviation. The best is the first row, by what the
task watches on validation. Runs of other tasks get a table of their own. Beside the table: runs.csv, heat_map.png (two
choices), curves.png, frontier.png (quality against parameters and time), and index.html, one file that needs no network.
"""


def main() -> None:
    """Read the command line, compare, print."""
    parser = OptionParser(
        prog="compare.py",
        description="Compare runs, sweeps, or all runs in a folder.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="+",
        help="a run, a sweep, or a folder with some; wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/SWEEP: what W&B has",
    )
    parser.add_argument(
        "--output", type=Path, help="where the files go (default: FOLDER/comparison of the one folder that is given)"
    )
    options = parser.parse_args()

    from unroll.comparison.review import review  # after --help: it takes a second to load
    from unroll.comparison.wandb_project import fetch_project

    online = "wandb:"
    paths = [
        fetch_project(name.removeprefix(online), FETCHED) if name.startswith(online) else Path(name)
        for name in options.folders
    ]
    review(paths, options.output)


if __name__ == "__main__":
    door(main)
