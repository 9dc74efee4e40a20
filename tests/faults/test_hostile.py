"""A run's folder that someone else has made: whatever it says, it runs nothing, takes no memory, and leads nowhere else.

`pytest tests/faults/test_hostile.py --long -s` prints how many were tried.
"""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import SMALL, composed

import unroll
from unroll.checkpoint import read_checkpoint
from unroll.comparison.review import review
from unroll.composing import prepare_resume
from unroll.errors import UserError
from unroll.evaluation import evaluate, show_units
from unroll.job import run

CODE = [
    "os.system",
    "os.popen",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "subprocess.run",
    "subprocess.Popen",
    "shutil.rmtree",
    "pathlib.Path.unlink",
    "importlib.import_module",
    "runpy.run_path",
    "pickle.loads",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.utils.cpp_extension.load_inline",
    "hydra.utils.instantiate",
    "hydra.utils.get_method",
    "unroll.runs.discard",
    "unroll.job.os.system",
    "unroll.machine.subprocess.run",
    "lightning.pytorch.utilities.rank_zero.rank_zero_only",
    "lightning.fabric.utilities.cloud_io.get_filesystem",
    "torch.optim.optimizer.os.system",
]
PLACES = [
    "model.cell",
    "model",
    "task",
    "data",
    "optimizer",
    "schedule",
    "trainer",
    "callbacks.more",
    "truncation",
    "logger",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "text.txt").write_text("the old dog sleeps in the sun\n" * 60)
    texts = ["data=text_files", f"data.path={folder}/text.txt", f"data.cache_dir={folder}/cache"]
    composed(*SMALL, *texts, "trainer.max_steps=4", folder=folder / "run")
    run(folder / "run")
    return folder / "run"


@pytest.fixture
def sent(trained, tmp_path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def doors(folder: Path) -> dict[str, Callable[[], Any]]:
    def resume() -> None:
        prepare_resume([f"resume={folder}", "trainer.max_steps=6"])
        run(folder, [])

    return {
        "predict": lambda: unroll.load(folder),
        "evaluate": lambda: evaluate(folder, "test", "best", None, "cpu", [], []),
        "units": lambda: show_units(folder, "test", "best", None, [], [], 50),
        "resume": resume,
    }


def refused(folder: Path, outside: dict[Path, str | None], why: str, names: tuple[str, ...] = ()) -> int:
    """Every door refuses a folder in one line, for this reason and no other, and nothing outside has changed. Returns how
    many doors were tried."""
    tried = 0
    for name, door in doors(folder).items():
        if names and name not in names:
            continue
        with pytest.raises(UserError, match=why) as error:
            door()
        assert "\n" not in str(error.value), name
        tried += 1
    for path, content in outside.items():
        assert (path.read_text() if path.exists() else None) == content
    return tried


def change(folder: Path, place: str, value: Any) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    node = config
    *path, last = place.split(".")
    for key in path:
        node = node[key]
    node[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("place", PLACES)
def test_code_that_a_config_names_is_not_run(trained, tmp_path, place, request):
    tried, harmed = 0, tmp_path / "harmed"
    for number, target in enumerate(CODE):
        folder = tmp_path / f"run{number}"
        shutil.copytree(trained, folder)
        arguments = {"command": f"touch {harmed}", "path": str(tmp_path), "args": ["touch", str(harmed)]}
        change(folder, place, {"_target_": target, **arguments})
        names = () if request.config.getoption("--long") else ("predict", "resume")
        tried += refused(folder, {harmed: None}, f"_target_={target} is no part that", names)
    if request.config.getoption("--long"):
        print(f"\n{place}: tried {tried}, executed 0")


CALLBACKS = "lightning.pytorch.callbacks"


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (
            "callbacks.more",
            {"_target_": f"{CALLBACKS}.LambdaCallback", "on_fit_start": {"_target_": "os.system"}},
            "on_fit_start._target_=os.system is no part that",
        ),
        ("task.embedding_size", "${oc.env:HOME}", "is an interpolation"),
        ("task.embedding_size", "${oc.create:'{_target_: os.system}'}", "is an interpolation"),
        ("callbacks.more", {"_target_": f"{CALLBACKS}.ModelCheckpoint", "dirpath": "/tmp/elsewhere"}, "is a path out"),
        ("callbacks.more", {"_target_": f"{CALLBACKS}.ModelCheckpoint", "dirpath": "../elsewhere"}, "is a path out"),
        ("trainer.default_root_dir", "~/elsewhere", "is a path out"),
        ("choices.logger", "../../evil", "is no option of the group"),
    ],
)
def test_what_a_config_hides_is_found(sent, tmp_path, place, value, why):
    change(sent, place, value)
    refused(sent, {tmp_path / "elsewhere": None}, why, ("resume",) if place.startswith("choices") else ())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.hidden_size", 10**7),
        ("model.num_layers", 10**9),
        ("task.embedding_size", 10**8),
        ("model.hidden_size", 2**40),
    ],
)
def test_memory_is_not_taken_for_what_the_checkpoint_has_not(sent, place, value):
    change(sent, place, value)
    refused(sent, {}, "is a checkpoint of another model")


LINKS = ["config.yaml", "train.log", "metrics.csv", "evaluation", "figures", "checkpoints", "vocabulary.json"]


@pytest.mark.parametrize("link", [*LINKS, "checkpoints/last.ckpt"])
def test_no_link_is_followed_out(sent, tmp_path, link):
    place, outside = sent / link, tmp_path / "outside"
    if place.is_dir():
        place.rename(outside)
    else:
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            place.rename(outside)
        else:
            outside.mkdir()
    place.symlink_to(outside)
    before = sorted(outside.iterdir()) if outside.is_dir() else outside.read_bytes()
    refused(sent, {}, "is a link out of the run's folder")
    assert (sorted(outside.iterdir()) if outside.is_dir() else outside.read_bytes()) == before
    with pytest.raises(UserError, match="is a link out of the run's folder"):
        review([sent])


class Harm:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_is_not_unpickled(sent, tmp_path):
    whole = read_checkpoint(sent / "checkpoints/best.ckpt")
    for name in ("best", "last"):
        torch.save({**whole, "callbacks": Harm(tmp_path / "harmed")}, sent / f"checkpoints/{name}.ckpt")
    refused(sent, {tmp_path / "harmed": None}, "is not a whole checkpoint")
    for name in ("best", "last"):
        (sent / f"checkpoints/{name}.ckpt").write_bytes(pickle.dumps(Harm(tmp_path / "harmed")))
    refused(sent, {tmp_path / "harmed": None}, "is not a whole checkpoint")


@pytest.mark.parametrize("content", [[1, 2], 5, {}, {"state_dict": 5}, {"state_dict": {"a": 1}}, {"state_dict": {}}])
def test_what_is_no_checkpoint_is_told(sent, content):
    for name in ("best", "last"):
        torch.save(content, sent / f"checkpoints/{name}.ckpt")
    refused(
        sent, {}, "is no checkpoint of a run" if content != {"state_dict": {}} else "is a checkpoint of another model"
    )
