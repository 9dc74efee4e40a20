"""Dataset folders as people have them: each is taken, or refused in one line; no traceback, no hang, no flipped label."""

import io
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from conftest import composed
from outcomes import TASKS, outcome
from PIL import Image
from test_files import SENTENCES

from unroll.building import build_data


def picture(shade: int) -> dict[str, bytes]:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 20, 3), shade, np.uint8)).save(file, "png")
    return {"bytes": file.getvalue()}


ROWS: dict[str, list[dict[str, Any]]] = {
    "tiny_shakespeare": [{"text": one} for one in SENTENCES],
    "wikitext2_words": [{"text": one} for one in SENTENCES],
    "sst2": [{"sentence": one, "label": row % 2} for row, one in enumerate(SENTENCES)],
    "multi30k": [{"en": one, "de": one[::-1]} for one in SENTENCES],
    "wnut17": [{"tokens": one.split(), "ner_tags": [row % 3] * len(one.split())} for row, one in enumerate(SENTENCES)],
    "etth1": [{"date": str(row), "HUFL": row % 7 + 0.5, "OT": row % 5 + 0.5} for row in range(300)],
    "flickr8k": [
        {"image": picture(row), **{f"caption_{k}": one for k in range(5)}} for row, one in enumerate(SENTENCES)
    ],
    "mnist": [{"image": picture(row), "label": row % 2} for row in range(len(SENTENCES))],
    "scitldr": [{"document": one, "summary": one[:4]} for one in SENTENCES],
}
LABELS = {
    "sst2": ("label", ["negative", "positive"]),
    "wnut17": ("ner_tags", ["O", "B-person", "I-person"]),
    "mnist": ("label", ["one", "two"]),
}


SPLITS = ("train", "validation", "test")


def rows_of(option: str, split: str) -> list[dict[str, Any]]:
    if option != "etth1":
        return ROWS[option]
    hours = pandas.date_range("2016-07-01", periods=900, freq="h")[300 * SPLITS.index(split) :]
    return [{**row, "date": str(hour)} for row, hour in zip(ROWS[option], hours, strict=False)]


def features(option: str, names: list[str] | None = None) -> datasets.Features | None:
    """The types that the Hub's files carry, where pandas would not write them."""
    found = datasets.Dataset.from_pandas(pandas.DataFrame(ROWS[option])).features
    if option in LABELS:
        column, usual = LABELS[option]
        label = datasets.ClassLabel(names=names or usual)
        found[column] = datasets.Sequence(label) if option == "wnut17" else label
    if option in ("flickr8k", "mnist"):
        found["image"] = datasets.Image()
    return found


def write(folder: Path, option: str, split: str, rows: list[dict[str, Any]] | None = None, names: Any = None) -> None:
    table = datasets.Dataset.from_list(
        rows_of(option, split) if rows is None else rows, features=features(option, names)
    )
    table.to_parquet(folder / f"{split}.parquet")


def empty(folder: Path, option: str, split: str) -> None:
    datasets.Dataset.from_list(ROWS[option], features=features(option)).select([]).to_parquet(
        folder / f"{split}.parquet"
    )


def good(folder: Path, option: str) -> None:
    folder.mkdir()
    for split in SPLITS:
        write(folder, option, split)


def changes(option: str) -> dict[str, Callable[[Path], object]]:
    """What is done to a good folder; the first key of a row is what is read."""
    key = next(iter(ROWS[option][0]))

    def pandas_written(split: str, change: Callable[[pandas.DataFrame], pandas.DataFrame]) -> Callable[[Path], object]:
        return lambda folder: change(pandas.DataFrame(rows_of(option, split))).to_parquet(folder / f"{split}.parquet")

    return {
        "as it is": lambda folder: None,
        "nothing in it": lambda folder: [path.unlink() for path in folder.iterdir()],
        "no train": lambda folder: (folder / "train.parquet").unlink(),
        "train alone": lambda folder: [(folder / f"{split}.parquet").unlink() for split in ("validation", "test")],
        "files of no split": lambda folder: (folder / "train.parquet").rename(folder / "mine.parquet"),
        "a file of 0 bytes": lambda folder: (folder / "train.parquet").write_bytes(b""),
        "no Parquet": lambda folder: (folder / "validation.parquet").write_bytes(b"PAR1" + b"\0" * 60 + b"PAR1"),
        "half a file": lambda folder: (folder / "test.parquet").write_bytes(
            (folder / "test.parquet").read_bytes()[:900]
        ),
        "no rows": lambda folder: empty(folder, option, "train"),
        "no rows to test": lambda folder: empty(folder, option, "test"),
        "two formats": lambda folder: (folder / "train.csv").write_text("a,b\n1,2\n"),
        "other files beside": lambda folder: [
            (folder / name).write_text("x") for name in ("README.md", ".DS_Store", "notes.docx")
        ],
        "a broken card": lambda folder: (folder / "README.md").write_text("---\nconfigs: [\n---\n"),
        "a card that names no file": lambda folder: (folder / "README.md").write_text(
            "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: nowhere.parquet}\n---\n"
        ),
        "a script": lambda folder: (folder / f"{folder.name}.py").write_text("raise SystemExit('was run')"),
        "columns in another order": pandas_written("test", lambda table: table[table.columns[::-1]]),
        "another column": pandas_written("test", lambda table: table.assign(more=1)),
        "a column less": pandas_written("train", lambda table: table.drop(columns=key)),
        "numbers for texts": pandas_written("train", lambda table: table.assign(**{key: 7})),
        "bytes": pandas_written("train", lambda table: table.assign(**{key: b"\xff\xfe"})),
        "nothing in a column": pandas_written("train", lambda table: table.assign(**{key: None})),
        "lists of lists": pandas_written("train", lambda table: table.assign(**{key: [[[1, 2]]] * len(table)})),
        "a link": lambda folder: [
            (folder / "train.parquet").rename(folder.parent / "elsewhere.parquet"),
            (folder / "train.parquet").symlink_to(folder.parent / "elsewhere.parquet"),
        ],
        "a dangling link": lambda folder: [
            (folder / "train.parquet").unlink(),
            (folder / "train.parquet").symlink_to(folder / "nothing"),
        ],
        "a folder for a file": lambda folder: [(folder / "train.parquet").unlink(), (folder / "train.parquet").mkdir()],
        "a file for the folder": lambda folder: [shutil.rmtree(folder), folder.write_text("x")],
        "no folder": shutil.rmtree,
    }


@pytest.mark.parametrize("option", ROWS)
def test_what_is_wrong_with_a_folder_is_said(option, tmp_path, monkeypatch, request):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found, long = Counter(), request.config.getoption("--long")
    for number, (name, change) in enumerate(changes(option).items()):
        if number % 4 and not long and option != "sst2":
            continue
        folder = tmp_path / f"{option}_{number}"
        good(folder, option)
        change(folder)
        try:
            found[outcome(option, folder)] += 1
        except Exception as error:
            raise AssertionError(f"{option}, {name}") from error
        if name == "as it is":
            assert found == {"handled": 1}
    if long:
        print(f"\n{option}: tried {found.total()}, handled {found['handled']}, refused {found['refused']}")


@pytest.mark.parametrize("option", LABELS)
def test_splits_that_number_the_labels_differently_flip_none(option, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    column, names = LABELS[option]
    good(tmp_path / "same", option)
    good(tmp_path / "turned", option)
    turned = names[::-1]

    def renumbered(value: Any) -> Any:
        return [renumbered(one) for one in value] if isinstance(value, list) else turned.index(names[value])

    rows = [{**row, column: renumbered(row[column])} for row in ROWS[option]]
    write(tmp_path / "turned", option, "test", rows, turned)
    told = {}
    for folder in ("same", "turned"):
        path = tmp_path / folder
        if outcome(option, path) == "handled":
            data = build_data(
                composed(
                    f"data={option}",
                    f"task={TASKS[option]}",
                    f"data.path={path}",
                )
            )
            data.prepare_data()
            told[folder] = data.rows["test"].wanted
    assert told.get("turned", told["same"]) == told["same"]
