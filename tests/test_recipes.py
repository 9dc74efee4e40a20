"""Recipes that were run nowhere yet are put to twenty steps, on a few rows in the layout of their data.

`pytest tests/test_recipes.py --long` leaves them their size.
"""

import csv
import json
import math
import re

import datasets
import numpy as np
import pytest
from conftest import CONF, composed

from unroll.composing import groups
from unroll.job import run

NOT_RUN = [
    option
    for option in groups()["experiment"]
    if re.search(r"\bnot (yet )?run\b", (CONF / f"experiment/{option}.yaml").read_text(), re.IGNORECASE)
]
SMALLER = [
    "trainer=cpu",
    "data.batch_size=2",
    "trainer.log_every_n_steps=1",
    "callbacks.samples.length=5",
    "logger=none",
]
FEW = ["trainer.max_steps=20", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2"]


def write_text(folder):
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text("the old dog sleeps under the tree\n" * 1000)


def write_reviews(folder):
    rows = {"text": ["a good film", "a bad film"] * 100, "label": [1, 0] * 100}
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}.parquet")


def write_pictures(folder):
    drawn = np.random.default_rng(1).integers(256, size=(40, 28, 28), dtype=np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    rows = {"image": list(drawn), "label": [number % 10 for number in range(len(drawn))]}
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}.parquet")


WRITTEN = {"HubText": write_text, "HubLabelledText": write_reviews, "HubPixels": write_pictures}


@pytest.mark.parametrize("option", NOT_RUN)
def test_twenty_steps(option, tmp_path, request):
    folder, data = tmp_path / "run", tmp_path / "data"
    data.mkdir()
    recipe = [f"experiment={option}", f"data.path={data}", *SMALLER, *FEW]
    if not request.config.getoption("--long"):
        recipe.append("model.hidden_size=32")
    WRITTEN[composed(*recipe)["data"]["_target_"].rpartition(".")[2]](data)
    composed(*recipe, folder=folder)
    run(folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 20
    assert all(math.isfinite(value) for value in summary["metrics"].values())
    with (folder / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert len(losses) == 20
    assert all(map(math.isfinite, losses))
