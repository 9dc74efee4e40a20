"""Tables in the project's pages that a benchmark writes, between two marks that are not shown."""

import datetime
import platform
import re
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]


def write_table(page: str, name: str, header: list[str], rows: list[list[str]], more: str = "") -> None:
    """Put a table in the place of the one that stands between `<!-- name -->` and `<!-- /name -->`, and print it.

    Args:
        page: of the repository, as `docs/costs.md`.
        name: of the marks.
        header: of the columns.
        rows: their cells.
        more: said of the measurement, beside date and machine.
    """
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    said = f"({datetime.date.today()}, {processor()}, torch {torch.__version__.partition('+')[0]}{more})"
    print(f"{table}\n\n{said}")
    path = ROOT / page
    text = path.read_text()
    marks = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
    assert marks.search(text), f"{page}: there is no place for {name}"
    path.write_text(marks.sub(lambda found: f"{found[1]}{table}\n\n{said}{found[2]}", text))


def processor() -> str:
    """What this machine computes with, as it names itself."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return " ".join((named[1] if named else platform.processor() or platform.machine()).split())
