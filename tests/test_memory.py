"""Memory tasks: what is asked for stood where it is said to, chance is what chance scores, and truncation cuts."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import composed, door
from torch import nn

from unroll.building import build_data, build_task, data_options
from unroll.cells.rnn import RNN
from unroll.comparison.lags import _horizon, _mean, _place, _reach_at_start, draw_lags
from unroll.comparison.rows import rows_of
from unroll.comparison.run import read_runs
from unroll.data.memory import Drawn, MemoryData, side_by_side
from unroll.errors import UsageError, UserError
from unroll.job import run
from unroll.models.seq_to_end import SeqToEnd
from unroll.recurrent import Recurrent

OPTIONS = data_options(MemoryData)


def data_of(option: str, lag: int, count: int = 2000, **settings) -> MemoryData:
    given = [f"data.{key}={value}" for key, value in settings.items()]
    config = composed(f"task={option}", f"data.lag={lag}", f"data.sizes=[{count},{count},{count}]", *given)
    data = build_data(config)
    data.prepare_data()
    return data


@pytest.mark.parametrize("option", OPTIONS)
def test_each_has_a_task_of_its_name(option):
    assert composed(f"task={option}")["choices"]["data"] == option


@pytest.mark.parametrize("lag", [1, 2, 5, 7, 8, 13, 14, 40])
@pytest.mark.parametrize("option", ["agreement", "copy", "recall"])  # not on several steps, as those of others
def test_the_answer_hangs_on_the_step_that_lies_lag_before_and_on_no_other(option, lag):
    if option == "copy" and lag < 10:
        with pytest.raises(UsageError, match=rf"^data.lag={lag}: here it is at least 10$"):
            data_of(option, lag)
        return
    data = data_of(option, lag)
    steps, answers = data.drawn("train")
    asked = answers.shape[1]
    assert asked == data.spec.asked
    time = steps.shape[1]
    answer_to: dict[int, int] = {}
    for place in range(asked):
        for symbol, answer in zip(steps[:, time - asked + place - lag], answers[:, place], strict=True):
            assert answer_to.setdefault(int(symbol), int(answer)) == answer
    assert sorted(answer_to.values()) == list(range(len(data.spec.answers)))
    # Nothing else tells: at every other step each symbol has all answers after it, some time.
    first = answers[:, 0]
    for step in set(range(time)) - {time - asked - lag}:
        symbols, counts = np.unique(steps[:, step], return_counts=True)
        often = symbols[counts.argmax()]
        assert len(set(first[steps[:, step] == often].tolist())) == len(data.spec.answers)


def test_worked_examples():
    def shown(option, lag, **settings):
        data = data_of(option, lag, 50, **settings)
        steps, answers = data.drawn("train")
        text = data.spec.write(steps[0])
        answered = [data.spec.answers[answer] for answer in answers[0]] if data.spec.answers else answers[0].tolist()
        return text.split(), answered

    steps, answer = shown("recall", 3)
    assert len(steps) == 4 and steps[0] == answer[0] and steps[0].isupper() and steps[1].islower() and steps[-1] == "?"
    steps, answer = shown("copy", 5, length=3)
    assert steps[:3] == answer and steps[3:] == [".", ".", "?", ".", "."]
    steps, (total,) = shown("adding", 20)
    assert len(steps) == 22
    marked = [(place, float(step[:-1])) for place, step in enumerate(steps) if step.endswith("*")]
    (first, one), (second, two) = marked
    assert total == pytest.approx(one + two, abs=2e-4) and first in (0, 1) and 11 <= second < 22
    steps, (ending,) = shown("agreement", 16)
    assert len(steps) == 21
    kinds = {"dog": "german shepherd", "cat": "persian cat", "horse": "arab horse", "owl": "barn owl"}
    noun = steps[4]
    assert ending.startswith("were " if noun.endswith("s") else "was ")
    assert kinds[noun.removesuffix("s")] in ending
    assert steps.count("which") == 2 and steps[-1] == ","


def test_the_adding_problem_asks_for_the_two_marked_numbers():
    for lag in (1, 2, 9, 50):
        steps, answers = data_of("adding", lag).drawn("train")
        values, marks = steps[..., 0], steps[..., 1]
        assert (marks.sum(1) == 2).all()
        np.testing.assert_allclose(answers[:, 0], (values * marks).sum(1), rtol=1e-6)
        first = marks.argmax(1)
        assert (steps.shape[1] - 1 - first).min() >= lag
        assert values.min() >= 0 and values.max() < 1


@pytest.mark.parametrize("option", OPTIONS)
def test_chance_is_what_the_best_constant_answer_scores(option):
    data = data_of(option, 20, 20_000)
    answers = data.drawn("train").answers
    if data.spec.answers:
        share = np.bincount(answers.flatten(), minlength=len(data.spec.answers)) / answers.size
        found = {"loss": -(share * np.log(share)).sum(), "accuracy": share.max()}
    else:
        found = {"mse": ((answers - 1) ** 2).mean(), "accuracy": (np.abs(answers - 1) < 0.04).mean()}
    assert found == {name: pytest.approx(value, rel=0.06) for name, value in data.guessing.items()}
    assert data.knowing == {name: 1.0 if name == "accuracy" else 0.0 for name in data.guessing}


@pytest.mark.parametrize("option", OPTIONS)
def test_what_is_written_is_read_again(option, tmp_path):
    data = data_of(option, 12)
    steps = data.drawn("test").steps[0]
    np.testing.assert_allclose(data.spec.read(data.spec.write(steps)), steps, atol=5e-5)
    data.save(tmp_path)
    assert type(data).load_spec(tmp_path) == data.spec
    assert data.is_unchanged(tmp_path)
    assert not data_of(option, 12, sequence_seed=1).is_unchanged(tmp_path)
    assert not np.array_equal(data.drawn("train").steps, data.drawn("validation").steps)
    (tmp_path / "symbols.json").write_text("{}")
    with pytest.raises(UserError, match=r"symbols.json: is not whole"):
        type(data).load_spec(tmp_path)


def reader(horizon=None, carry_state=True) -> SeqToEnd:
    torch.manual_seed(1)
    stack = lambda input_size: Recurrent(input_size, 6, RNN)  # noqa: E731
    return SeqToEnd(5, 0, 3, stack, 4, horizon, carry_state).double()


@pytest.mark.parametrize(("time", "asked", "horizon"), [(20, 1, 8), (20, 1, 7), (15, 10, 8), (9, 9, 4), (6, 2, 9)])
def test_windows_answer_as_the_whole_does_and_cut_gradients(time, asked, horizon):
    steps = torch.randint(5, (time, 3))
    whole, cut = reader(), reader(horizon)
    torch.testing.assert_close(cut(steps, asked), whole(steps, asked), rtol=0, atol=1e-14)
    # A gradient to each step by itself: what is cut is exactly zero, what is not is the whole one's.
    seen = {}
    for name, model in (("whole", whole), ("cut", cut)):
        x = torch.nn.functional.one_hot(steps, 5).double().requires_grad_()
        model.embedding = Dense(model.embedding)
        (seen[name],) = torch.autograd.grad(model(x, asked)[-1].sum(), x)
    reach = min(horizon, time)
    assert not seen["cut"][: time - reach].any()
    torch.testing.assert_close(seen["cut"][time - reach :], seen["whole"][time - reach :])
    assert seen["whole"][0].any()


class Dense(nn.Module):
    """An embedding of one-hot vectors, through which there are gradients."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight = embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


def test_without_carried_state_nothing_before_the_last_window_is_seen():
    steps = torch.randint(5, (20, 3))
    other = steps.clone()
    other[:12] = (other[:12] + 1) % 5
    blind, carried = reader(8, carry_state=False), reader(8)
    assert torch.equal(blind(steps, 1), blind(other, 1))
    assert not torch.equal(carried(steps, 1), carried(other, 1))
    torch.testing.assert_close(blind(steps, 1), reader()(steps[12:], 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_perfect_answer_scores_one_and_a_wrong_one_nothing(option):
    data = data_of(option, 12, 50)
    task = build_task(composed(f"task={option}", "data.lag=12"), data.spec)
    batch = side_by_side(data.drawn("test"))
    if data.spec.answers:
        right = torch.nn.functional.one_hot(batch.answers, len(data.spec.answers)) * 40.0
        wrong = right.roll(1, -1)
    else:
        right = batch.answers.unsqueeze(-1)
        wrong = right + 0.05
    assert task._are_right(right, batch.answers).all() and not task._are_right(wrong, batch.answers).any()
    assert task._costs(right, batch.answers).mean() < 1e-6
    assert task._costs(wrong, batch.answers).mean() == pytest.approx(40.0 if data.spec.answers else 0.0025, rel=1e-4)


def test_numbers_are_read_in_any_precision():
    data = data_of("adding", 12, 50)
    task = build_task(composed("task=adding", "data.lag=12"), data.spec).to(torch.bfloat16)
    assert 0 <= task.accuracy(data.drawn("test"), 7) <= 1
    assert task.last_losses(side_by_side(data.drawn("test"))).isfinite().all()


def test_accuracy_is_that_of_all_sequences_whatever_the_batches():
    data = data_of("recall", 6, 50)
    task = build_task(composed("task=recall", "data.lag=6"), data.spec)
    batch = side_by_side(data.drawn("test"))
    expected = task._are_right(task._answers(batch.steps), batch.answers).double().mean().item()
    assert [task.accuracy(data.drawn("test"), size) for size in (1, 7, 1000)] == [pytest.approx(expected)] * 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network that has learned to recall."""
    folder = tmp_path_factory.mktemp("run") / "recall"
    small = ["logger=none", "model.hidden_size=32", "trainer.max_steps=300", "data.sizes=[4000,300,300]", "data.lag=6"]
    composed("task=recall", *small, "data.eval_batch_size=77", folder=folder)
    run(folder)
    return folder


def test_a_network_learns_to_recall_and_says_what(trained, tmp_path):
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["metrics"]["test/accuracy"] > 0.99
    assert summary["baselines"]["chance"]["test/accuracy"] == 1 / 8
    assert summary["baselines"]["optimum"]["test/loss"] == 0
    line = json.loads((trained / "evaluation/test_difficulty.json").read_text())
    assert line["values"] == [2, 3, 6, 12, 24]
    assert line["scores"][2] == pytest.approx(summary["metrics"]["test/accuracy"], abs=1e-9)
    result = door("predict.py", str(trained), "--text", "C a b f e a ?", "--text", "H c c c c c ?")
    assert (result.returncode, result.stdout) == (0, "C\nH\n"), result.stderr
    (tmp_path / "asked.txt").write_text("A a a a a a ?\nA b Q\n")
    result = door("predict.py", str(trained), "--input", str(tmp_path / "asked.txt"), "--output", str(tmp_path / "out"))
    assert result.returncode == 1
    assert result.stderr == "error: text 2, step 3: 'Q' is none of the 17 symbols: A B C D E F G H a b c d ...\n"
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_said():
    spec = data_of("adding", 5).spec
    with pytest.raises(UserError, match=r"^step 2: '0.3x' is no number; write 0.25, or 0.25\* for one with a mark$"):
        spec.read("0.1 0.3x")
    with pytest.raises(UserError, match=r"^step 1: 'nan' is no number"):
        spec.read("nan")
    with pytest.raises(UserError, match=r"^the sequence has 2 steps, and 3 are asked for an answer$"):
        data_of("copy", 5, length=3).spec.read("A B")
    with pytest.raises(UsageError, match=r"^model.bidirectional=true"):
        build_task(composed("task=adding", "model.bidirectional=true"), spec)


def test_accuracy_is_drawn_by_lag_where_lags_differ(tmp_path):
    for number, (model, truncation, lag) in enumerate(
        (model, truncation, lag) for model in ("rnn", "lstm", "gru") for truncation in ("full", "k8") for lag in (5, 20)
    ):
        folder = tmp_path / "sweep" / str(number)
        overrides = ["task=recall", f"model={model}", f"truncation={truncation}", f"data.lag={lag}"]
        composed(*overrides, folder=folder)
        (folder / ".hydra/overrides.yaml").write_text(json.dumps(overrides))
        reached = {"layer 1": {"steps": 9, "told": "9 steps", "steps_at_start": 12}}
        metrics = {"val/accuracy": 1.0 if lag == 5 else 0.125}
        (folder / "summary.json").write_text(json.dumps({"metrics": metrics, "memory_horizon": reached}))
    runs = read_runs([tmp_path / "sweep"])
    rows = rows_of(runs)
    assert _reach_at_start(rows) == 12
    horizons = {row.settings["truncation"]: _horizon([row]) for row in rows}
    assert horizons["k8"] == 8 and math.isnan(horizons["full"])
    assert _mean(rows, {"model": "rnn", "truncation": "k8", "data.lag": "20"}) == 0.125
    drawn = draw_lags(runs, tmp_path / "both")
    assert [picture.name for picture in drawn] == ["lags.png", "lags_by_truncation.png"]
    assert all(picture.stat().st_size > 10_000 for picture in drawn)
    some = [one for one in runs if one.setting("truncation") == "full"]
    assert [picture.name for picture in draw_lags(some, tmp_path / "one")] == ["lags.png"]
    assert draw_lags([one for one in runs if one.setting("data.lag") == "5"], tmp_path / "none") == []
    # Even distances stand for even factors: 10 is as far from 5 as from 20.
    assert _place(["5", "20"], 10) == pytest.approx(0.5) and _place(["5", "20"], 5) == 0
    assert _place(["5", "20"], 20) > 1 and _place(["5", "20"], 2) < 0
    assert not (tmp_path / "none").exists()


def test_sequences_of_other_lengths_are_answered_too():
    data = data_of("copy", 12, 40, length=4)
    task = build_task(composed("task=copy", "data.length=4"), data.spec)
    other = data.drawn_at(20, "test")
    assert isinstance(other, Drawn) and other.steps.shape == (1000, 24)
    assert 0 <= task.accuracy(other) <= 1
