"""A cell of a user's own: found, trained, proved, and loaded again only when its package is named."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SMALL, composed, door

from unroll.errors import UserError
from unroll.trust import check_trusted

EXAMPLE = ROOT / "examples" / "own_cell"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example's files and, in run/, a run of its cell."""
    folder = tmp_path_factory.mktemp("own") / "own"
    shutil.copytree(EXAMPLE, folder)
    arguments = ["--config-dir", "conf", "model=ugrnn", *SMALL, "trainer.max_steps=3", "hydra.run.dir=run"]
    result = door("train.py", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "analytic path over time" in result.stdout
    return folder


@pytest.mark.parametrize("script", ["evaluate.py", "predict.py"])
def test_a_folder_loads_the_cell_only_when_its_package_is_named(trained, script):
    refused = door(script, "run", cwd=trained)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: run/config.yaml: model.cell._target_=my_cells.UGRNN is no part")
    assert refused.stderr.count("\n") == 1
    allowed = door(script, "run", "--trust", "my_cells", cwd=trained)
    assert allowed.returncode == 0, allowed.stderr


def test_resuming_asks_for_the_name_too(trained):
    refused = door("train.py", "resume=run", "trainer.max_steps=5", cwd=trained)
    assert refused.returncode == 1
    assert "trust=my_cells" in refused.stderr
    allowed = door("train.py", "resume=run", "trainer.max_steps=5", "trust=my_cells", cwd=trained)
    assert allowed.returncode == 0, allowed.stderr


def test_the_proofs_take_the_cell_by_one_option():
    chosen = "(every_path_equals or gradcheck or windows) and ugrnn"
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests/test_cells.py"), "--config-dir", "conf", "-k", chosen]
    result = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None
    assert int(passed[1]) > 10


def test_the_tutorial_shows_the_files_of_the_example():
    page = (ROOT / "docs/own_cell.md").read_text()
    code = (EXAMPLE / "my_cells.py").read_text()
    assert code[code.index("from pydantic") :] in page
    assert yaml.safe_load((EXAMPLE / "conf/model/ugrnn.yaml").read_text())["cell"]["_target_"] in page


def test_everything_that_conf_names_is_trusted():
    for overrides in (
        [],
        ["callbacks=early_stopping", "schedule=plateau", "optimizer=sgd", "data=text_files", "data.path=x"],
    ):
        check_trusted(composed(*overrides), [], "config")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "builtins.exec",
        "subprocess.run",
        "torch.load",
        "torch.hub.load",
        "unroll.job.os.system",
        "unroll.job.lightning.pytorch.trainer.trainer.os.system",
        "unroll.runs.discard",
        "unroll.machine.subprocess.run",
        "unroll.data.hub.load_splits",
        "torch.optim.lr_scheduler.torch.load",
        "hydra.utils.instantiate",
        "unroll.nothing.Here",
    ],
)
def test_a_folder_cannot_name_code_of_others(target):
    for node in ({"_target_": target}, {"cell": [{"inner": {"_target_": target}}]}):
        with pytest.raises(UserError, match="is no part that this project"):
            check_trusted({"model": node}, [], "config")
    check_trusted({"model": {"_target_": target}}, [target.split(".")[0]], "config")


def test_a_folder_cannot_put_a_target_together_when_it_is_read():
    hidden = {"model": {"cell": "${oc.create:'{_target_: os.system, command: ls}'}"}}
    with pytest.raises(UserError, match="is an interpolation"):
        check_trusted(hidden, [], "config")


def test_a_hostile_folder_runs_nothing_by_any_door(trained, tmp_path):
    """Nested, in a run without a checkpoint (which would begin again) and in one with."""
    for has_checkpoint in (True, False):
        folder = tmp_path / f"run{has_checkpoint}"
        shutil.copytree(trained / "run", folder)
        if not has_checkpoint:
            shutil.rmtree(folder / "checkpoints")
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["model"]["cell"] = {"_target_": "os.system", "command": f"touch {tmp_path}/harmed"}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        for arguments in (["evaluate.py", str(folder)], ["predict.py", str(folder)], ["train.py", f"resume={folder}"]):
            result = door(*arguments)
            assert result.returncode == 1
            assert "model.cell._target_=os.system is no part" in result.stderr
    assert not (tmp_path / "harmed").exists()
