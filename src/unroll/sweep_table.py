"""The jobs of a sweep side by side."""

import json
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from unroll.runs import FAILURE, SUMMARY, read_config


def print_sweep(folders: list[Path]) -> None:
    """Print a line a job, the best first: what was chosen, the watched metric, size, speed and time.

    Args:
        folders: the jobs', which have a config; those that ended well have a summary too.
    """
    from omegaconf import OmegaConf

    rows = []
    units = set()
    for folder in folders:
        config = read_config(folder)
        chosen = " ".join(str(item) for item in OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
        metric, mode = config["watch"]["metric"], config["watch"]["mode"]
        if not (folder / SUMMARY).exists():
            state = "failed" if (folder / FAILURE).exists() else "unfinished"
            rows.append((float("inf"), [chosen, state, "", "", "", folder.name]))
            continue
        summary = json.loads((folder / SUMMARY).read_text())
        value, throughput = summary["metrics"][metric], summary["throughput"]
        if value is None:  # null: not a number
            value = float("inf") if mode == "min" else float("-inf")
        cells = [f"{value:.4f}", f"{summary['parameters']:,}", f"{throughput['value']:,.0f}"]
        units.add(throughput["unit"])
        rows.append(
            (value if mode == "min" else -value, [chosen, *cells, f"{summary['train_seconds']:.0f} s", folder.name])
        )
    # What is alike in every job tells nothing.
    common = set.intersection(*(set(row[0].split()) for _, row in rows)) if len(rows) > 1 else set()
    table = Table(box=box.SIMPLE)
    for heading in ("choices", metric, "parameters", " ".join(sorted(units)) or "throughput", "training", "job"):
        table.add_column(heading, justify="left" if heading == "choices" else "right", overflow="fold")
    names = {}
    for _, (chosen, *cells) in sorted(rows, key=lambda row: row[0]):
        own = " ".join(item for item in chosen.split() if item not in common)
        names[folders[0].parent / cells[-1]] = own
        table.add_row(own, *cells)
    Console().print(table)
    print(f"jobs in {folders[0].parent}")
    picture = folders[0].parent / "difficulty.png"
    if _draw_difficulty({folder: chosen for folder, chosen in names.items() if (folder / SUMMARY).exists()}, picture):
        print(f"scores against what makes it hard: {picture}")


def _draw_difficulty(names: dict[Path, str], picture: Path) -> bool:
    """Where several jobs have told how their score depends on something, a picture with a line a job."""
    from unroll.insight.difficulty import draw_difficulty, read_difficulty

    found = {
        folder: path for folder in names if (path := folder / "evaluation" / "validation_difficulty.json").exists()
    }
    lines = {names[folder] or folder.name: read_difficulty(path) for folder, path in found.items()}
    if len(lines) < 2 or len({line.label for line in lines.values()}) > 1:
        return False
    draw_difficulty(lines, picture)
    return True
