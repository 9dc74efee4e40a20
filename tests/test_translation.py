"""Translation, through the doors: what is learned, written, scored and refused."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import composed, door

import unroll
from unroll.building import build_data, build_task
from unroll.checkpoint import read_checkpoint
from unroll.data.tokenizing import PAD
from unroll.errors import UsageError
from unroll.insight.alignments import by_words
from unroll.job import run
from unroll.runs import read_config

SUBJECTS = {
    "the cat": "le chat",
    "a dog": "un chien",
    "my sister": "ma sœur",
    "the teacher": "le professeur",
    "she": "elle",
}
VERBS = {"sees": "voit", "finds": "trouve", "draws": "dessine", "wants": "veut"}
OBJECTS = {"the red house": "la maison rouge", "a small tree": "un petit arbre", "the old bridge": "le vieux pont"}
PAIRS = [
    (f"{s} {v} {o}.", f"{SUBJECTS[s]} {VERBS[v]} {OBJECTS[o]}.") for s in SUBJECTS for v in VERBS for o in OBJECTS
][:50]


def write_pairs(folder: Path, pairs=PAIRS) -> list[str]:
    for side, name in enumerate(("en", "fr")):
        (folder / f"pairs.{name}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    files = {"source_path": "en", "target_path": "fr", "validation_source_path": "en", "validation_target_path": "fr"}
    return [
        "task=translation",
        "data=parallel_files",
        *(f"data.{key}={folder}/pairs.{name}" for key, name in files.items()),
        "data.test_fraction=0",
        "data.vocab_size=300",
        "data.min_count=1",
        "data.batch_tokens=200",
        "logger=none",
        "model=gru",
        "model.hidden_size=48",
        "task.embedding_size=32",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=5",
    ]


LEARNT = [
    "task.input_dropout=0",
    "task.output_dropout=0",
    "task.label_smoothing=0",
    "optimizer.lr=0.01",
    "trainer.max_epochs=80",
    "trainer.check_val_every_n_epoch=40",
]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("translation")
    torch.manual_seed(0)
    composed(*write_pairs(folder), *LEARNT, folder=folder / "run")
    run(folder / "run")
    return folder / "run"


def test_fifty_pairs_are_learnt_by_heart(learnt):
    metrics = json.loads((learnt / "summary.json").read_text())["metrics"]
    assert metrics["val/exact_match"] == 1.0
    assert metrics["val/bleu"] == pytest.approx(100.0)
    assert metrics["val/perplexity"] == pytest.approx(math.exp(metrics["val/loss"]))
    assert metrics["val/perplexity"] < 1.05


def test_bleu_is_sacrebleus_own_on_the_written_files(tmp_path):
    """Of a run that has learnt little, so that there is something to score."""
    composed(*write_pairs(tmp_path), "trainer.max_steps=25", "optimizer.lr=0.01", folder=tmp_path / "run")
    run(tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    tables = tmp_path / "run/evaluation"
    command = [sys.executable, "-m", "sacrebleu", str(tables / "validation_references.txt"), "-b", "-w", "6"]
    for extra, name in (([], "bleu"), (["-lc"], "bleu_lowercase"), (["-m", "chrf"], "chrf")):
        given = [*command, "-i", str(tables / "validation_hypotheses.txt"), *extra]
        found = float(subprocess.run(given, capture_output=True, text=True, check=True).stdout)
        assert 0 < found < 100
        assert summary["metrics"][f"val/{name}"] == pytest.approx(found, abs=1e-5)
    assert "tok:13a" in summary["definitions"]["bleu"]
    assert "case:mixed" in summary["definitions"]["bleu"]
    hypotheses = (tables / "validation_hypotheses.txt").read_text().splitlines()
    same = sum(one == pair[1] for one, pair in zip(hypotheses, PAIRS, strict=True))
    assert summary["metrics"]["val/exact_match"] == pytest.approx(same / len(PAIRS))
    with (tables / "validation_examples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["chrf"]) for row in rows]
    assert scores == sorted(scores)
    assert {(row["source"], row["reference"]) for row in rows} == set(PAIRS)


def test_a_run_leaves_its_pictures(learnt):
    for name in ("alignment_validation", "bleu_by_length_validation", "learning_curve"):
        assert (learnt / f"figures/{name}.png").stat().st_size > 5000
    assert len(list((learnt / "figures/alignments").glob("step_*.png"))) == 2


def test_lines_in_lines_out(learnt, tmp_path):
    lines = [pair[0] for pair in PAIRS[::7]]
    lines.insert(2, "")
    lines.insert(5, "   ")
    (tmp_path / "in.en").write_text("\n".join(lines) + "\n")
    result = door("predict.py", str(learnt), "--input", str(tmp_path / "in.en"), "--output", str(tmp_path / "out.txt"))
    assert result.returncode == 0, result.stderr
    partner = dict(PAIRS)
    assert (tmp_path / "out.txt").read_text().splitlines() == [partner.get(line, "") for line in lines]
    assert f"{len(lines)} texts in " in result.stderr


def test_the_best_with_scores_and_alignments(learnt):
    result = door("predict.py", str(learnt), "--text", PAIRS[0][0], "--text", "", "--nbest", "3", "--beam", "4")
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "1", "1", "2"]
    assert rows[0][2] == PAIRS[0][1]
    scores = [float(row[1]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)
    result = door("predict.py", str(learnt), "--text", PAIRS[0][0], "--alignment")
    (answer,) = json.loads(result.stdout)["translations"]
    assert answer["text"] == PAIRS[0][1]
    aligned = answer["alignment"]
    assert aligned["source"] == PAIRS[0][0].split()
    assert aligned["target"] == [*PAIRS[0][1].split(), "</s>"]
    for weights in aligned["weights"]:
        assert len(weights) == len(aligned["source"])
        assert sum(weights) == pytest.approx(1, abs=1e-3)


def test_the_score_is_the_models_own(learnt):
    task = unroll.load(learnt)
    (best, *_) = task.rewrite([PAIRS[3][0]], n_best=3)[0]
    assert best.text == PAIRS[3][1]
    from unroll.data.parallel_batches import begun
    from unroll.data.subwords import END
    from unroll.data.tokenizing import encode

    source = torch.from_numpy(encode(task.spec.source_tokenizer, [PAIRS[3][0]])[0]).long()[:, None]
    target = torch.tensor([*best.tokens, END])[:, None]
    with torch.no_grad():
        logits = task.model.readout(task.model(source, None, begun(target)))
    expected = torch.log_softmax(logits, -1).gather(2, target[..., None]).sum().item()
    assert best.log_probability == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert best.score == pytest.approx(expected / ((5 + len(target)) / 6), rel=1e-4, abs=1e-6)
    (bare, *_) = task.rewrite([PAIRS[3][0]], length_penalty=0.0)[0]
    assert bare.score == pytest.approx(bare.log_probability)


def test_smoothing_is_for_training_alone(learnt):
    task = unroll.load(learnt, settings=["task.label_smoothing=0.5"])
    data = build_data(read_config(learnt))
    data.prepare_data()
    batch = next(iter(data.eval_dataloader("validation")))
    with torch.no_grad():
        memory, first = task.model.encode(batch.source, batch.lengths)
        plain = F.cross_entropy(task._logits(batch).flatten(0, 1), batch.target.flatten(), ignore_index=PAD)
        torch.testing.assert_close(task._cost(batch, first, memory), plain)
        assert task.train()._cost(batch, first, memory) > plain + 1  # it is sure of each answer, and is not to be


def test_drawn_translations_repeat_by_seed(learnt):
    command = ["predict.py", str(learnt), "--text", "the teacher sees", "--temperature", "3", "--nbest", "4", "--seed"]
    first, again, other = (door(*command, seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--text", "a", "--input", "b"], "--text and --input: give one of them"),
        (["--temperature", "1", "--beam", "2"], "--temperature and --beam: give one of them"),
        (["--alignment", "--format", "txt", "--text", "a"], "--alignment: has no place in plain lines"),
        (["--beam", "0"], "argument --beam: 0 is not a whole number from 1 to 1000"),
        (["--input", "nowhere.txt"], "nowhere.txt: there is no such file"),
        (["--length-penalty", "10000"], "10000 is not a number from 0 to 10"),
        (["--temperature", "0"], "0 is not a number from 0.01 to 100"),
        (["--seed", "1", "--text", "a"], "--seed: nothing is drawn without --temperature"),
        (["--beam", "1", "--nbest", "3"], "--nbest 3: a beam of 1 finds no more than that"),
        (["--column", "text"], "--column text: standard input has lines, not columns"),
    ],
)
def test_bad_options(learnt, options, expected):
    result = door("predict.py", str(learnt), *options)
    assert result.returncode in (1, 2)
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_a_checkpoint_of_another_tokenizer_is_refused(learnt, tmp_path):
    """Of the same sizes: only what the numbers mean is different."""
    swapped = [(text.replace("cat", "tac"), other) for text, other in PAIRS]
    composed(*write_pairs(tmp_path, swapped), "trainer.max_steps=2", folder=tmp_path / "run")
    run(tmp_path / "run")
    ours, theirs = (
        read_checkpoint(folder / "checkpoints/best.ckpt")["state_dict"] for folder in (learnt, tmp_path / "run")
    )
    other = "same" if all(ours[name].shape == theirs[name].shape for name in ours) else "another"
    result = door("predict.py", str(learnt), "--checkpoint", str(tmp_path / "run/checkpoints/best.ckpt"), "--text", "a")
    assert result.returncode == 1
    expected = "with another vocabulary or tokenizer" if other == "same" else "is a checkpoint of another model"
    assert expected in result.stderr


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("none", [1, 1, 1]),
        ("linear", [1, 0.75, 0.2]),
        ("exponential", [1, math.exp(-0.25), 0.2]),
        ("inverse_sigmoid", [40 / 41, 40 / (40 + math.exp(0.25)), 40 / (40 + math.exp(10))]),
    ],
)
def test_the_right_words_are_taken_away_as_said(tmp_path, monkeypatch, decay, expected):
    config = composed(
        *write_pairs(tmp_path), f"task.sampling={decay}", "task.sampling_steps=40", "task.sampling_floor=0.0"
    )
    data = build_data(config)
    task = build_task(config, data.spec)
    task.sampling_floor = 0.0 if decay == "inverse_sigmoid" else 0.2
    for step, value in zip((0, 10, 400), expected, strict=True):
        monkeypatch.setattr(type(task), "global_step", step)
        assert task.truth == pytest.approx(value)


@pytest.mark.parametrize("feed", ["token", "distribution"])
def test_scheduled_sampling_learns_and_resumes(tmp_path, feed):
    settings = [*write_pairs(tmp_path), "task.sampling=linear", "task.sampling_steps=30", f"task.sampling_feed={feed}"]
    settings += ["optimizer.lr=0.01", "schedule=constant", "callbacks.last.every_n_steps=10", "trainer.max_epochs=-1"]
    settings += ["trainer.check_val_every_n_epoch=5"]
    for name, steps in (("whole", 60), ("two", 34)):
        composed(*settings, f"trainer.max_steps={steps}", folder=tmp_path / name)
        run(tmp_path / name)
    result = door("train.py", f"resume={tmp_path}/two", "trainer.max_steps=60")
    assert result.returncode == 0, result.stderr
    ours, theirs = (
        read_checkpoint(tmp_path / name / "checkpoints/last.ckpt")["state_dict"] for name in ("two", "whole")
    )
    told = (tmp_path / "two/train.log").read_text()  # which settings both processes took
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs), told
    assert json.loads((tmp_path / "two/summary.json").read_text())["metrics"]["val/perplexity"] < 50  # a guess: 300


def test_one_matrix_for_two_vocabularies_is_refused(tmp_path):
    """Also where both have the same number of tokens."""
    config = composed(*write_pairs(tmp_path), "data.joint=false", "task.tie_embeddings=all", "data.vocab_size=262")
    data = build_data(config)
    with pytest.raises(
        UsageError, match=r"task\.tie_embeddings=all needs one vocabulary for both sides: data\.joint=true"
    ):
        build_task(config, data.spec)


def test_without_attention_nothing_is_aligned(tmp_path):
    composed(*write_pairs(tmp_path), "task.attention=none", "trainer.max_steps=3", folder=tmp_path / "run")
    run(tmp_path / "run")
    assert not list((tmp_path / "run/figures").rglob("*alignment*"))
    result = door("predict.py", str(tmp_path / "run"), "--text", "a", "--alignment")
    assert result.returncode == 2
    assert "was trained with task.attention=none" in result.stderr


def test_weights_of_tokens_become_weights_of_words():
    weights = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8], [0.0, 1.0, 0.0]]).numpy()
    # The first two written tokens are one word, and so are the last two that were read.
    found = by_words(weights, [0, 0, 1], [0, 1, 1])
    assert found.tolist() == [pytest.approx([0.3, 0.7]), pytest.approx([0.0, 1.0])]


def test_a_run_of_other_languages_is_not_gone_on_with(learnt, tmp_path):
    result = door(
        "train.py",
        *write_pairs(tmp_path),
        f"init_from={learnt}",
        "data.source_lang=en",
        "trainer.max_steps=1",
        f"hydra.run.dir={tmp_path}/run",
    )
    assert result.returncode == 1
    assert "is en -> target, and the run was trained on source -> target" in result.stderr
