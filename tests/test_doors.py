"""The doors, as a user meets them: what they say, and how they end."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import SMALL, composed, door, resume

from unroll.composing import groups
from unroll.errors import UsageError, UserError
from unroll.job import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, through the door, that other tests look at."""
    folder = tmp_path_factory.mktemp("run") / "run"
    result = door("train.py", *SMALL, "trainer.max_steps=20", f"hydra.run.dir={folder}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "validation" in result.stdout
    assert f"predict.py {folder}" in result.stdout
    return folder


def test_a_split_that_was_scored_in_part_is_told_and_has_no_report(tmp_path):
    few = ["logger=none", "data.sizes=[200,40,40]", "data.eval_batch_size=8", "trainer.max_steps=2"]
    part = ["task=captioning", *few, "trainer.limit_test_batches=2", f"hydra.run.dir={tmp_path}/part"]
    result = door("train.py", *part)
    assert result.returncode == 0, result.stderr
    assert "test: 2 of 5 batches (trainer.limit_test_batches) scored; no report is made of it" in result.stdout
    assert json.loads((tmp_path / "part/summary.json").read_text())["scored_in_part"] == ["test"]
    assert {path.name.partition("_")[0] for path in (tmp_path / "part/evaluation").iterdir()} == {"validation"}
    result = door("train.py", *part[:-2], "trainer.limit_val_batches=0", "test=false", f"hydra.run.dir={tmp_path}/none")
    assert result.returncode == 0, result.stderr
    assert "validation: nothing (trainer.limit_val_batches=0) scored" in result.stdout


def test_a_run_is_a_folder_that_explains_itself(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "vocabulary.json",
        "metrics.csv",
        "summary.json",
        "train.log",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "figures/learning_curve.png",
        "samples/step_0000020.txt",
        ".hydra/overrides.yaml",
    } <= names
    assert not [name for name in names if "unfinished" in name]
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["steps"] == 20
    assert set(summary["metrics"]) == {
        f"{split}/{name}" for split in ("val", "test") for name in ("loss", "bpc", "perplexity")
    }
    assert summary["throughput"]["unit"] == "characters/s"
    assert summary["best_checkpoint"] == "checkpoints/best.ckpt"


def test_evaluate_gives_the_summarys_figures(finished):
    result = door("evaluate.py", str(finished), "--split", "test")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((finished / "evaluation/test.json").read_text())["metrics"]
    summary = json.loads((finished / "summary.json").read_text())["metrics"]
    assert metrics == {name: pytest.approx(summary[f"test/{name}"], rel=1e-9) for name in metrics}
    assert re.search(rf"bpc\s+│\s+{metrics['bpc']:.4f}", result.stdout)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--split", "tset"], "split tset: there is no such split; valid: train, validation, test, or several with +"),
        (["--split", "test+test"], "split test+test: names a split twice"),
        (["--device", "gpu"], "--device gpu: No supported gpu backend found!"),
        (["task.los_on=last"], "task.los_on: there is no such key; did you mean loss_on? Valid: "),
    ],
)
def test_evaluate_answers_wrong_options(finished, arguments, line):
    result = door("evaluate.py", str(finished), *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1
    assert "recurrent" not in result.stderr  # what the builder gives is no setting


def test_predict_writes_and_says_what_it_does_not_know(finished):
    arguments = ("predict.py", str(finished), "--prompt", "The ☃, ", "--length", "50", "--seed", "1")
    first, second = door(*arguments), door(*arguments)
    assert first.returncode == 0
    assert first.stdout == second.stdout
    assert first.stdout.startswith("The ☃, ")
    assert len(first.stdout) == len("The ☃, ") + 50 + 1
    assert first.stderr == "note: not in the training text, read as the unknown character: '☃' (U+2603)\n"
    several = door(*arguments, "--samples", "3").stdout
    assert several.count("The ☃, ") == 3


def test_the_library_writes_what_the_door_writes(finished):
    import unroll

    text = unroll.load(finished).write("The ", 50, temperature=0.7, seed=3)[0]
    result = door(
        "predict.py", str(finished), "--prompt", "The ", "--length", "50", "--temperature", "0.7", "--seed", "3"
    )
    assert result.stdout == f"The {text}\n"


def test_a_finished_run_says_so_and_more_budget_goes_on(finished):
    result = door("train.py", f"resume={finished}")
    assert result.returncode == 0
    assert "has reached its budget; trainer.max_steps=N with a larger N goes on" in result.stdout
    result = door("train.py", f"resume={finished}", "trainer.max_steps=25")
    assert result.returncode == 0, result.stderr
    assert json.loads((finished / "summary.json").read_text())["steps"] == 25


def test_init_from_starts_from_anothers_weights(finished, tmp_path):
    folder = tmp_path / "run"
    composed(*SMALL, "trainer.max_steps=1", "optimizer.lr=0", f"init_from={finished}", folder=folder)
    run(folder)
    ours, theirs = (json.loads((path / "summary.json").read_text())["metrics"] for path in (folder, finished))
    assert ours["test/loss"] == pytest.approx(theirs["test/loss"], rel=1e-9)


def test_scores_are_worked_out_in_the_precision_of_training(tmp_path, text):
    folder = small_run(tmp_path, "data=text_files", f"data.path={text}", "trainer.precision=bf16-mixed")
    run(folder)
    trained = json.loads((folder / "summary.json").read_text())["metrics"]["test/loss"]
    config = (folder / "config.yaml").read_text()
    found = []
    for precision in ("bf16-mixed", "32-true"):
        (folder / "config.yaml").write_text(config.replace("precision: bf16-mixed", f"precision: {precision}"))
        assert door("evaluate.py", str(folder)).returncode == 0
        found.append(json.loads((folder / "evaluation/test.json").read_text())["metrics"]["loss"])
    assert found[0] == pytest.approx(trained, rel=1e-7)
    assert found[1] != pytest.approx(trained, rel=1e-6)


def test_weights_of_another_model_are_told_by_its_settings(finished, tmp_path):
    composed(*SMALL, "model=gru", "model.hidden_size=9", f"init_from={finished}", folder=tmp_path / "run")
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "run")
    told = str(caught.value)
    assert told.startswith(f"init_from={finished}: its weights do not fit this model: model.")
    assert re.search(r"model\.hidden_size is \d+, and 9 here", told)
    assert "model.cell._target_ is unroll.cells.lstm.LSTM, and unroll.cells.gru.GRU here" in told


def test_another_text_is_read_with_the_vocabulary_of_the_run_that_is_begun_from(finished, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the same letters, and \u0416 \u042f. " * 400)
    own = ["data=text_files", f"data.path={text}", f"data.cache_dir={tmp_path}/cache"]
    for name in ("alone", "run"):  # where the text has been encoded with a vocabulary of its own, and where not
        begun_from = [] if name == "alone" else [f"init_from={finished}"]
        composed(*SMALL, *own, "trainer.max_steps=3", *begun_from, folder=tmp_path / name)
        run(tmp_path / name)
    folders = (tmp_path / "alone", tmp_path / "run", finished)
    alone, ours, theirs = ((folder / "vocabulary.json").read_text() for folder in folders)
    assert ours == theirs != alone
    assert (
        " characters of train are not in the vocabulary: unknown to the model" in (folders[1] / "train.log").read_text()
    )
    resume(tmp_path / "run", "trainer.max_steps=4")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["steps"] == 4
    result = door("evaluate.py", str(tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    assert f"{summary['metrics']['test/loss']:.4f}" in result.stdout
    composed(*SMALL, *own, "data.unit=bytes", f"init_from={finished}", folder=tmp_path / "bytes")
    with pytest.raises(
        UserError, match=r"data\.unit=bytes: the run was trained on characters; take data\.unit=characters"
    ):
        run(tmp_path / "bytes")


def test_a_run_of_another_version_is_told(finished, tmp_path):
    """Its config lacks what this version needs."""
    shutil.copytree(finished, tmp_path / "run")
    config = yaml.safe_load((finished / "config.yaml").read_text())
    del config["task"]["loss_on"]
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    result = door("evaluate.py", str(tmp_path / "run"))
    assert result.returncode == 2
    assert "CharLM: loss_on is not set: has the config been written by another version" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "predict.py", "export.py"])
def test_help_is_quick_and_has_examples(script):
    result = door("-X", "importtime", script, "--help")
    assert result.returncode == 0
    for slow in ("torch", "lightning", "wandb", "datasets"):  # a second and more each
        assert not re.search(rf"\| +{slow}$", result.stderr, re.MULTILINE)
    assert f"python {script} " in result.stdout
    assert len(result.stdout.splitlines()) < 50
    assert max(map(len, result.stdout.splitlines())) <= 120


def test_the_help_names_every_group_and_option():
    said = door("train.py", "--help").stdout
    for group, options in groups().items():
        assert re.search(rf"^  {group} +" + r",\s+".join(options) + "$", said, re.MULTILINE)


def test_the_help_of_predict_names_every_task():
    listed, _, _ = door("predict.py", "--help").stdout.partition("examples:")
    for task in groups()["task"]:
        assert re.search(rf"^  (\w+, )*{task}\b", listed, re.MULTILINE), task


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["model=gruu"],
            f"model=gruu: there is no such option; did you mean gru? Valid: {', '.join(groups()['model'])}",
        ),
        (["modle=gru"], "modle: there is no such key; did you mean model? Valid: callbacks, data, "),
        (
            ["model.hiden_size=3"],
            "model.hiden_size: there is no such key in model; did you mean hidden_size? Valid: backend, ",
        ),
        (
            ["truncation=64"],
            "truncation=64: options are names; truncation=k64, one of full, k8, k16, "
            "k32, k64, k128, k256 or truncation.length=64",
        ),
        (["data=text_files"], "data.path has no value: give it one, as data.path=VALUE"),
        (["trainer.max_steps=abc"], "trainer.max_steps=abc: input should be a valid integer"),
        (["truncation.length=0"], "truncation.length=0: input should be greater than 0"),
        (
            ["trainer.precision=16-mixed", "trainer.accelerator=cpu"],
            "trainer.precision=16-mixed: a CPU does not train in float16; take bf16-mixed or 32-true",
        ),
        (["seed"], "seed: is not of the form KEY=VALUE"),
        (["-m", "model=gru,lsmt"], "model=lsmt: there is no such option; did you mean lstm?"),
        (["logger=null"], "logger=null: options are names; one of csv, none, wandb"),
        (["model=true"], f"model=true: options are names; one of {', '.join(groups()['model'])}"),
        (["~model.hidden_size"], "~model.hidden_size: only a callback can be taken away"),
        (["resume=/tmp", "model=gru"], "/tmp: is not a run's folder (there is no config.yaml in it)"),
    ],
)
def test_wrong_options_get_one_line_and_leave_nothing(arguments, line, tmp_path):
    result = door("train.py", *arguments, f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep")
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1
    assert result.returncode == (1 if "resume" in arguments[0] else 2)
    assert not (tmp_path / "run").exists()


def test_resume_changes_only_what_it_may(finished):
    result = door("train.py", f"resume={finished}", "model.hidden_size=3")
    assert result.returncode == 2
    assert "model.hidden_size belongs to the run and cannot be changed" in result.stderr
    result = door("train.py", f"resume={finished}/checkpoints/last.ckpt")
    assert (
        result.stderr == f"error: {finished}/checkpoints/last.ckpt: is a file of the run {finished}: give that folder\n"
    )


def small_run(tmp_path: Path, *overrides: str) -> Path:
    folder = tmp_path / "run"
    composed(*SMALL, "trainer.max_steps=2", f"data.cache_dir={tmp_path}/cache", *overrides, folder=folder)
    return folder


def bad_file(tmp_path: Path, content: bytes) -> list[str]:
    (tmp_path / "bad.txt").write_bytes(content)
    return ["data=text_files", f"data.path={tmp_path}/bad.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.txt: the file is empty"),
        (b"short", "bad.txt: the train split has 4 characters, and at least 65 are needed"),
        (b"x" * 1000 + b"\xff" + b"y" * 1000, "bad.txt: byte 0xff at offset 1,000 is not utf-8; name its encoding"),
        ("é".encode() * 900_000 + b"\xe9" + b"y" * 1000, "bad.txt: byte 0xe9 at offset 1,800,000 is not utf-8"),
    ],
)
def test_bad_files_get_one_line_and_leave_nothing(tmp_path, content, message):
    folder = small_run(tmp_path, *bad_file(tmp_path, content))
    with pytest.raises(UserError) as error:
        run(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not folder.exists()
    assert not list((tmp_path / "cache").glob("*")) or message.startswith("bad.txt: the train split")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=text_files", "data.path=nowhere.txt"], "nowhere.txt: there is no such file"),
        (["data=text_files", "data.path='nowhere/*.txt'"], "nowhere/*.txt: no file matches it"),
        (["data=text_files", "data.path=."], ".: is a folder; name the files in it"),
        (["data=text_files", "data.path=x", "data.fractions=[0.9,0.2,0.1]"], "three shares above 0 that add up to 1"),
        (["data=text_files", "data.path=x", "data.encoding=utf-9"], "encoding utf-9: Python knows no text encoding"),
        (["data=text_files", "data.path=x", "data.encoding=hex"], "encoding hex: Python knows no text encoding"),
        (["data=text_files", "data.path=x", "data.test_path=y"], "data.validation_path and data.test_path go together"),
        (["data=ptb_char"], "set data.path to a folder that holds it"),
        (["init_from=nowhere"], "nowhere: is not a run's folder"),
        (["trainer.max_steps=-1"], "this run would never end"),
        (
            ["trainer.max_steps=-1", "trainer.max_time=abc"],
            "trainer.max_time=abc: `Timer(duration='abc')` is not",
        ),
        (["trainer.accelerator=gpu"], "trainer.accelerator=gpu: there is no GPU here"),
        (["trainer.accelerator=tpu"], "trainer: "),
        (["trainer.devices=abc"], "trainer: `devices`"),
        (["trainer.max_steps=0"], "this run would end before it begins"),
        (["+trainer.limit_train_batches=5"], "every epoch would read the same first batches again"),
        (["trainer.val_check_interval=99999"], "set trainer.check_val_every_n_epoch=null"),
        (["trainer.val_check_interval=0"], "trainer.val_check_interval=0: input should be greater than 0"),
        (["trainer.log_every_n_steps=0"], "trainer.log_every_n_steps=0: input should be greater than 0"),
        (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches=0: input should be greater than 0"),
        (["callbacks.last=null"], "callbacks.last cannot be left out"),
        (["watch.metric=val/foo"], "watch.metric=val/foo: is not measured; did you mean val/loss? Valid: val/loss"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: Invalid learning rate: -1"),
        (["optimizer=sgd", "optimizer.nesterov=true"], "optimizer: Nesterov momentum requires a momentum"),
        (["trainer.max_steps=-1", "trainer.max_time=00:00:00:02"], "this schedule needs to know where it ends"),
    ],
)
def test_bad_choices_get_one_line_and_leave_nothing(tmp_path, overrides, message):
    folder = small_run(tmp_path, *overrides)
    with pytest.raises(UserError) as error:
        run(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_gets_one_line_and_leaves_nothing(tmp_path):
    result = door("train.py", *SMALL, "data.cache_dir=/dev/null/cache", f"hydra.run.dir={tmp_path}/run")
    assert (result.returncode, result.stderr) == (1, "error: /dev/null/cache: Not a directory\n")
    assert not (tmp_path / "run").exists()


def test_latin_1_a_mark_and_crlf_and_a_line_of_10_mb_are_read(tmp_path):
    run(small_run(tmp_path / "1", *bad_file(tmp_path, b"caf\xe9 " * 1000), "data.encoding=latin-1"))
    run(small_run(tmp_path / "2", *bad_file(tmp_path, b"\xef\xbb\xbfone\r\ntwo\r\n" * 200)))
    run(small_run(tmp_path / "3", *bad_file(tmp_path, b"0123456789" * 1_000_000), "callbacks.samples.length=1"))


def test_a_hub_id_without_network_is_answered_at_once(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"cannot be had from the Hugging Face Hub .* set data\.path to a local folder"):
        run(small_run(tmp_path, "data=tiny_shakespeare"))


def test_a_checkpoint_cut_in_half_is_refused_and_kept(finished, tmp_path):
    whole = (finished / "checkpoints/best.ckpt").read_bytes()
    half = tmp_path / "half.ckpt"
    half.write_bytes(whole[: len(whole) // 2])
    for script in ("predict.py", "evaluate.py"):
        result = door(script, str(finished), "--checkpoint", str(half))
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: {half}: is not a whole checkpoint")
        assert result.stderr.count("\n") == 1


def test_resuming_from_half_a_checkpoint_is_refused_and_nothing_is_lost(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    last = folder / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    before = sorted(folder.rglob("*"))
    result = door("train.py", f"resume={folder}", "trainer.max_steps=99")
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {last}: is not a whole checkpoint")
    assert result.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_a_checkpoint_of_another_model_is_refused(finished, tmp_path):
    import torch

    from unroll.checkpoint import read_checkpoint
    from unroll.runs import load

    other = read_checkpoint(finished / "checkpoints/best.ckpt")
    other["state_dict"]["model.output.weight"] = torch.zeros(3, 3)
    torch.save(other, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"is a checkpoint of another model: size mismatch for model\.output\.weight"):
        load(finished, str(tmp_path / "other.ckpt"))


def test_a_checkpoint_runs_no_code(finished, tmp_path):
    import pickle

    class Harm:
        def __reduce__(self):
            return (Path(tmp_path / "harmed").touch, ())

    (tmp_path / "harm.ckpt").write_bytes(pickle.dumps(Harm()))
    result = door("predict.py", str(finished), "--checkpoint", f"{tmp_path}/harm.ckpt")
    assert result.returncode == 1
    assert not (tmp_path / "harmed").exists()


def test_a_refused_run_leaves_the_one_that_was_there_as_it_is(finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    result = door("train.py", "model=gru", f"hydra.run.dir={finished}")
    assert result.returncode == 2
    assert "holds a run already" in result.stderr
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_what_is_told_can_be_pasted(tmp_path):
    folder = tmp_path / "my first"
    folder.mkdir()
    (folder / "config.yaml").touch()
    result = door("train.py", f"hydra.run.dir={folder}")
    assert f"go on with it by 'resume={folder}', or name another folder" in result.stderr


def test_predict_finds_the_run_behind_its_options(finished):
    result = door("predict.py", "--prompt", "The ", "--length", "5", str(finished))
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) == len("The ") + 5 + 1


def test_a_run_stopped_early_is_finished_until_it_is_given_more(tmp_path):
    early = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=0"]
    folder = small_run(tmp_path, *early, "trainer.val_check_interval=5", "trainer.max_steps=50")
    run(folder)
    assert json.loads((folder / "summary.json").read_text())["steps"] == 10
    assert "ended early, val/bpc was no better in the last validation" in door("train.py", f"resume={folder}").stdout
    result = door("train.py", f"resume={folder}", "trainer.max_steps=60")
    assert result.returncode == 0, result.stderr
    assert json.loads((folder / "summary.json").read_text())["steps"] == 15


def test_a_run_that_is_good_enough_says_so(tmp_path):
    early = ["callbacks=early_stopping", "+callbacks.early_stopping.stopping_threshold=100"]
    folder = small_run(tmp_path, *early, "trainer.val_check_interval=5", "trainer.max_steps=50")
    run(folder)
    assert json.loads((folder / "summary.json").read_text())["ended_early"] == "val/bpc has reached 100"


def test_a_budget_that_ends_where_the_run_is_is_told(tmp_path):
    folder = small_run(tmp_path, "trainer.max_steps=4")
    run(folder)
    result = door("train.py", f"resume={folder}", "trainer.max_epochs=50")
    assert result.returncode == 0, result.stderr
    assert "no step was left to train: trainer.max_steps=4, trainer.max_epochs=50 end this run" in result.stdout
    result = door("train.py", f"resume={folder}", "--config-dir", "conf", "trainer.max_steps=5")
    assert (result.returncode, result.stderr) == (
        2,
        "error: resume= goes on by the run's own config: leave out --config-dir\n",
    )


def test_what_cannot_be_drawn_by_is_refused(finished):
    import unroll

    task = unroll.load(finished)
    for wrong in ({"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"prompt": ""}):
        with pytest.raises(UsageError):
            task.write(**wrong)
    result = door("predict.py", str(finished), "--prompt", "", "--samples", "2")
    assert (result.returncode, result.stdout) == (2, "")
    with pytest.raises(UsageError, match=r"^task\.embedding_size=3: changes what weights there are"):
        unroll.load(finished, settings=["task.embedding_size=3"])


def test_a_run_that_was_begun_is_kept_when_it_cannot_go_on(tmp_path, text):
    """Killed before its first checkpoint, and then its text is gone."""
    folder = small_run(tmp_path, "data=text_files", f"data.path={text}")
    (folder / "train.log").write_text("begun\n")
    text.unlink()
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match="there is no such file"):
        run(folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["evaluate.py", "RUN", "--splt", "test"], "--splt: there is no such option; did you mean --split? Valid: "),
        (["predict.py", "RUN", "--tempreature=1"], "--tempreature: there is no such option; did you mean --temperature?"),
        (["predict.py", "RUN", "--input", "a.csv"], "--input: there is no such option; Valid: --checkpoint, --trust, "),
        (["predict.py", "RUN", "--seed", "x"], "argument --seed: x is not a whole number from 0 to 2^63 - 1 (`"),
        (["predict.py"], "which run? give its folder"),
        (["compare.py", "--out"], "argument --output: expected one argument (`python compare.py --help` tells more)"),
        (["export.py", "RUN", "--format", "onx"], "argument --format: invalid choice: 'onx' (choose from "),
        (["evaluate.py", "RUN", "--helpp"], "--helpp: there is no such option; did you mean --help?"),
        (["evaluate.py", "--split", "test"], "the following arguments are required: RUN ("),
    ],
)  # fmt: skip
def test_a_wrong_option_is_answered_in_one_line(finished, command, told):
    result = door(*(str(finished) if part == "RUN" else part for part in command))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"error: {told}")


def test_a_run_goes_on_with_data_that_was_moved(tmp_path, text):
    folder = small_run(tmp_path, "data=text_files", f"data.path={text}")
    run(folder)
    moved, other = tmp_path / "elsewhere/text.txt", tmp_path / "other.txt"
    moved.parent.mkdir()
    other.write_text(text.read_text()[::-1])
    text.rename(moved)
    config = (folder / "config.yaml").read_text()
    for setting, told, code in (
        ("data.path=nowhere.txt", "there is no such file", 1),
        (f"data.path={other}", "the data has changed since", 1),
        ("data.path=${oc.env:PWD}/text.txt", "one place is asked for", 2),
        ("data.path=a.txt,b.txt", "one place is asked for", 2),
        ("data.path=glob(*)", "one place is asked for", 2),
        ("data.unit=bytes", "lies now (data.path, data.validation_path, data.test_path, data.cache_dir)", 2),
        ("~data.path", "only a callback can be taken away", 2),
    ):
        result = door("train.py", f"resume={folder}", setting, "trainer.max_steps=9")
        assert (result.returncode, result.stderr.count("\n")) == (code, 1)
        assert told in result.stderr
        assert (folder / "config.yaml").read_text() == config
    result = door("evaluate.py", str(folder))
    assert result.returncode == 1
    assert f"{text}: there is no such file" in result.stderr
    assert "set --data-path to a file" in result.stderr
    result = door("train.py", f"resume={folder}", f"data.path={moved}", "trainer.max_steps=9")
    assert result.returncode == 0, result.stderr
    assert door("evaluate.py", str(folder)).stderr == ""


def test_a_changed_text_is_noticed(tmp_path, text):
    folder = small_run(tmp_path, "data=text_files", f"data.path={text}")
    run(folder)
    text.write_text(text.read_text()[::-1])  # the same characters: the same vocabulary
    result = door("train.py", f"resume={folder}", "trainer.max_steps=9")
    assert result.returncode == 1
    assert "the data has changed since" in result.stderr
    result = door("evaluate.py", str(folder))
    assert result.returncode == 0
    assert result.stderr.startswith(f"note: {text}: not the very data that")
    own = (folder / "evaluation/test.json").read_bytes()
    other = text.with_name("other.txt")
    other.write_text(text.read_text().swapcase())
    result = door("evaluate.py", str(folder), "--data-path", str(other))
    assert (folder / "evaluation/test.json").read_bytes() == own
    (place,) = folder.glob("evaluation/of_*_other_txt")
    found = json.loads((place / "evaluation/test.json").read_text())
    assert found["data"] == str(other)
    assert found["metrics"] != json.loads(own)["metrics"]
    result = door("evaluate.py", str(folder), "--insight", "gradient_flow", "--data-path", str(other))
    assert result.returncode == 0, result.stderr
    assert (place / "evaluation/test_gradient_flow.csv").exists()
    assert not (folder / "evaluation/test_gradient_flow.csv").exists()
    (folder / "summary.json").unlink()
    (folder / "checkpoints/best.ckpt").unlink()
    result = door("predict.py", str(folder), "--length", "5")
    assert result.stderr.startswith(f"note: {folder} has no best checkpoint yet: its last one is taken\n")


def test_other_data_is_not_taken_for_part_of_the_runs(tmp_path, text):
    splits = [f"data.{split}_path={text}" for split in ("validation", "test")]
    folder = small_run(tmp_path, "data=text_files", f"data.path={text}", *splits)
    run(folder)
    result = door("evaluate.py", str(folder), "--data-path", str(text))
    assert result.returncode == 1
    assert f"is in data.validation_path={text} too, which would stay as it was" in result.stderr
    places = [f"data.{key}={text.with_name('moved.txt')}" for key in ("path", "validation_path", "test_path")]
    text.rename(text.with_name("moved.txt"))
    result = door("evaluate.py", str(folder))
    command = f"python train.py resume={folder} data.path=PLACE data.validation_path=PLACE data.test_path=PLACE"
    assert result.stderr.endswith(f"; where the data has been moved: {command}\n")
    assert door("train.py", f"resume={folder}", *places).returncode == 0
    assert door("evaluate.py", str(folder)).returncode == 0


def test_insights_have_no_choice_of_device(finished):
    result = door("evaluate.py", str(finished), "--insight", "units", "--device", "gpu")
    assert result.returncode == 2
    assert "--device gpu: --insight units is worked out on the CPU" in result.stderr


def test_a_refused_run_takes_nothing_away_that_was_there(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/precious.txt").write_text("mine")
    for argument in ("data=text_files", "truncation=full"):
        result = door("train.py", argument, f"hydra.run.dir={tmp_path}/run")
        assert result.returncode == 2
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious.txt"]
