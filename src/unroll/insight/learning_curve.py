"""The picture of a training run."""

import csv
from pathlib import Path

from unroll.insight.pictures import BLUE, ORANGE, new_figure, save_figure


def draw_learning_curve(metrics_csv: Path, picture: Path, name: str, label: str) -> None:
    """Draw train/NAME and val/NAME of a metrics.csv against steps, as a PNG.

    Args:
        metrics_csv: what `MetricsCSV` wrote.
        picture: the file to write.
        name: of the metric.
        label: what the vertical axis says, with its unit.
    """
    with metrics_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = new_figure(8, 4.5)
    for split, colour, marker, told in (("train", BLUE, "", "training"), ("val", ORANGE, "o", "validation")):
        column = f"{split}/{name}"
        points = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
        if points:
            marker = marker if len(points) > 1 else "o"  # a line of one point is none
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, label=told)
            axes.annotate(
                f"{points[-1][1]:.3f}",
                points[-1],
                color=colour,
                textcoords="offset points",
                xytext=(6, 0),
                va="center",
                annotation_clip=False,
            )
    axes.set_xlabel("step (updates of the weights)")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
    save_figure(figure, picture)
