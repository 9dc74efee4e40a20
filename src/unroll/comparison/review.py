"""The review of experiments: table, pictures and page of the runs in some folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from unroll.comparison.lags import draw_lags
from unroll.comparison.page import write_review_page
from unroll.comparison.pictures import draw_curves, draw_frontier, draw_heat_map
from unroll.comparison.rows import differing, of_each_task, rows_of
from unroll.comparison.run import Run, read_history, read_runs
from unroll.comparison.tables import comparison_table, pair_tables, table_of_runs
from unroll.insight.difficulty import draw_difficulty, read_difficulty
from unroll.insight.flow_pictures import draw_memories, read_flow
from unroll.writing import write_csv

_UNBOUNDED = 10_000
_LINES = 14  # of one picture, at most; the best


def review(paths: Sequence[Path], output: Path | None = None) -> None:
    """Print the runs side by side, and write the same as CSV, as pictures and as one page.

    Args:
        paths: runs, sweeps, or folders that hold some. Two runs are told apart key by key.
        output: where to; None: into the one folder that is given, beside its runs, else nowhere.

    Raises:
        UserError: a folder is not there, or has no runs.
    """
    runs = read_runs(paths)
    for run in runs:
        wrong = read_history(run.folder / "metrics.csv")[1]
        if wrong:
            print(f"note: {wrong}")
    tasks = of_each_task(runs)
    console = Console()
    if not console.is_terminal:  # a file or a pipe is as wide as its lines
        console.width = _UNBOUNDED
    for name, some in tasks.items():
        if len(tasks) > 1:
            print(f"{name}: {_counted(some)}, compared with none of the others")
        console.print(comparison_table(some, console))
    if len(runs) == len(paths) == 2 and len(tasks) == 1:
        for table in pair_tables(*runs):
            console.print(table)
    if output is None and len(paths) == 1 and len(runs) > 1:
        output = paths[0] / "comparison"
    if output is None:
        return
    for some in tasks.values():
        folder = output if len(tasks) == 1 else output / _folder_of(some, tasks)
        write_csv(folder / "runs.csv", *table_of_runs(some))
        for draw, picture in ((draw_heat_map, "heat_map"), (draw_curves, "curves"), (draw_frontier, "frontier")):
            draw(some, folder / f"{picture}.png")
        _draw_difficulty(some, folder / "difficulty.png")
        _draw_memory(some, folder / "memory.png")
        draw_lags(some, folder)
    states = [run.state for run in runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    write_review_page(
        runs, ", ".join(path.name for path in paths), f"{_counted(runs)}: {counts}", output / "index.html"
    )
    print(f"{output}: index.html (opens in a browser), {', '.join(sorted(_written(output)))}")


def _folder_of(runs: Sequence[Run], tasks: Mapping[str, Sequence[Run]]) -> str:
    """The task's name; and what is watched, where runs of it watch several things."""
    task = runs[0].task
    alone = sum(some[0].task == task for some in tasks.values()) == 1
    return task if alone else f"{task}_{runs[0].metric.rpartition('/')[2]}"


def _counted(runs: Sequence[Run]) -> str:
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''}"


def _written(output: Path) -> list[str]:
    return [str(path.relative_to(output)) for path in output.rglob("*") if path.suffix in (".csv", ".png")]


def _draw_difficulty(runs: Sequence[Run], picture: Path) -> None:
    """Where several have told how their score depends on something, a line for each of the first runs of each row."""
    found = [(row.runs[0], row.runs[0].folder / "evaluation" / "validation_difficulty.json") for row in rows_of(runs)]
    lines = {_title(run, runs): read_difficulty(path) for run, path in found if path.exists()}
    lines = dict(list(lines.items())[:_LINES])
    if len(lines) > 1 and len({line.label for line in lines.values()}) == 1:
        draw_difficulty(lines, picture)


def _draw_memory(runs: Sequence[Run], picture: Path) -> None:
    """Where it was measured how far gradients reach, a line for each of the first runs of each row."""
    found = [(row.runs[0], row.runs[0].folder / "evaluation" / "validation_gradient_flow.csv") for row in rows_of(runs)]
    curves = {_title(run, runs): read_flow(path) for run, path in found if path.exists()}
    if len(curves) > 1 and set.intersection(*map(set, curves.values())):
        draw_memories(dict(list(curves.items())[:_LINES]), picture)


def _title(run: Run, runs: Sequence[Run]) -> str:
    return " ".join(f"{key}={run.setting(key)}" for key in differing(runs)) or run.name
