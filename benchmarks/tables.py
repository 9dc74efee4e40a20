"""Tables in the project's pages that a benchmark writes, between two marks that are not shown."""

import datetime
import platform
import re
import statistics
import sys
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
    _put(page, name, f"{table}\n\n{said}")


def _put(page: str, name: str, what: str | None = None) -> str:
    """Put something between two marks; return what stood there."""
    path = ROOT / page
    text = path.read_text()
    marks = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n?<!-- /{name} -->)", re.DOTALL)
    found = marks.search(text)
    assert found, f"{page}: there is no place for {name}"
    if what is not None:
        end = "" if text[found.end()] == "\n" else "\n"  # nothing stood there yet
        path.write_text(text[: found.start()] + what + end + text[found.end() :])
    return found[0]


def write_peer(peer: str, what: str, ratios: list[float], more: str = "") -> None:
    """Put a row into the README's table of peers, in the place of the one that has the same first two cells, and print it.

    Args:
        peer: whose, with its version.
        what: is measured, so that more than 1 is in our favour.
        ratios: of the repeats. A median below 1 is written in bold: it is a loss.
        more: said beside the ratio.
    """
    median = f"{statistics.median(ratios):.3g} x"
    if statistics.median(ratios) < 1:
        median = f"**{median}**"
    here = f"{median} ({min(ratios):.3g} to {max(ratios):.3g}; {len(ratios)} repeats){more}"
    script = Path(sys.argv[0]).name
    versions = f"torch {torch.__version__.partition('+')[0]}"
    row = f"| {peer} | {what} | {here} | `{script}`, {datetime.date.today()}, {processor()}, {versions} |"
    print(row, flush=True)
    header, rule, *rows = _put("README.md", "peers").split("\n")
    begin = f"| {peer} | {what} | "
    kept = [line for line in rows if not line.startswith(begin)]
    place = next((place for place, line in enumerate(rows) if line.startswith(begin)), len(rows))
    _put("README.md", "peers", "\n".join([header, rule, *kept[:place], row, *kept[place:]]))


def write_memory(peer: str, what: str, pairs: list[tuple[float, float]]) -> None:
    """Put a row of peak memory into the table of peers; see `write_peer`.

    Args:
        peer, what: see there.
        pairs: of each repeat, MiB of ours and of theirs.
    """
    both = [statistics.median(side) for side in zip(*pairs, strict=True)]
    more = f"; {both[0]:,.0f} and {both[1]:,.0f} MiB"
    write_peer(peer, f"peak memory of the process, {what}", [theirs / ours for ours, theirs in pairs], more)


def processor() -> str:
    """What this machine computes with, as it names itself; of an AMD with the generation, which products hang on."""
    path = Path("/proc/cpuinfo")
    info = path.read_text() if path.exists() else ""
    named = re.search(r"model name\s*: (.*)", info)
    name = " ".join((named[1] if named else platform.processor() or platform.machine()).split())
    family = re.search(r"cpu family\s*: (\d+)", info)
    generations = {"25": "Zen 4" if "avx512f" in info else "Zen 3", "26": "Zen 5"}
    found = generations.get(family[1]) if family and "AMD" in name else None
    return f"{name} ({found})" if found else name
