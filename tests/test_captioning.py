"""Captioning: pictures that are read and refused, the model, its scores, its report, and the captions that it writes."""

import csv
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import composed, door
from PIL import Image
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from unroll.building import build_data, build_task
from unroll.data.builtin.shapes import Shapes
from unroll.data.captioned_images import CaptionedImages
from unroll.data.parallel_batches import begun
from unroll.data.picture_files import read_picture, write_picture
from unroll.data.subwords import BEGIN, END
from unroll.data.tokenizing import PAD
from unroll.errors import UserError
from unroll.insight.captions import Captions
from unroll.job import run

SMALL = [
    "task=captioning",
    "logger=none",
    "model.hidden_size=16",
    "task.embedding_size=12",
    "task.channels=[8,8]",
    "task.vector_size=10",
    "trainer.accelerator=cpu",
]


def data_of(*overrides: str) -> CaptionedImages:
    data = build_data(composed("task=captioning", *overrides))
    assert isinstance(data, CaptionedImages)
    return data


def shapes(*overrides: str) -> Shapes:
    data = data_of("data.sizes=[40,8,8]", *overrides)
    data.prepare_data()
    assert isinstance(data, Shapes)
    return data


def task_of(data: CaptionedImages, *overrides: str):
    torch.manual_seed(1)
    task = build_task(composed(*SMALL, *overrides), data.spec).double().eval()
    with torch.no_grad():
        for weight in task.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return task


def refused(data: CaptionedImages) -> str:
    with pytest.raises(UserError) as error:
        data.prepare_data()
    assert "\n" not in str(error.value)
    return str(error.value)


def files(path: Path, *overrides: str) -> CaptionedImages:
    fractions = ["data.test_fraction=0", "data.validation_fraction=0.25", "data.image_size=12"]
    return data_of("data=captioned_files", f"data.path={path}", *fractions, *overrides)


# What is read


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
    data = files(path, f"data.features={tmp_path / 'features.npy'}")
    data.prepare_data()
    assert data.spec.shape == (3,)
    assert [data.pictures("train")[row].tolist() for row in range(2)] == [[21, 22, 23], [18, 19, 20]]
    path.write_text("image,caption\n" + lines + "8,one more\n")
    assert "captions.csv, line 10, column image: " in refused(files(path, f"data.features={tmp_path / 'features.npy'}"))
    for array, said in (
        (np.zeros((8, 0)), "has no numbers: its shape is (8, 0)"),
        (np.zeros(8), "is no table of numbers"),
        (np.zeros((8, 3), complex), "is no table of numbers"),
        (np.array([["a"]]), "is no table of numbers"),
    ):
        np.save(tmp_path / "bad.npy", array)
        assert said in refused(files(path, f"data.features={tmp_path / 'bad.npy'}"))
    for value in (np.nan, 1e300):
        np.save(tmp_path / "nan.npy", np.full((9, 3), value))
        said = refused(files(path, f"data.features={tmp_path / 'nan.npy'}"))
        assert "nan.npy: row 7 (from 0) is not finite in float32" in said
    rows = tmp_path / "rows.jsonl"
    for number in ("3.7", "true", '"1_0"', "Infinity", "null"):
        rows.write_text(f'{{"image": {number}, "caption": "a"}}\n')
        assert "is no row number of" in refused(files(rows, f"data.features={tmp_path / 'features.npy'}"))
    (tmp_path / "pickled.npy").write_bytes(b"\x80\x04.")
    assert "is no .npy file of numbers" in refused(files(path, f"data.features={tmp_path / 'pickled.npy'}"))


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


# The model


@pytest.mark.parametrize("at", ["start", "every_step"])
def test_what_is_written_step_by_step_is_what_was_trained(at):
    data = shapes()
    task = task_of(data, f"task.vector_at={at}")
    batch = next(iter(data.eval_dataloader("test")))
    with torch.no_grad():
        v = task._vectors(batch.pictures)
        reads = begun(batch.target)
        expected = task.model(v, reads)
        state, memory = task.model.started(v)
        for t, tokens in enumerate(reads):
            logits, state = task.model.advance(tokens[:, None], state, memory)
            torch.testing.assert_close(logits[:, 0], expected[t])
            logits, _ = task.model.advance(tokens[:, None], task.model.started(v)[0], memory)
            assert t == 0 or not torch.allclose(logits[:, 0], expected[t])
    start = task.model.start(v)
    x = torch.cat([start[None], task.model.embedding(reads) + (start if at == "every_step" else 0)])
    y, _ = task.model.recurrent(x)
    torch.testing.assert_close(task.model.output(y[1:]), expected)


def test_windows_cut_the_way_back_to_the_picture():
    data = shapes()
    batch = next(iter(data.eval_dataloader("test")))
    reached = []
    for truncation in ([], ["truncation=k8", "truncation.length=3"]):
        task = task_of(data, "task.vector_at=start", *truncation)
        v = task._vectors(batch.pictures).detach().requires_grad_()
        logits = task.model(v, begun(batch.target))
        last = int((batch.target[:, 0] != PAD).sum()) - 1
        (gradient,) = torch.autograd.grad(logits[last, 0].sum(), v)
        reached.append((bool(gradient.any()), logits.detach()))
    assert [found for found, _ in reached] == [True, False]
    torch.testing.assert_close(reached[0][1], reached[1][1])


def test_a_decoder_that_reads_from_its_end_is_refused():
    with pytest.raises(UserError, match="a caption's words would see those after them"):
        task_of(shapes(), "model.bidirectional=true")


def test_captions_in_a_batch_are_those_one_by_one():
    data = shapes()
    task = task_of(data)
    pictures = data.pictures("test")
    together = task.caption(pictures, 3)
    for row, (text, log_probability) in enumerate(together):
        ((alone, score),) = task.caption(pictures[row : row + 1], 3)
        assert alone == text
        assert score == pytest.approx(log_probability)
    # The log-probability is the model's own of what was written, where it ended by itself.
    tokens = [*task.spec.tokenizer.encode(together[0][0], add_special_tokens=False).ids, END]
    if len(tokens) <= task.max_output:
        with torch.no_grad():
            logits = task.model(
                task._vectors(torch.from_numpy(pictures[:1])), torch.tensor([BEGIN, *tokens[:-1]])[:, None]
            )
        scores = torch.log_softmax(logits[:, 0], -1)
        own = sum(scores[t, token].item() for t, token in enumerate(tokens))
        assert own == pytest.approx(together[0][1], abs=1e-5)


# Scores


def test_scores_are_sacrebleus_against_all_references():
    hypotheses = ["a red square above a blue circle", "two green crosses", "nothing at all"]
    references = [
        ["a red square above a blue circle", "a blue circle below a red square"],
        ["two green squares"],
        ["all", "b"],
    ]
    found = Captions(hypotheses, references).scores()
    columns = [[several[0] for several in references], [several[-1] for several in references]]
    assert found["bleu"] == pytest.approx(BLEU().corpus_score(hypotheses, columns).score)
    assert found["chrf"] == pytest.approx(CHRF().corpus_score(hypotheses, columns).score)
    assert found["exact_match"] == pytest.approx(1 / 3)
    capitals = [[caption.title() for caption in several] for several in references]
    assert Captions(hypotheses, capitals).scores() == pytest.approx(found)


def test_aspects_are_scored_one_by_one_by_the_side_that_was_taken():
    read = shapes().aspects
    references = [["a red square above two blue circles", "two blue circles below a red square"]] * 3
    hypotheses = ["two blue circles below a green square", "a red square above two large blue circles", "hm"]
    found = Captions(hypotheses, references).aspects(read)
    third = pytest.approx(1 / 3)
    two = pytest.approx(2 / 3)
    assert found == {"relation": two, "counts": two, "sizes": third, "colours": third, "shapes": two}


# A run, and its doors


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("captioning") / "run"
    some = ["data.sizes=[40,6,6]", "trainer.max_epochs=150", "schedule=constant", "task.channels=[16,16]"]
    more = [
        "model.hidden_size=64",
        "data.batch_size=16",
        "optimizer.lr=0.003",
        "task.output_dropout=0",
        "trainer.check_val_every_n_epoch=50",
    ]
    composed("task=captioning", "logger=none", "trainer.accelerator=cpu", *some, *more, folder=folder)
    run(folder)
    return folder


def test_some_pictures_are_learnt_by_heart(finished):
    import unroll

    task = unroll.load(finished, "last")
    data = data_of("data.sizes=[40,6,6]")
    written = [caption for caption, _ in task.caption(data.pictures("train"))]
    found = Captions(written, [data.rows["train"].captions(row) for row in range(40)])
    assert found.scores()["exact_match"] > 0.9
    assert min(found.aspects(data.aspects).values()) > 0.9


def test_a_run_leaves_its_sheet_and_tables(finished):
    for name in ("captions_test.png", "exact_by_length_test.png"):
        assert (finished / "figures" / name).stat().st_size > 5000
    rows = list(csv.DictReader((finished / "evaluation/test_captions.csv").read_text().splitlines()))
    metrics = json.loads((finished / "summary.json").read_text())["metrics"]
    data = data_of("data.sizes=[40,6,6]")
    references = [data.rows["test"].captions(row) for row in range(6)]
    scores = Captions([row["caption"] for row in rows], references).scores()
    assert scores == {name: pytest.approx(metrics[f"test/{name}"]) for name in scores}
    aspects = list(csv.DictReader((finished / "evaluation/test_aspects.csv").read_text().splitlines()))
    assert [row["aspect"] for row in aspects] == ["relation", "counts", "sizes", "colours", "shapes"]


def test_pictures_in_captions_out(finished, tmp_path):
    pictures = [str(finished / f"evaluation/test_pictures/{number}.png") for number in range(3)]
    result = door("predict.py", str(finished), "--image", *pictures)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    output = tmp_path / "captions.jsonl"
    assert door("predict.py", str(finished), "--image", *pictures, "--output", str(output)).returncode == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["caption"] for row in rows] == lines
    assert [row["image"] for row in rows] == pictures
    assert all(row["log_probability"] < 0 for row in rows)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG")
    np.save(tmp_path / "f.npy", np.zeros((1, 3)))
    for options, code, said in (
        (["--image", str(broken)], 1, f"{broken}: cannot be read as a picture"),
        (["--image", str(tmp_path / "none.png")], 1, "there is no such file"),
        (["--image", ""], 1, "cannot be read as a picture"),
        (["--features", str(tmp_path / "f.npy")], 2, "--features: this run was trained on pictures: give --image"),
        ([], 2, "what is to be captioned? Give --image FILE ..."),
    ):
        result = door("predict.py", str(finished), *options)
        assert result.returncode == code
        assert result.stderr.count("\n") == 1
        assert said in result.stderr


def test_vectors_of_another_width_are_refused(tmp_path):
    np.save(tmp_path / "features.npy", np.eye(8, dtype=np.float32))
    path = tmp_path / "captions.csv"
    path.write_text("image,caption\n" + "".join(f"{row},number {row}\n" for row in range(8)))
    folder = tmp_path / "run"
    own = ["data=captioned_files", f"data.path={path}", f"data.features={tmp_path / 'features.npy'}"]
    composed(
        *SMALL, *own, "data.validation_fraction=0.25", "data.test_fraction=0", "trainer.max_epochs=2", folder=folder
    )
    run(folder)
    result = door("predict.py", str(folder), "--features", str(tmp_path / "features.npy"))
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 8
    np.save(tmp_path / "nan.npy", np.full((2, 8), np.nan))
    result = door("predict.py", str(folder), "--features", str(tmp_path / "nan.npy"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "nan.npy: row 0 (from 0) is not finite in float32" in result.stderr
    np.save(tmp_path / "wide.npy", np.zeros((2, 9)))
    result = door("predict.py", str(folder), "--features", str(tmp_path / "wide.npy"))
    assert result.returncode == 1
    assert "has vectors of 9 numbers, and the run was trained with 8" in result.stderr
    result = door("predict.py", str(folder), "--image", "x.png")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
