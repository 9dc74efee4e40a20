"""Sentiment: its loss, its report, and the texts that it labels."""

import csv
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch
from conftest import SHARED, composed, door

from unroll.building import build_data, build_task, data_options
from unroll.data.buckets import LabelledBatch
from unroll.data.labelled_text import LabelledText, LabelledTextSpec
from unroll.data.tokenizing import fit_tokenizer
from unroll.errors import UsageError
from unroll.job import run

SMALL = [
    "task=sentiment",
    "logger=none",
    "model.hidden_size=16",
    "task.embedding_size=8",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=5",
]
REVIEWS = ["data.sizes=[400,80,80]", "data.batch_size=16"]
WORDS = ["good", "bad", "dull", "moving", "film", "plot", "not", "but"]


def spec(*labels: str, counts: tuple[int, ...] = (30, 10)) -> LabelledTextSpec:
    tokenizer = fit_tokenizer([" ".join(WORDS)], "words", 100, 1, True, "spaces")
    return LabelledTextSpec(tokenizer.to_str(), labels or ("neg", "pos"), counts)


def task_of(*overrides: str, labels: tuple[str, ...] = (), counts: tuple[int, ...] = (30, 10)):
    torch.manual_seed(1)
    return build_task(composed(*SMALL, *overrides), spec(*labels, counts=counts)).double()


def some_batch(labels: list[int], share: float = 1.0) -> LabelledBatch:
    tokens = torch.randint(2, 10, (6, len(labels)), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([6, *[3] * (len(labels) - 1)])
    return LabelledBatch(tokens, lengths, torch.tensor(labels), torch.arange(len(labels)), 9, share)


# The loss


def test_sigmoid_is_binary_cross_entropy_of_one_score():
    task = task_of("task.output=sigmoid").eval()
    batch = some_batch([0, 1, 1])
    z = task.model(batch.tokens, batch.lengths)
    assert z.shape == (3, 1)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z[:, 0], batch.labels.double())
    torch.testing.assert_close(task.loss(batch, None).value, expected)


def test_weights_and_smoothing_count_in_training_only():
    task = task_of(
        "task.class_weights=[2.0,0.5]", "task.label_smoothing=0.1", "task.input_dropout=0", "task.output_dropout=0"
    )
    batch = some_batch([0, 1, 1])
    log_p = torch.log_softmax(task.model(batch.tokens, batch.lengths), -1)
    smooth = torch.tensor([[0.95, 0.05], [0.05, 0.95], [0.05, 0.95]], dtype=torch.float64)
    each = -(smooth * log_p).sum(-1)
    torch.testing.assert_close(task.train().loss(batch, None).value, (each * torch.tensor([2.0, 0.5, 0.5])).mean())
    plain = -log_p.gather(1, batch.labels[:, None]).mean()
    torch.testing.assert_close(task.eval().loss(batch, None).value, plain)


def test_balanced_weights_are_those_of_scikit_learn():
    task = task_of("task.class_weights=balanced", counts=(30, 10))
    labels = np.repeat([0, 1], [30, 10])
    expected = sklearn.utils.class_weight.compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    np.testing.assert_allclose(task.class_weights.numpy(), expected, rtol=1e-6)


def test_what_does_not_fit_the_classes_is_refused():
    with pytest.raises(UsageError, match=r"task\.output=sigmoid is for two classes, and there are 3"):
        task_of("task.output=sigmoid", labels=("a", "b", "c"), counts=(1, 1, 1))
    with pytest.raises(UsageError, match=r"task\.class_weights has 3 numbers for 2 classes: neg, pos"):
        task_of("task.class_weights=[1.0,1.0,1.0]")
    with pytest.raises(
        UsageError, match=r"^truncation\.reset_probability: for streams only; a text is read as a whole"
    ):
        task_of("truncation=k16", "truncation.reset_probability=0.1")
    with pytest.raises(
        UsageError, match=r"^truncation\.carry_state=false and truncation\.vary_length=true: for streams"
    ):
        task_of("truncation=k16", "truncation.carry_state=false", "truncation.vary_length=true")


# Whole runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentiment") / "run"
    result = door("train.py", *SMALL, *REVIEWS, f"hydra.run.dir={folder}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "bag of words" in result.stdout
    return folder


def test_the_report_is_written_for_every_split(finished):
    for split in ("validation", "test"):
        for picture in ("confusion", "reliability", "difficulty"):
            assert (finished / f"figures/{picture}_{split}.png").read_bytes().startswith(b"\x89PNG")
        classes = list(csv.DictReader(io.StringIO((finished / f"evaluation/{split}_classes.csv").read_text())))
        assert [row["class"] for row in classes] == ["negative", "positive"]
        assert [row["count"] for row in classes] == ["40", "40"]
        assert "<!doctype html>" in (finished / f"evaluation/{split}_words.html").read_text()
    summary = json.loads((finished / "summary.json").read_text())
    wrong = list(csv.DictReader(io.StringIO((finished / "evaluation/test_most_wrong.csv").read_text())))
    assert len(wrong) == round(80 * (1 - summary["metrics"]["test/accuracy"]))
    assert all(row["right"] != row["answered"] for row in wrong)
    assert [float(row["probability"]) for row in wrong] == sorted(
        (float(row["probability"]) for row in wrong), reverse=True
    )
    assert set(summary["baselines"]["bag of words"]) == {
        f"{split}/{name}" for split in ("val", "test") for name in ("accuracy", "f1", "auroc", "calibration_error")
    }


def predict(folder: Path, *arguments: str, given: str | bytes = "") -> subprocess.CompletedProcess[str]:
    return door("predict.py", str(folder), *arguments, given=given)


def test_every_way_in_and_out_gives_the_same_answers_in_order(finished, tmp_path):
    import unroll

    texts = [
        "the plot was dull .",
        "",
        "the hero was not dull , it was moving .",
        "zzz qqq",
        'a "quoted" plot, ok',
        "NA",
    ]
    task = unroll.load(finished)
    expected = task.classify(texts)
    assert [one.unknown for one in expected] == [False, True, False, True, False, True]
    assert task.classify(["[PAD]"])[0].unknown
    given = predict(finished, given="\r\n".join(texts) + "\r\n")
    assert given.returncode == 0, given.stderr
    assert predict(finished, "--input", "-", given="\r\n".join(texts) + "\r\n").stdout == given.stdout
    assert "warning: 3 of 6 texts have no word that the model knows" in given.stderr
    assert re.search(r"6 texts in \d+\.\d s, [\d,]+ texts/s", given.stderr)
    rows = list(csv.DictReader(io.StringIO(given.stdout)))
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == [one.label for one in expected]
    for row, one in zip(rows, expected, strict=True):
        assert [float(row["p(negative)"]), float(row["p(positive)"])] == pytest.approx(one.probabilities, abs=1e-6)

    table = tmp_path / "texts.csv"
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows([("id", "body"), *enumerate(texts)])
    result = predict(finished, "--input", str(table), "--column", "body", "--output", str(tmp_path / "o.jsonl"))
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    found = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["text"] for row in found] == texts
    for row, one in zip(found, expected, strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(one.probabilities, abs=1e-6)
    result = predict(finished, "--text", texts[0], "--text", texts[2], "--format", "jsonl")
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()] == [expected[0].label, expected[2].label]
    result = predict(finished, "--text", texts[2], "--explain")
    assert texts[2] in " ".join(result.stdout.split())


def test_answers_do_not_depend_on_the_company(finished):
    import unroll

    task = unroll.load(finished)
    texts = build_data(composed(*SMALL, *REVIEWS)).examples["test"].texts
    together = task.classify(texts)
    for text, one in zip(texts, together, strict=True):
        assert task.classify([text])[0].probabilities == pytest.approx(one.probabilities, abs=1e-6)


def test_a_text_of_a_megabyte_is_answered(finished):
    result = predict(finished, given="the plot was dull " * 60_000)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--input", "gone.csv"], 1, "gone.csv: there is no such file"),
        (
            ["--input", "{t}", "--column", "x"],
            1,
            "there is no column x (read with commas between columns); name another by",
        ),
        (["--input", "{t}"], 2, "which column has the texts? Name it by --column; Valid: a, b"),
        (["--input", "{t}", "--column", "a", "--output", "{t}"], 2, "is the input; name another file"),
        (["--input", "{t}", "--text", "x"], 2, "--text and --input: give one of them"),
        (["--text", "x", "--output", "gone/o.csv"], 1, "there is no folder gone"),
        (["--text", "x", "--output", "{folder}"], 1, "is a folder; name a file in it"),
        (["--text", "x", "--output", "o.xlsx"], 2, "a .csv or a .jsonl is written; for another name give --format"),
        (["--text", "x", "--explain", "--format", "csv"], 2, "--explain and --format: give one of them"),
        (["--text", "x", "--colour"], 2, "--colour: there is no such option; "),
    ],
)
def test_predict_answers_mistakes_in_one_line(finished, tmp_path, arguments, code, said):
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n")
    result = predict(finished, *[argument.format(t=table, folder=tmp_path) for argument in arguments])
    assert result.returncode == code
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_odd_input_is_read_or_told(finished, tmp_path):
    result = predict(finished, given=b"\xef\xbb\xbfgood film\ncaf\xe9\n")
    assert result.returncode == 1
    assert b"standard input, line 1 or soon after: is not utf-8" in result.stderr
    assert b"Traceback" not in result.stderr
    result = predict(finished, "--encoding", "latin-1", given=b"caf\xe9\n")
    assert result.stdout.decode().splitlines()[1].endswith(",café")
    result = predict(finished, "--output", str(tmp_path / "o.csv"), "--text", "good\rfilm", "--text", "a,b")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "o.csv").open(newline="", encoding="utf-8") as file:
        assert [row["text"] for row in csv.DictReader(file)] == ["good\rfilm", "a,b"]
    (tmp_path / "link.csv").symlink_to(tmp_path / "o.csv")
    result = predict(finished, "--output", str(tmp_path / "link.csv"), "--text", "again")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "o.csv").read_text().splitlines()[1].endswith(",again")
    result = predict(finished, "--text", "zzzz", "--explain")
    assert "no word that the model knows" in result.stdout


def test_names_of_classes_are_no_markup(tmp_path):
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([(f"text {i}", ["$1^$2", "[/x]"][i % 2]) for i in range(60)])
    overrides = [*SMALL, "data=labelled_files", f"data.path={path}", "trainer.max_steps=2"]
    result = door("train.py", *overrides, f"hydra.run.dir={tmp_path}/run")
    assert result.returncode == 0, result.stderr
    result = predict(tmp_path / "run", "--text", "text 3", "--explain")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(("$1^$2 ", "[/x] "))


def test_weights_of_another_task_are_refused(finished, tmp_path):
    result = door("train.py", f"init_from={finished}", "logger=none", f"hydra.run.dir={tmp_path}/run")
    assert result.returncode == 2
    assert "is a run of another task; its weights do not fit this one" in result.stderr
    assert not (tmp_path / "run").exists()


def test_processes_may_have_nothing_to_evaluate(tmp_path):
    two = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    overrides = [*SMALL, *REVIEWS, *two, "data.sizes=[60,3,2]", "data.eval_batch_size=1", "trainer.max_steps=2"]
    result = door("train.py", *overrides, f"hydra.run.dir={tmp_path}/run")
    assert result.returncode == 0, result.stderr
    alone = door("evaluate.py", str(tmp_path / "run"), "--split", "validation+test")
    assert alone.returncode == 0, alone.stderr


def test_a_broken_row_leaves_no_half_file(finished, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("text\n" + "good\n" * 5000 + "a,b\n")
    result = predict(finished, "--input", str(table), "--output", str(tmp_path / "o.csv"))
    assert result.returncode == 1
    assert "t.csv, line 5002: has 2 fields where the header has 1" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("overrides", "code", "said"),
    [
        (["data=labelled_files", "data.path=gone.csv"], 1, "gone.csv: there is no such file"),
        (["data=labelled_files"], 2, "data.path has no value"),
        (["data=sst2", "data.path=gone"], 1, "gone: there is no such folder"),
        (
            ["data=python_docs"],
            2,
            f"data=python_docs: task=sentiment learns from LabelledText, and this is none; one of: "
            f"{', '.join(data_options(LabelledText))}",
        ),
        (
            ["task.pooling=first"],
            2,
            "task.pooling=first: input should be 'last', 'mean', 'max' or 'attention'",
        ),
        (["task.vectors=gone.txt"], 1, "gone.txt: there is no such file"),
        (["watch.metric=val/bpc"], 2, "watch.metric=val/bpc: is not measured"),
    ],
)
def test_train_answers_mistakes_in_one_line(tmp_path, overrides, code, said):
    result = door("train.py", *SMALL, *overrides, f"hydra.run.dir={tmp_path}/run")
    assert said in result.stderr
    assert result.returncode == code
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_vectors_are_loaded_once_and_told(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("dull 1 1 1 1 1 1 1 1\nmoving -1 -1 -1 -1 -1 -1 -1 -1\n")
    overrides = [*SMALL, *REVIEWS, f"task.vectors={path}", "task.freeze_embedding=true", "optimizer=sgd"]
    composed(*overrides, "trainer.max_steps=3", folder=tmp_path / "run")
    run(tmp_path / "run")
    log = (tmp_path / "run/train.log").read_text()
    assert re.search(r"vectors: 2 of \d+ words found in .*v\.txt, \d\.\d% of the running text of train", log)
    path.unlink()  # a finished run does not need the file
    import unroll

    task = unroll.load(tmp_path / "run")
    dull = task.model.embedding.weight[task.spec.tokenizer.token_to_id("dull")]
    assert dull.tolist() == [1.0] * 8


def test_a_users_file_of_five_classes_becomes_a_classifier(tmp_path):
    path = tmp_path / "stars.tsv"
    names = ["awful", "poor", "fair", "good", "great"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["body", "stars"])
        writer.writerows([(f"a {names[i % 5]} film , number {i}", i % 5 + 1) for i in range(400)])
    columns = ["data.text=body", "data.label=stars", "data.batch_size=16", "optimizer.lr=0.02", "trainer.max_epochs=8"]
    result = door(
        "train.py", *SMALL, "data=labelled_files", f"data.path={path}", *columns, f"hydra.run.dir={tmp_path}/run"
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["metrics"]["test/accuracy"] > 0.95
    assert "test/auroc" not in summary["metrics"]
    given = predict(tmp_path / "run", given="an awful film\na great film\n")
    assert [row["label"] for row in csv.DictReader(io.StringIO(given.stdout))] == ["1", "5"]


def test_a_sweep_draws_its_jobs_into_one_picture(tmp_path):
    result = door(
        "train.py", "-m", *SMALL, *REVIEWS, "model=rnn,gru", "trainer.max_steps=5", f"hydra.sweep.dir={tmp_path}/s"
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "s/comparison/difficulty.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((tmp_path / "s/0/summary.json").read_text())
    assert not [key for key in summary["metrics"] if key.startswith("test")]
    assert not list((tmp_path / "s").rglob("test_*"))


def test_wandb_gets_tables_and_pictures(tmp_path):
    overrides = [item for item in SMALL if not item.startswith("logger")]
    result = door(
        "train.py", *overrides, *REVIEWS, "trainer.max_steps=5", f"hydra.run.dir={tmp_path}/run", WANDB_MODE="offline"
    )
    assert result.returncode == 0, result.stderr
    (kept,) = (tmp_path / "run/wandb").glob("offline-run-*")
    media = {path.parent.name for path in (kept / "files/media").rglob("*") if path.is_file()}
    names = {path.name.split("_")[0] for path in (kept / "files/media").rglob("*.png")}
    assert names >= {"confusion", "reliability", "difficulty"}, (names, media)
    assert list((kept / "files/media/table").rglob("most_wrong*.json"))


@pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason="needs the data set sst2 in the test data folder")
def test_sst2_is_learned(tmp_path):
    """A few hundred steps on real sentences: far above chance, 0.51."""
    overrides = [*SMALL, "data=sst2", f"data.path={SHARED}/sst2", "task.pooling=max", "task.embedding_size=64"]
    composed(*overrides, "trainer.max_epochs=3", "optimizer.lr=0.005", folder=tmp_path / "run")
    run(tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["metrics"]["val/accuracy"] > 0.72
