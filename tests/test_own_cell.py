"""A cell of a user's own: found, trained, proved, and loaded again only when its package is named."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import ROOT, SMALL, composed, door
from stacks import assert_same
from torch import nn

from unroll.building import build_data, build_task
from unroll.cells.base import Cell
from unroll.composing import groups
from unroll.errors import UserError
from unroll.insight.gradient_flow import _norms
from unroll.recurrent import Recurrent
from unroll.trust import check_trusted, packages_of_others

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
    assert "use it     python predict.py run --trust my_cells\n" in result.stdout
    return folder


class Reservoir(Cell):
    """An echo state network (Jaeger 2001): nothing of it is trained."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.register_buffer("W", torch.randn(hidden_size, input_size, dtype=torch.float64))
        self.register_buffer("U", 0.3 * torch.randn(hidden_size, hidden_size, dtype=torch.float64))

    def project(self, x):
        return F.linear(x, self.W)

    def step(self, px_t, state, *masks):
        return torch.tanh(px_t + F.linear(state, self.U))


class Clockwork(Cell):
    """Units that act every other step (after Koutnik et al. 2014): the state has a counter, and a size without features."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W, self.U = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def initial_state(self, batch_size, like):
        counter = torch.zeros(batch_size, 1, dtype=torch.int64, device=like.device)
        return like.new_zeros(batch_size, self.hidden_size), counter, like.new_ones(batch_size)

    def output(self, state):
        return state[0]

    def project(self, x):
        return self.W(x)

    def step(self, px_t, state, *masks):
        h, t, size = state
        new = torch.tanh(px_t + self.U(h) / size[:, None])
        acts = t % (1 + torch.arange(h.shape[1]) % 2) == 0
        return torch.where(acts, new, h), t + 1, 1 + new.square().mean(-1)


def test_a_cell_without_weights_has_a_type_all_the_same():
    recurrent = Recurrent(3, 4, Reservoir, num_layers=2)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    y, state = recurrent(x)
    first, state = recurrent(x[:2])
    assert first.dtype == torch.float64
    assert_same([torch.cat([first, recurrent(x[2:], state)[0]])], [y])


@pytest.mark.parametrize("lengths", [None, torch.tensor([9, 4, 0])])
def test_a_state_may_count(lengths):
    """Recomputed as kept; the counter stays a whole number."""
    found = []
    for recompute in (None, 2):
        torch.manual_seed(1)
        recurrent = Recurrent(3, 4, Clockwork, num_layers=2, recompute=recompute).double()
        x = torch.randn(9, 3, 3, dtype=torch.float64, requires_grad=True)
        y, state = recurrent(x, None, lengths)
        counter = state[0][1]
        assert counter.dtype == torch.int64
        assert counter.flatten().tolist() == ([9, 9, 9] if lengths is None else lengths.tolist())
        total = y.square().sum() + state[1][0].sum() + state[0][2].sum()
        found.append([y, *torch.autograd.grad(total, [x, *recurrent.parameters()])])
    assert_same(*found)


def test_how_far_gradients_reach_is_measured_in_parts_of_any_shape():
    states = [[torch.randn(2, 3, requires_grad=True), torch.randn(2, requires_grad=True)] for _ in range(2)]
    total = sum((3 * part).sum() for state in states for part in state)
    assert_same([_norms(total, states)], [torch.full((2, 2), 3 * 4**0.5)])


def test_a_stop_iteration_within_a_loss_does_not_pass_for_the_end_of_an_epoch():
    config = composed("task=recall", "data.sizes=[20,20,20]")
    data = build_data(config)
    data.prepare_data()
    task = build_task(config, data.spec)
    task.loss = lambda batch, state: next(iter(()))
    with pytest.raises(RuntimeError, match="StopIteration"):
        task.training_step(next(iter(data.train_dataloader())), 0)


def test_packages_that_a_run_needs_are_named():
    config = {"model": {"cell": {"_target_": "my_cells.UGRNN"}}, "task": {"_target_": "unroll.tasks.char_lm.CharLM"}}
    assert packages_of_others(config) == ["my_cells"]
    assert packages_of_others(composed("task=translation")) == []


@pytest.mark.parametrize("script", ["evaluate.py", "predict.py"])
def test_a_folder_loads_the_cell_only_when_its_package_is_named(trained, script):
    refused = door(script, "run", cwd=trained)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: run/config.yaml: model.cell._target_=my_cells.UGRNN is no part")
    assert refused.stderr.count("\n") == 1
    allowed = door(script, "run", "--trust", "my_cells", cwd=trained)
    assert allowed.returncode == 0, allowed.stderr


def test_a_typo_is_answered_with_ones_own_cells_too():
    result = door("train.py", "--config-dir", "conf", "model=ugrn", cwd=EXAMPLE)
    assert result.returncode == 2
    assert result.stderr.startswith(
        f"error: model=ugrn: there is no such option; did you mean ugrnn? Valid: {groups()['model'][0]}, "
    )
    assert result.stderr.endswith(", ugrnn\n")


def test_resuming_asks_for_the_name_too(trained):
    refused = door("train.py", "resume=run", "trainer.max_steps=5", cwd=trained)
    assert refused.returncode == 1
    assert "trust=my_cells" in refused.stderr
    allowed = door("train.py", "resume=run", "trainer.max_steps=5", "trust=my_cells", cwd=trained)
    assert allowed.returncode == 0, allowed.stderr


def test_the_proofs_take_the_cell_by_one_option():
    chosen = "(every_path_equals or gradcheck or windows) and ugrnn"
    options = ["-p", "no:xdist", "-o", "addopts=", "--config-dir", "conf", "-k", chosen]
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests/test_cells.py"), *options]
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
        ["callbacks.samples.prompt='// ../a'"],  # a text, and no path
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


def test_resuming_looks_nothing_up_before_it_is_known_to_be_ours(trained, tmp_path):
    """A changed budget is checked against the trainer's signature: that of a folder's own `_target_` it must not import."""
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "payload.py").write_text("open('taken', 'w')\nclass X: pass\n")
    config = yaml.safe_load((trained / "run/config.yaml").read_text())
    config["trainer"]["_target_"] = "payload.X"
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    refused = door(
        "train.py", "resume=run", "trainer.max_steps=9", "trust=my_cells", cwd=tmp_path, PYTHONPATH=str(tmp_path)
    )
    assert refused.returncode == 1
    assert "trainer._target_=payload.X is no part" in refused.stderr
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"logger": "../../../evil"}, "choices.logger=../../../evil is no option of the group"),
        (None, "is not the config of a run"),
    ],
)
def test_a_folders_choices_are_no_paths(trained, tmp_path, choices, said):
    config = yaml.safe_load((trained / "run/config.yaml").read_text())
    config["choices"] = choices and {**config["choices"], **choices}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    refused = door("train.py", f"resume={tmp_path}", "logger.mode=online", "trust=my_cells")
    assert refused.returncode == 1
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_parameter_that_update_reads_by_itself_is_told(tmp_path):
    from torch import nn

    from unroll.cells.unitwise import UnitwiseCell

    class Forgetful(UnitwiseCell):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size, gates=("tanh",))
            self.g = nn.Parameter(torch.ones(hidden_size))

        def update(self, gates, state, *parameters):
            return self.g * state + gates[0]

    y, _ = Forgetful(3, 4)(torch.randn(5, 2, 3), torch.zeros(2, 4))
    with pytest.raises(UserError, match=r"Forgetful.update reads self.g, .* return it from update_parameters\(\)"):
        y.sum().backward()


def test_a_name_without_an_owner_is_no_name_of_the_hub():
    """`pandas`, `sql`, ... are the library's own readers of whatever lies about."""
    from unroll.building import build_data

    with pytest.raises(UserError, match=r"data\.hub_id=pandas: is no name of the Hub"):
        build_data(composed("data=wikitext2", "data.hub_id=pandas")).prepare_data()


def test_a_new_run_may_start_from_a_run_with_trusted_code(trained):
    result = door(
        "train.py", "--config-dir", "conf", "model=ugrnn", *SMALL, "trainer.max_steps=3", "init_from=run", "trust=my_cells",
        "hydra.run.dir=next", cwd=trained,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
