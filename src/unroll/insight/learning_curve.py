"""The picture of a training run."""

import csv
from pathlib import Path

from unroll.writing import written_whole


def draw_learning_curve(metrics_csv: Path, picture: Path, name: str, label: str) -> None:
    """Draw train/NAME and val/NAME of a metrics.csv against steps, as a PNG.

    Args:
        metrics_csv: what `MetricsCSV` wrote.
        picture: the file to write.
        name: of the metric.
        label: what the vertical axis says, with its unit.
    """
    from matplotlib.figure import Figure

    with metrics_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    # Blue and orange of the Okabe-Ito palette, told apart by every kind of eye, and by their markers in print.
    for split, colour, marker, told in (("train", "#0072B2", "", "training"), ("val", "#D55E00", "o", "validation")):
        column = f"{split}/{name}"
        points = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
        if points:
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
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(picture) as unfinished:
        figure.savefig(unfinished, format="png")
