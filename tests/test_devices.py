"""Two processes are one process with its batch shared out."""

import json
from pathlib import Path

import pytest
import torch
from conftest import SMALL, composed, door, resume

from unroll.checkpoint import read_checkpoint
from unroll.job import run

RUN = [
    *SMALL,
    "optimizer=sgd",
    "schedule=constant",
    "task.output_dropout=0",
    "data=text_files",
    "truncation.horizon=20",
    "truncation.reset_probability=0.2",
    "trainer.max_steps=20",
    "callbacks.last.every_n_steps=5",
]


def test_two_processes_equal_one(tmp_path: Path, text: Path):
    common = [*RUN, f"data.path={text}", f"data.cache_dir={tmp_path}/cache"]
    found = {}
    for processes, trainer in ((1, []), (2, ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"])):
        folder = tmp_path / str(processes)
        if processes == 1:
            composed(*common, folder=folder)
            run(folder)
        else:
            result = door("train.py", *common, *trainer, f"hydra.run.dir={folder}")
            assert result.returncode == 0, result.stderr
        summary = json.loads((folder / "summary.json").read_text())
        found[processes] = (read_checkpoint(folder / "checkpoints/last.ckpt"), summary["metrics"])
    (one, scores), (two, scores_of_two) = found[1], found[2]
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], weight, rtol=0, atol=1e-6)
    assert scores_of_two == {name: pytest.approx(value, rel=1e-5) for name, value in scores.items()}
    # Nor does it matter who starts them.
    started = ["-m", "torch.distributed.run", "--nproc-per-node=2", "train.py"]
    result = door(*started, *common, *trainer, f"hydra.run.dir={tmp_path}/torchrun", OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    of_torchrun = read_checkpoint(tmp_path / "torchrun/checkpoints/last.ckpt")["state_dict"]
    for name, weight in two["state_dict"].items():
        assert torch.equal(of_torchrun[name], weight), name
    # Two processes evaluate as one does: nothing twice, nothing left out.
    assert door("evaluate.py", str(tmp_path / "2")).returncode == 0
    alone = json.loads((tmp_path / "2/evaluation/test.json").read_text())["metrics"]
    assert alone == {name: pytest.approx(scores_of_two[f"test/{name}"], rel=1e-6) for name in alone}
    # The checkpoint holds every lane's state and every process's generator.
    ours, theirs = one["train_state"], two["train_state"]
    for layer, reference in zip(theirs, ours, strict=True):
        for part, expected in zip(layer, reference, strict=True):
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)
    assert len(two["random_state"][0]) == 2

    # What two processes began, one goes on with, at the same place and from the same states; what torchrun began, torchrun.
    result = door(
        "train.py",
        f"resume={tmp_path}/2",
        "trainer.max_steps=25",
        "trainer.devices=1",
        "trainer.strategy=auto",
    )
    assert result.returncode == 0, result.stderr
    result = door(*started, f"resume={tmp_path}/torchrun", "trainer.max_steps=25", OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    resume(tmp_path / "1", "trainer.max_steps=25")
    one, *others = (read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in ("1", "2", "torchrun"))
    for other in others:
        assert other["global_step"] == 25
        for name, weight in one["state_dict"].items():
            torch.testing.assert_close(other["state_dict"][name], weight, rtol=0, atol=1e-5)
