"""Captioning: the model, its scores, and the door that describes pictures."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import composed, door
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from unroll.building import build_data, build_task
from unroll.data.builtin.shapes import Shapes
from unroll.data.captioned_images import CaptionedImages
from unroll.data.parallel_batches import begun
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
    composed, apart = "un caf\u00e9", "un cafe\u0301"  # the same letters
    assert Captions([composed], [[apart]]).scores()["exact_match"] == 1


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
    own = ["data=captioned_files", f"data.path={path}", f"data.features_path={tmp_path / 'features.npy'}"]
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
