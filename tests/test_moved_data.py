"""Data of one's own that lies elsewhere is the same data; where a single thing in it is another, it is not."""

import shutil

import numpy as np
import pytest
from conftest import composed
from PIL import Image

from unroll.building import build_data
from unroll.composing import groups

DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]


def write_table(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")


def write_pictures(folder, count):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def text_files(folder):
    (folder / "a.txt").write_text("the old dog sleeps under the tree\n" * 100)
    return ["task=char_lm", "data.path={}/*.txt"], folder / "a.txt"


def labelled_files(folder):
    write_table(folder / "a.csv", "text,label", [f"a film of number {n},{n % 2}" for n in range(20)])
    return ["task=sentiment", "data.path={}/a.csv"], folder / "a.csv"


def tagged_files(folder):
    (folder / "a.conll").write_text("Klara B-person\nsleeps O\n\n" * 20)
    return ["task=tagging", "data.folder={}", "data.path=a.conll"], folder / "a.conll"


def parallel_files(folder):
    (folder / "a.de").write_text("der alte Hund schläft\n" * 20)
    (folder / "a.en").write_text("the old dog sleeps\n" * 20)
    return ["task=translation", "data.source_path={}/a.de", "data.target_path={}/a.en"], folder / "a.en"


def summary_files(folder):
    write_table(folder / "a.csv", "text,summary", [f"it rained {n} days,rain {n}" for n in range(20)])
    return ["task=summarization", "data.path={}/a.csv"], folder / "a.csv"


def series_files(folder):
    write_table(folder / "a.csv", "date,units", [f"{day},{number % 7}" for number, day in enumerate(DAYS)])
    lengths = ["data.context_length=4", "data.prediction_length=2"]
    return ["task=forecasting", "data.path={}/a.csv", *lengths], folder / "a.csv"


def captioned_files(folder):
    write_pictures(folder / "pictures", 20)
    write_table(folder / "a.csv", "image,caption", [f"pictures/{n}.png,picture number {n}" for n in range(20)])
    return ["task=captioning", "data.path={}/a.csv"], folder / "pictures/3.png"


def picture_folders(folder):
    for name in ("cat", "dog"):
        write_pictures(folder / name, 20)
    return ["task=pixels", "data.path={}"], folder / "cat/3.png"


@pytest.mark.parametrize("option", [name for name in groups()["data"] if name.endswith(("_files", "_folders"))])
def test_moved_is_the_same_and_changed_is_not(tmp_path, option):
    here, there = tmp_path / "here", tmp_path / "further/there"
    here.mkdir()
    settings, changed = globals()[option](here)

    def fingerprint(folder):
        return build_data(composed(f"data={option}", *(setting.format(folder) for setting in settings))).fingerprint

    own = fingerprint(here)
    shutil.copytree(here, there)
    assert fingerprint(there) == own
    if changed.suffix == ".png":
        Image.new("RGB", (8, 8)).save(changed)
    else:
        text = changed.read_text()
        for old, new in (("sleeps", "sleep"), ("number 3,", "number 4,"), ("3 days", "4 days"), (",6\n", ",5\n")):
            text = text.replace(old, new)
        changed.write_text(text)
    assert fingerprint(here) != own
