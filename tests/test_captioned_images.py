"""Pictures with captions: what is read, what is refused, and batches."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import composed
from PIL import Image

from unroll.building import build_data
from unroll.data.builtin.shapes import Shapes
from unroll.data.captioned_images import CaptionedImages
from unroll.data.picture_files import read_picture, write_picture
from unroll.data.subwords import END
from unroll.data.tokenizing import PAD
from unroll.errors import UserError


def data_of(*overrides: str) -> CaptionedImages:
    data = build_data(composed("task=captioning", *overrides))
    assert isinstance(data, CaptionedImages)
    return data


def shapes(*overrides: str) -> Shapes:
    data = data_of("data.sizes=[40,8,8]", *overrides)
    data.prepare_data()
    assert isinstance(data, Shapes)
    return data


def refused(data: CaptionedImages) -> str:
    with pytest.raises(UserError) as error:
        data.prepare_data()
    assert "\n" not in str(error.value)
    return str(error.value)


def files(path: Path, *overrides: str) -> CaptionedImages:
    fractions = ["data.test_fraction=0", "data.validation_fraction=0.25", "data.image_size=12"]
    return data_of("data=captioned_files", f"data.path={path}", *fractions, *overrides)


def test_the_built_in_pictures_show_what_their_captions_say():
    data = shapes()
    for split in data.splits:
        rows, pictures = data.rows[split], data.pictures(split)
        assert pictures.shape[1:] == (3, 48, 48)
        for row in range(len(rows.given)):
            one, other = (data.aspects(caption) for caption in rows.captions(row))
            assert {one["relation"], other["relation"]} in ({"above", "below"}, {"left of", "right of"})
            for name in ("counts", "sizes", "colours", "shapes"):
                assert one[name].split(", ") == other[name].split(", ")[::-1]
            # Where the shapes are, and how dark: from the pixels alone.
            upper = one["relation"] in ("above", "left of")
            first, second = one["colours"].split(", ") if upper else other["colours"].split(", ")
            colour = {"black": lambda p: p.max(0) < 90, "red": lambda p: p[0].astype(int) - p[1:].max(0) > 90}
            across = 1 if one["relation"] in ("above", "below") else 2
            halves = np.split(pictures[row], 2, axis=across)
            for name, test in colour.items():
                assert [bool(test(half).sum() > 3) for half in halves] == [first == name, second == name]


def test_no_description_stands_in_two_splits():
    data = shapes()
    captions = [caption for split in data.splits for text in data.rows[split].wanted for caption in text.split("\n")]
    assert len(set(captions)) == len(captions)
    assert shapes().fingerprint == data.fingerprint != shapes("data.picture_seed=1").fingerprint
    assert data.aspects("two red") == {}


def table(folder: Path, name: str = "captions.csv") -> Path:
    for number in range(8):
        pixels = np.full((3, 20, 10), 30 * number, np.uint8)
        write_picture(pixels, folder / f"pictures/{number}.png")
    rows = [(f"pictures/{number}.png", f"picture {number}, {word}") for number in range(8) for word in ("one", "two")]
    path = folder / name
    if path.suffix == ".csv":
        path.write_text("image,caption\n" + "".join(f'{image},"{caption}"\n' for image, caption in rows))
    else:
        lines = {image: [caption for other, caption in rows if other == image] for image, _ in rows}
        path.write_text("".join(json.dumps({"image": i, "caption": c}) + "\n" for i, c in lines.items()))
    return path


def test_several_rows_or_a_list_give_a_picture_several_captions(tmp_path):
    read = [files(table(tmp_path, name)).rows for name in ("captions.csv", "captions.jsonl")]
    assert read[0]["train"].wanted == read[1]["train"].wanted
    assert len(read[0]["train"].given) == 6
    assert all(len(read[0]["train"].captions(row)) == 2 for row in range(6))
    assert read[0]["train"].captions(0)[0] == "picture 0, one"


def test_a_picture_is_brought_to_size_with_grey_beside_it(tmp_path):
    table(tmp_path)
    found = read_picture(tmp_path / "pictures/4.png", 12)
    assert found.shape == (3, 12, 12)
    assert (found[:, :, 3:9] == 120).all()
    assert (found[:, :, [0, 1, 2, 9, 10, 11]] == 128).all()
    grey = Image.fromarray(np.full((6, 6), 77, np.uint8))
    grey.save(tmp_path / "grey.png")
    assert (read_picture(tmp_path / "grey.png", 6) == 77).all()
    Image.fromarray(np.full((6, 6), 77 * 256, np.uint16)).save(tmp_path / "deep.png")
    assert (read_picture(tmp_path / "deep.png", 6) == 77).all()
    Image.new("RGBA", (6, 6), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_picture(tmp_path / "clear.png", 6) == 255).all()


def test_vectors_in_place_of_pictures(tmp_path):
    np.save(tmp_path / "features.npy", np.arange(24, dtype=np.float64).reshape(8, 3))
    lines = "".join(f"{row},a caption of {row}\n" for row in reversed(range(8)))
    path = tmp_path / "captions.csv"
    path.write_text("image,caption\n" + lines)
    data = files(path, f"data.features_path={tmp_path / 'features.npy'}")
    data.prepare_data()
    assert data.spec.shape == (3,)
    assert [data.pictures("train")[row].tolist() for row in range(2)] == [[21, 22, 23], [18, 19, 20]]
    path.write_text("image,caption\n" + lines + "8,one more\n")
    assert "captions.csv, line 10, column image: " in refused(
        files(path, f"data.features_path={tmp_path / 'features.npy'}")
    )
    for array, said in (
        (np.zeros((8, 0)), "has no numbers: its shape is (8, 0)"),
        (np.zeros(8), "is no table of numbers"),
        (np.zeros((8, 3), complex), "is no table of numbers"),
        (np.array([["a"]]), "is no table of numbers"),
    ):
        np.save(tmp_path / "bad.npy", array)
        assert said in refused(files(path, f"data.features_path={tmp_path / 'bad.npy'}"))
    for value in (np.nan, 1e300):
        np.save(tmp_path / "nan.npy", np.full((9, 3), value))
        said = refused(files(path, f"data.features_path={tmp_path / 'nan.npy'}"))
        assert "nan.npy: row 7 (from 0) is not finite in float32" in said
    rows = tmp_path / "rows.jsonl"
    for number in ("3.7", "true", '"1_0"', "Infinity", "null"):
        rows.write_text(f'{{"image": {number}, "caption": "a"}}\n')
        assert "is no row number of" in refused(files(rows, f"data.features_path={tmp_path / 'features.npy'}"))
    (tmp_path / "pickled.npy").write_bytes(b"\x80\x04.")
    assert "is no .npy file of numbers" in refused(files(path, f"data.features_path={tmp_path / 'pickled.npy'}"))


def test_what_is_refused(tmp_path):
    path = table(tmp_path)
    whole = path.read_text()
    (tmp_path / "pictures/3.png").write_bytes(b"no picture")
    assert f"{path}, line 8, column image: {tmp_path}/pictures/3.png: cannot be read as a picture" in refused(
        files(path)
    )
    (tmp_path / "pictures/3.png").write_bytes(b"")
    assert "pictures/3.png: cannot be read as a picture" in refused(files(path))
    (tmp_path / "pictures/3.png").unlink()
    assert f"{tmp_path}/pictures/3.png: there is no such file" in refused(files(path))
    table(tmp_path)
    path.write_text(whole + "pictures/1.png,\n")
    assert f"{path}, line 4: a caption is empty" in refused(files(path))
    path.write_text(whole + ",nothing\n")
    assert f"{path}, line 18, column image: '' is no file name" in refused(files(path))
    path.write_text(whole)
    assert "there is no column file (read with commas between columns); name another by data.image" in refused(
        files(path, "data.image=file")
    )
    assert "data.max_length=2 are allowed" in refused(files(path, "data.max_length=2"))
    path.write_text("image,caption\n")
    assert "the train split has no pictures" in refused(files(path))
    rows = table(tmp_path, "captions.jsonl")
    rows.write_text(rows.read_text() + '{"image": "pictures/1.png", "caption": []}\n')
    assert f"{rows}, line 9, column caption: the list of captions is empty" in refused(files(rows))
    assert "there are 93,312 different descriptions, and no more" in refused(data_of("data.sizes=[93310,2,1]"))
    path.write_text("image,caption\n" + "".join(f"{'a' * 300}{number}.png,long\n" for number in range(8)))
    assert f"{path}, line 2, column image: " in refused(files(path))
    Image.new("1", (14000, 14000)).save(tmp_path / "pictures/1.png")
    path.write_text(whole)
    assert "pictures/1.png: cannot be read as a picture: Image size" in refused(files(path))


def test_a_folder_of_the_hubs_layout(tmp_path):
    features = {"image": datasets.Image(), **{f"caption_{number}": datasets.Value("string") for number in range(5)}}
    for split, count in (("train", 6), ("validation", 2), ("test", 2)):
        pictures = [Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)) for number in range(count)]
        columns = {f"caption_{number}": [f"{split} {row} {number}" for row in range(count)] for number in range(5)}
        rows = datasets.Dataset.from_dict({"image": pictures, **columns}, features=datasets.Features(features))
        rows.to_parquet(str(tmp_path / f"{split}.parquet"))
    data = data_of("data=flickr8k", f"data.path={tmp_path}", "data.image_size=8", "data.min_count=1")
    data.prepare_data()
    assert data.rows["train"].captions(1) == [f"train 1 {number}" for number in range(5)]
    assert [int(picture.mean()) for picture in data.pictures("train")] == [0, 20, 40, 60, 80, 100]
    assert len(data.train_dataloader().captions) == 30
    assert "there is no column photo; name another by data.image" in refused(
        data_of("data=flickr8k", f"data.path={tmp_path}", "data.image=photo")
    )


def test_in_training_every_caption_comes_and_in_evaluation_every_picture():
    data = shapes("data.batch_size=7")
    train = list(data.train_dataloader())
    assert sorted(row for batch in train for row in batch.rows.tolist()) == list(range(80))
    tokenizer = data.spec.tokenizer
    for batch in train[:3]:
        for column, row in enumerate(batch.rows.tolist()):
            assert torch.equal(batch.pictures[column], torch.from_numpy(data.pictures("train")[row // 2]))
            target = batch.target[:, column].tolist()
            end = target.index(END)
            assert tokenizer.decode(target[:end]) == data.rows["train"].captions(row // 2)[row % 2]
            assert set(target[end + 1 :]) <= {PAD}
    found = list(data.eval_dataloader("validation+test"))
    assert sorted(row for batch in found for row in batch.rows.tolist()) == list(range(16))
    assert sum(len(batch.references) for batch in found) == 16
    assert sum(batch.token_count for batch in found) == sum(
        len(data.rows[split].captions(row)[0].split()) + 1 for split in ("validation", "test") for row in range(8)
    )
