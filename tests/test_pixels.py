"""Pictures read a pixel a step: read in the right order, the same however drawn, told apart by what is in them."""

import json

import datasets
import numpy as np
import pytest
import torch
from conftest import composed, door
from PIL import Image
from test_tasks import SMALL

from unroll import load
from unroll.building import build_data, check
from unroll.data.pixels import PixelBatches, PixelData, PixelSpec
from unroll.errors import UsageError, UserError
from unroll.insight.pixels import linear_model


def digits(**settings) -> PixelData:
    given = {"sizes": "[300,50,50]", **settings}
    data = build_data(composed("task=pixels", *(f"data.{key}={value}" for key, value in given.items())))
    data.prepare_data()
    return data


def test_a_picture_is_read_line_by_line_and_a_permuted_one_in_one_order_for_all():
    pictures = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10
    steps = PixelSpec(3, ("a", "b"), None).read(pictures)
    assert steps.shape == (9, 2, 1)
    torch.testing.assert_close(steps[:, 1, 0], torch.arange(90, 180, 10) / 255)
    permuted = PixelSpec(3, ("a", "b"), 5)
    assert sorted(permuted.order) == list(range(9)) and list(permuted.order) != list(range(9))
    torch.testing.assert_close(permuted.read(pictures), steps[permuted.order])
    assert list(PixelSpec(3, ("a", "b"), 6).order) != list(permuted.order)
    # Another order gives the numbers of a model another meaning.
    assert len({spec.identity for spec in (permuted, PixelSpec(3, ("a", "b"), None), PixelSpec(4, ("a", "b"), 5))}) == 3


def test_every_picture_comes_once_an_epoch_with_its_own_class():
    labels = np.arange(23) % 3
    pictures = np.repeat(np.repeat(np.arange(23, dtype=np.uint8)[:, None, None], 2, 1), 2, 2)
    spec = PixelSpec(2, ("a", "b", "c"), None)
    seen = {}
    for rank in range(2):
        for batch in PixelBatches(spec, pictures, labels, 4, seed=1, rank=rank, world_size=2):
            if batch.share:
                for row, label, value in zip(
                    batch.rows.tolist(), batch.labels.tolist(), batch.steps[0, :, 0], strict=True
                ):
                    assert row not in seen
                    seen[row] = label
                    assert label == row % 3 and round(float(value) * 255) == row
    assert sorted(seen) == list(range(23))


def test_the_digits_of_a_split_are_its_own_and_the_same_each_time():
    data, again, other = digits(), digits(), digits(picture_seed=1)
    np.testing.assert_array_equal(data.encoded("train"), again.encoded("train"))
    assert (data.encoded("train")[:50] != other.encoded("train")[:50]).any(axis=(1, 2)).all()
    several = [picture.tobytes() for split in data.splits for picture in data.encoded(split)]
    assert len(set(several)) == len(several) == 400
    assert data.spec.labels == tuple("0123456789") and set(data.labels("test").tolist()) <= set(range(10))
    # White lines on black that stay within the picture.
    ink = data.encoded("train") / 255
    assert 0.05 < ink.mean() < 0.35 and ink[:, [0, -1]].mean() < 0.02 and ink[:, :, [0, -1]].mean() < 0.02


def test_the_pictures_of_a_digit_are_alike_and_those_of_others_are_not():
    """A linear model tells them apart, and the mean of all fours is near no mean of another digit."""
    data = digits(sizes="[3000,500,50]")
    answers = linear_model(
        data.encoded("train"),
        data.labels("train"),
        {"validation": (data.encoded("validation"), data.labels("validation"))},
        10,
    )
    assert 0.8 < answers["validation"].scores()["accuracy"] < 0.995
    means = [data.encoded("train")[data.labels("train") == digit].mean(0) for digit in range(10)]
    apart = min(np.abs(one - other).mean() for k, one in enumerate(means) for other in means[:k])
    halves = [data.encoded("train")[data.labels("train") == 4][k::2].mean(0) for k in (0, 1)]
    assert np.abs(halves[0] - halves[1]).mean() < apart / 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset of black and of white pictures, as the Hub has MNIST; without validation."""
    place = tmp_path_factory.mktemp("hub") / "pictures"
    place.mkdir()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["white", "black"])})
    for split, count in (("train", 40), ("test", 10)):
        rows = [{"image": Image.new("L", (8, 8), 255 * (1 - row % 2)), "label": row % 2} for row in range(count)]
        datasets.Dataset.from_list(rows, features=features).to_parquet(place / f"{split}.parquet")
    return place


def test_pictures_of_the_hub_keep_their_classes_names(folder):
    data = build_data(composed("task=pixels", "data=mnist", f"data.path={folder}", "data.size=4"))
    data.prepare_data()
    assert data.spec.labels == ("black", "white")
    assert [len(data.rows[split].given) for split in data.splits] == [36, 4, 10]
    for split in data.splits:
        bright = data.encoded(split).mean(axis=(1, 2))
        assert [data.spec.labels[label] for label in data.labels(split)] == [
            "white" if value == 255 else "black" for value in bright
        ]
    with pytest.raises(UserError, match=r"there is no column kind; name another by data\.label"):
        build_data(composed("task=pixels", "data=mnist", f"data.path={folder}", "data.label=kind")).prepare_data()
    with pytest.raises(UserError, match=r"with data\.size=9 data\.permutation=null: give the same"):
        data.adopt(PixelSpec(9, ("black", "white"), None))


def test_a_file_that_is_taken_for_a_split_is_told(tmp_path):
    for name in ("cat/1", "cat/2", "dog/1", "dog/train_2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 9).save(tmp_path / f"{name}.png")
    data = build_data(composed("task=pixels", "data=picture_folders", f"data.path={tmp_path}", "data.size=4"))
    with pytest.raises(UserError, match=r"has 4 pictures, of which 1 would be read: .* is taken for a split's"):
        data.prepare_data()


@pytest.mark.parametrize("place", [".", "cat"])
def test_pictures_without_two_classes_are_told(place, tmp_path):
    (tmp_path / place).mkdir(exist_ok=True)
    Image.new("L", (4, 4), 9).save(tmp_path / place / "1.png")
    data = build_data(composed("task=pixels", "data=picture_folders", f"data.path={tmp_path}", "data.size=4"))
    with pytest.raises(UserError, match="must lie in two folders or more, one for each class"):
        data.prepare_data()


def test_classes_that_are_not_public_are_left_out(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    for split, labels in (("train", [0, 1] * 20), ("test", [-1, -1])):
        rows = [{"image": Image.new("L", (4, 4), 9), "label": label} for label in labels]
        datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / f"{split}.parquet")
    data = build_data(composed("task=pixels", "data=mnist", f"data.path={tmp_path}", "data.size=4"))
    data.prepare_data()
    assert any("not public" in line for line in data.describe())
    assert [len(data.rows[split].given) for split in data.splits] == [32, 4, 4]  # a test split is drawn


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ('{"size": Infinity, "labels": ["a", "b"], "permutation": null}', "pixels.json: is not whole"),
        ('{"size": 4, "labels": ["a", "b"], "permutation": 1e400}', "pixels.json: is not whole"),
        ('{"size": 4, "labels": "ab", "permutation": null}', "pixels.json: is not whole"),
        ('{"size": 4096, "labels": ["a", "b"], "permutation": null}', "pixels.json: is not whole"),
        ("[" * 200_000, "pixels.json: is not whole"),
    ],
)
def test_a_damaged_spec_is_told(damage, told, tmp_path):
    (tmp_path / "pixels.json").write_text(damage)
    with pytest.raises(UserError, match=told):
        PixelData.load_spec(tmp_path)


def test_sizes_that_do_not_fit_are_told():
    with pytest.raises(UsageError, match=r"would take more than 4 GiB"):
        digits(sizes="[1000000000000,50,50]")
    with pytest.raises(UsageError, match=r"data\.size"):
        check(composed("task=pixels", "data.size=100000"))


def test_the_linear_model_sees_all_classes_however_they_are_sorted():
    labels = np.repeat([0, 1, 2], 3000)
    pictures = np.repeat(np.repeat((labels * 100).astype(np.uint8)[:, None, None], 2, 1), 2, 2)
    answers = linear_model(pictures, labels, {"test": (pictures[::500], labels[::500])}, 3)
    assert answers["test"].scores()["accuracy"] == 1.0
    assert linear_model(pictures[:10], labels[:10], {"test": (pictures, labels)}, 3) == {}


@pytest.mark.parametrize("splits", [[""], ["train", "test"]])
def test_a_folder_a_class(splits, tmp_path):
    for split in splits:
        for shade, name in ((0, "night"), (255, "day")):
            place = tmp_path / "mine" / split / name
            place.mkdir(parents=True)
            for number in range(10):
                Image.new("L", (6, 9), shade).save(place / f"{number}.png")
    data = build_data(composed("task=pixels", "data=picture_folders", f"data.path={tmp_path / 'mine'}", "data.size=3"))
    data.prepare_data()
    assert data.spec.labels == ("day", "night")
    assert sum(len(data.rows[split].given) for split in data.splits) == 20 * len(splits)
    for split in data.splits:
        bright = data.encoded(split)[:, 1, 1]
        assert [data.spec.labels[label] for label in data.labels(split)] == [
            "day" if value else "night" for value in bright
        ]


def test_a_class_that_train_has_not_is_told(folder, tmp_path):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    for split, names in (("train", ["a", "b"] * 20), ("test", ["a", "c"])):
        rows = [{"image": Image.new("L", (4, 4), 9), "label": name} for name in names]
        datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / f"{split}.parquet")
    data = build_data(composed("task=pixels", "data=mnist", f"data.path={tmp_path}", "data.size=4"))
    with pytest.raises(UserError, match=r"test, row 2: the class c is none of train: a, b"):
        data.prepare_data()


def test_black_is_told_from_white_and_pictures_from_outside_are_classified(folder, tmp_path):
    given = ["data=mnist", f"data.path={folder}", "data.size=4", "data.batch_size=10", "optimizer.lr=0.02"]
    run = tmp_path / "run"
    result = door("train.py", "task=pixels", *SMALL, *given, "trainer.max_steps=40", f"hydra.run.dir={run}")
    assert result.returncode == 0, result.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["metrics"]["test/accuracy"] == 1.0 == summary["baselines"]["linear"]["test/accuracy"]
    for name, shade in (("dark", 10), ("light", 240)):
        Image.new("RGB", (30, 30), (shade, shade, shade)).save(tmp_path / f"{name}.png")
    asked = [f"{tmp_path / name}.png" for name in ("light", "dark")]
    result = door("predict.py", str(run), "--image", *asked)
    assert result.returncode == 0, result.stderr
    head, *rows = result.stdout.splitlines()
    assert head == "label,p(black),p(white),image"
    assert [row.split(",")[0] for row in rows] == ["white", "black"] and [row.split(",")[3] for row in rows] == asked
    task = load(run)
    together = task.classify(np.stack([np.full((4, 4), shade, np.uint8) for shade in (240, 10, 200)]))
    alone = task.classify(np.full((1, 4, 4), 10, np.uint8))
    assert together[1].probabilities == pytest.approx(alone[0].probabilities, abs=1e-6)
    result = door("predict.py", str(run), "--image", str(folder / "train.parquet"))
    assert result.returncode == 1 and "cannot be read as a picture" in result.stderr
    result = door("predict.py", str(run))
    assert result.returncode == 2 and "Give --image FILE" in result.stderr
