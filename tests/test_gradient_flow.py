"""How far gradients reach, against what is known of it."""

import csv
import json

import pytest
import torch
from conftest import MODELS, SMALL, composed, resume
from stacks import stack
from torch import Tensor, nn

from unroll.building import build_data, build_task
from unroll.cells.base import Cell
from unroll.cells.leaky import Leaky
from unroll.cells.skip import Skip
from unroll.checkpoint import read_checkpoint
from unroll.composing import groups
from unroll.insight.gradient_flow import gradient_flow, rate
from unroll.insight.trajectory import traced
from unroll.job import run
from unroll.recurrent import Recurrent
from unroll.state import flatten, map_state


class Linear(Cell):
    """h_t = x_t + U h_{t-1}."""

    def __init__(self, input_size: int, hidden_size: int, eigenvalues: list[float]) -> None:
        super().__init__(input_size, hidden_size)
        Q, _ = torch.linalg.qr(torch.randn(hidden_size, hidden_size, dtype=torch.float64))
        self.U = nn.Parameter(Q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ Q.T)

    def project(self, x: Tensor) -> Tensor:
        return x

    def step(self, px_t: Tensor, state: Tensor, *masks: Tensor) -> Tensor:
        return px_t + state @ self.U.T


def measured(recurrent: Recurrent, steps: int = 60, batch: int = 5, scale: float = 1.0):
    """The flow of a loss that reads the last output."""
    module = nn.Sequential(recurrent).double()
    x = scale * torch.randn(steps, batch, recurrent.input_size, dtype=torch.float64)
    weights = weights_of(recurrent)
    return gradient_flow(module, lambda: recurrent(x)[0][-1] @ weights, torch.Generator().manual_seed(0))


def weights_of(recurrent: Recurrent) -> Tensor:
    """What the loss weighs the last output by."""
    return torch.randn(recurrent.output_size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("hidden_size", [4, 24])  # the growth of the larger one is found by random vectors
@pytest.mark.parametrize("radius", [0.5, 0.9, 1.0, 1.1])
def test_a_linear_recurrence_has_the_rate_of_its_largest_eigenvalue(radius, hidden_size):
    eigenvalues = [radius, *(0.6 * radius * torch.rand(hidden_size - 1)).tolist()]
    recurrent = Recurrent(hidden_size, hidden_size, lambda i, h: Linear(i, h, eigenvalues))
    (flow,) = measured(recurrent).values()
    U = recurrent.layers[0].U.detach()
    powers = [torch.linalg.matrix_power(U, lag) for lag in range(60)]
    assert flow.radius == pytest.approx(radius, rel=1e-6 if hidden_size <= 16 else 0.01)
    assert flow.rate == pytest.approx(radius, rel=0.01)
    assert rate(flow.growth) == pytest.approx(radius, rel=0.01)
    assert flow.explodes == (radius == 1.1)
    expected = torch.stack([(power.T @ weights_of(recurrent)).norm() for power in powers])
    torch.testing.assert_close(flow.median, expected, rtol=1e-9, atol=1e-15)
    assert flow.horizon == torch.nonzero(expected >= 0.01 * expected.max()).max()
    assert flow.faded == (radius < 1)
    if hidden_size <= 16:
        norms = torch.stack([power.norm() for power in powers])
        torch.testing.assert_close(flow.growth, norms, rtol=1e-9, atol=1e-15)


def test_leaky_units_without_recurrent_weights_decay_by_alpha_a_step():
    recurrent = Recurrent(3, 6, lambda i, h: Leaky(i, h, alpha=0.75))
    with torch.no_grad():
        recurrent.layers[0].U.zero_()
    (flow,) = measured(recurrent).values()
    expected = flow.median[0] * 0.75 ** torch.arange(60, dtype=torch.float64)
    torch.testing.assert_close(flow.median, expected, rtol=2e-6, atol=0)  # alpha was spread in single precision
    assert flow.horizon == 16  # 0.75 ** 16 is 0.01002


def test_with_a_skip_alone_the_gradient_decays_with_the_number_of_skips():
    distance, strength = 5, 0.5
    recurrent = Recurrent(3, 4, lambda i, h: Skip(i, h, distance=distance, recent=False))
    with torch.no_grad():
        recurrent.layers[0].U.copy_(strength * torch.eye(4))
    (flow,) = measured(recurrent, scale=0.0).values()  # at 0, where the derivative of tanh is 1
    skips = -(
        -torch.arange(60) // distance
    )  # whole ones from a state, which holds the last `distance` units, to the end
    torch.testing.assert_close(flow.median, flow.median[0] * strength ** skips.double(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("model", MODELS)
def test_the_gradient_is_that_of_the_sequence_begun_again_from_a_state(model):
    """Finite differences in double precision, through every part of the state of every cell."""
    recurrent = stack(model).eval()
    x = torch.randn(7, 3, 5, dtype=torch.float64)
    weights = torch.randn(recurrent.output_size, dtype=torch.float64)
    with traced(nn.Sequential(recurrent)) as found:
        loss = (recurrent(x)[0][-1] @ weights).sum()
    ((_, trajectory),) = found.items()
    assert recurrent.backend == "auto"
    state = trajectory.states[3]
    gradients = torch.autograd.grad(loss, flatten(state), allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        direction = map_state(torch.randn_like, state)

        def ahead(step: float) -> Tensor:
            begun = map_state(lambda one, way: one + step * way, state, direction)
            return (recurrent(x[4:], (begun,))[0][-1] @ weights).sum()

        slope = (ahead(1e-6) - ahead(-1e-6)) / 2e-6
    along = sum((gradient * way).sum() for gradient, way in zip(gradients, flatten(direction), strict=True))
    torch.testing.assert_close(along, slope, rtol=1e-6, atol=1e-8)


TASKS = groups()["task"]


def task_and_batch(task: str, *overrides: str):
    sized = "sizes" in composed(f"task={task}")["data"]
    sizes = ["data.sizes=[400,40,40]"] if sized and task != "forecasting" else []
    config = composed(f"task={task}", "model.hidden_size=8", *sizes, *overrides)
    data = build_data(config)
    data.prepare_data()
    return build_task(config, data.spec), next(iter(data.eval_dataloader("validation")))


@pytest.mark.parametrize("model", ["lstm", "gru"])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_shows_every_one_of_its_cells_and_is_left_as_it_was(task, model):
    task, batch = task_and_batch(task, f"model={model}", "model.num_layers=2")
    task.train()
    before = {name: weight.clone() for name, weight in task.state_dict().items()}
    losses = task.last_losses(batch)
    found = gradient_flow(task, lambda: task.last_losses(batch), torch.Generator())
    stacks = [module for module in task.modules() if isinstance(module, Recurrent)]
    assert len(found) == sum(len(stack.layers) + len(stack.reverse_layers) for stack in stacks)
    for flow in found.values():
        assert flow.median.isfinite().all()
        assert flow.median.max() > 0
        assert 0 <= flow.gates <= 1
        assert flow.radius > 0
    assert task.training
    assert all(parameter.grad is None for parameter in task.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in task.state_dict().items())
    assert all(stack.backend == "auto" for stack in stacks)
    assert losses.ndim == 1


@pytest.mark.parametrize(
    "task", [task for task in TASKS if task != "summarization"]
)  # whose attention reaches every step
def test_nothing_goes_back_further_than_the_horizon(task):
    # Without what reaches every step by itself: a mean over all of them, attention, and a second direction.
    plain = {
        "sentiment": ["task.pooling=last"],
        "tagging": ["task.character_hidden_size=null", "model.bidirectional=false"],
        "translation": ["task.attention=none", "model.bidirectional=false"],
    }
    task, batch = task_and_batch(task, "truncation=k8", *plain.get(task, []))
    generator = torch.Generator().manual_seed(0)
    cut = gradient_flow(task, lambda: task.last_losses(batch), generator, truncated=True)
    free = gradient_flow(task, lambda: task.last_losses(batch), generator)
    assert cut.keys() == free.keys()
    seen = 0
    for name, flow in cut.items():
        if len(free[name].median) > 8:
            assert flow.median[:8].count_nonzero() > 0
            assert not flow.high[8:].any(), name
            assert free[name].median[8] > 0
            seen += 1
    assert seen


@pytest.mark.parametrize("model", ["gru", "min_gru"])
def test_segments_of_a_future_are_no_steps_after_each_other(model):
    lengths = [
        "data.context_length=96",
        "data.prediction_length=96",
        "task.segment_length=12",
        "data.eval_batch_size=8",
    ]
    task, batch = task_and_batch("forecasting", f"model={model}", "task.form=segments", *lengths)
    (flow,) = gradient_flow(task, lambda: task.last_losses(batch), torch.Generator()).values()
    assert len(flow.median) == 96 // 12


def test_what_is_called_twice_is_two_sequences():
    recurrent = Recurrent(4, 4, lambda i, h: Linear(i, h, [0.9, 0.5, 0.4, 0.3])).double()
    with traced(nn.Sequential(recurrent)) as found:
        for steps in (7, 5):
            recurrent(torch.randn(steps, 3, 4, dtype=torch.float64))
    (trajectory,) = found.values()
    assert len(trajectory.states) == 7


def test_a_run_that_is_watched_is_the_run_that_is_not(tmp_path):
    small = [*SMALL, "schedule=constant"]
    watched = ["callbacks=gradient_flow", "callbacks.gradient_flow.every_n_steps=4"]
    composed(*small, "trainer.max_steps=12", folder=tmp_path / "free")
    composed(*small, *watched, "trainer.max_steps=12", folder=tmp_path / "whole")
    composed(*small, *watched, "trainer.max_steps=9", folder=tmp_path / "resumed")
    for name in ("free", "whole", "resumed"):
        run(tmp_path / name)
    resume(tmp_path / "resumed", "trainer.max_steps=12")
    free, whole, resumed = (
        read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in ("free", "whole", "resumed")
    )
    for name, weight in free["state_dict"].items():
        assert torch.equal(whole["state_dict"][name], weight), name
    history = [checkpoint["callbacks"]["GradientFlow"]["history"] for checkpoint in (whole, resumed)]
    assert [step for step, _ in history[0]] == [0, 4, 8, 12]
    assert history[0] == history[1]
    for name in ("whole", "resumed"):
        with (tmp_path / name / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["memory_horizon/layer 1"]]
        assert [row["step"] for row in rows] == ["0", "4", "8", "12"]
        assert all(0 < float(row["spectral_radius/layer 1"]) < 2 for row in rows)
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        assert set(summary["memory_horizon"]) == {"layer 1"}
        assert summary["memory_horizon"]["layer 1"]["steps_at_start"] == float(rows[0]["memory_horizon/layer 1"])
        for picture in ("gradient_flow", "gradient_flow_training"):
            assert (tmp_path / name / f"figures/{picture}.png").stat().st_size > 10_000
