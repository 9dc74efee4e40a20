"""What tests share: the project's folders, found by looking, and small runs."""

import copy
import functools
import os
import sys
from pathlib import Path

import pytest
import torch
from doors import ROOT
from doors import door as door
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from unroll.composing import CONF, groups, prepare_resume, write_config
from unroll.job import run

SHARED = Path(os.environ.get("UNROLL_TEST_DATA", ROOT.parent / "shared" / "data"))
MODELS = groups()["model"]
SEARCHED: list[str] = []
"""A folder of a user's own configs: `pytest tests/test_cells.py --config-dir FOLDER` puts its cells to every proof."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--config-dir", help="a folder whose model/*.yaml name cells of your own, to be tested as ours are"
    )
    parser.addoption("--long", action="store_true", help="the long forms of tests that have one")


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--config-dir")
    if given:
        found = sorted(path.stem for path in Path(given).glob("model/*.yaml") if not path.stem.startswith("_"))
        if not found:
            raise pytest.UsageError(f"--config-dir {given}: there is no model/*.yaml in it")
        MODELS.extend(found)
        SEARCHED.append(f"hydra.searchpath=[file://{Path(given).absolute()}]")
        sys.path.insert(0, str(Path.cwd()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: each is run by one process, and would else begin when the others are at their end."""
    items.sort(key=lambda item: item.path.name != "test_tasks.py")


# Small products do not gain from threads, and processes beside each other lose by them.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# The smallest run that does everything; every test that trains starts from it.
SMALL = [
    "logger=none",
    "model.hidden_size=16",
    "task.embedding_size=8",
    "data.batch_size=4",
    "truncation=k16",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=5",
    "callbacks.samples.length=20",
]


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file of 20,000 characters that is no noise: a walk through a small grammar."""
    words = ["the", "cat", "dog", "saw", "heard", "a", "small", "old", "tree.", "house,", "and", "ran\n"]
    generator = torch.Generator().manual_seed(3)
    chosen = torch.randint(len(words), (5000,), generator=generator).tolist()
    path = tmp_path / "text.txt"
    path.write_text(" ".join(words[index] for index in chosen)[:20_000])
    return path


@functools.lru_cache(maxsize=1000)
def _composed(overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
    """A command line's config and the options chosen; most are asked for by many tests."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*overrides, *SEARCHED], return_hydra_config=True)
    choices = dict(config.hydra.runtime.choices)
    OmegaConf.set_struct(config, False)
    config.pop("hydra")
    return config, choices


def composed(*overrides: str, folder: Path | None = None) -> dict:
    """The resolved config of a command line; with a folder, written there as a run's."""
    config, choices = _composed(overrides)
    if folder is not None:
        folder.mkdir(parents=True)
        write_config(copy.deepcopy(config), folder, choices)
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    chosen = {group.split("@")[0]: option for group, option in choices.items() if "/" not in group}
    return {**resolved, "test": True, "choices": {**chosen, "sweep": None}}


def resume(folder: Path, *overrides: str) -> None:
    """`train.py resume=FOLDER ...` without a process of its own."""
    assert prepare_resume([f"resume={folder}", *overrides]) == folder
    run(folder)
