"""Every option of every group composes, fits its target's signature, and builds; all are found by looking."""

from functools import cache
from importlib.util import find_spec
from typing import Any

import hydra.utils
import pytest
import torch
import yaml
from conftest import SMALL, composed
from hydra.utils import get_class

from unroll.building import build_data, build_task, check, data_options, make
from unroll.composing import CONF, explained, groups
from unroll.data.base import Data
from unroll.data.encoding import Vocabulary
from unroll.errors import UsageError
from unroll.tasks.base import Task
from unroll.trainer import build_loggers, build_trainer
from unroll.trust import check_trusted

OPTIONS = [(group, option) for group, options in groups().items() for option in options]
# What has no default because only a user can know it.
NEEDED = {("data", "text_files"): ["data.path=x.txt"], ("data", "enwik8"): ["data.path=x"]}
NEEDED[("data", "labelled_files")] = NEEDED[("data", "series_files")] = ["data.path=x.csv"]
NEEDED[("data", "captioned_files")] = NEEDED[("data", "summary_files")] = ["data.path=x.csv"]
NEEDED[("data", "picture_folders")] = ["data.path=x"]
NEEDED[("data", "tagged_files")] = ["data.path=x.conll"]
NEEDED[("data", "ud_ewt")] = NEEDED[("experiment", "ud_ewt_pos")] = ["data.folder=x"]


options_of = cache(data_options)


@cache
def default(task: str) -> dict[str, Any]:
    """Its config as it is."""
    return composed(f"task={task}")


@cache
def spec_of(task: str, *overrides: str) -> Any:
    """Of the data that a task has by default, which needs no network."""
    few = ["data.sizes=[2000,400,400]"] if "sizes" in default(task)["data"] and not overrides else []
    data = build_data(composed(f"task={task}", *few, *overrides))
    data.prepare_data()
    return data.spec


def task_for(group: str, option: str) -> str:
    """The first task that an option fits."""
    for task in groups()["task"]:
        if group == "data" and option not in options_of(get_class(default(task)["task"]["_target_"]).reads):
            continue
        if (group, option) == ("truncation", "full") and default(task)["choices"]["truncation"] != "full":
            continue
        return task
    raise AssertionError(f"no task takes {group}={option}")


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_option_fits_the_signatures(group, option):
    task = [] if group in ("task", "experiment") else [f"task={task_for(group, option)}"]
    if option == "ray" and find_spec("hydra_plugins.hydra_ray_launcher") is None:
        with (
            pytest.raises(UsageError, match=r"^launcher=ray: is not installed: pip install -e '\.\[ray\]'$"),
            explained(),
        ):
            composed("launcher=ray")
        return
    config = composed(*task, f"{group}={option}", *NEEDED.get((group, option), []))
    check(config)
    check_trusted(config, [], "a run of it")  # or its own evaluation would refuse it
    build_data(config)
    lengths = [
        f"data.{key}={config['data'][key]}" for key in ("context_length", "prediction_length") if key in config["data"]
    ]
    build_task(config, spec_of(config["choices"]["task"], *lengths))


class Unfinished(Task):
    """A task of one's own that lacks most of what a task has."""

    reads = Data


def test_a_task_that_lacks_something_is_told_in_one_line():
    config = {**composed(), "task": {"_target_": "test_configs.Unfinished"}}
    with pytest.raises(
        UsageError, match=r"^task\._target_=test_configs\.Unfinished: has no .*last_losses, loss, metrics"
    ):
        check(config)
    config["task"] = {"_target_": "unroll.tasks.base.Task"}
    with pytest.raises(UsageError, match=r"does not say what data it `reads`$"):
        check(config)


@pytest.mark.parametrize("option", groups()["trainer"])
def test_trainers_build(option, tmp_path):
    config = composed(f"trainer={option}")
    check(config)
    if config["trainer"]["accelerator"] in ("auto", "cpu"):
        build_trainer(config, tmp_path)


@pytest.mark.parametrize("option", groups()["logger"])
def test_loggers_build(option, tmp_path):
    config = composed(f"logger={option}", *(["logger.mode=offline"] if option == "wandb" else []))
    check(config)
    for logger in build_loggers({**config, "choices": {**config["choices"], "sweep": None}}, tmp_path):
        logger.log_metrics({"loss": 1.0}, step=1)
        logger.experiment.finish()


def test_every_option_says_what_it_is():
    """Whose name does not say it all begins with a comment, or each of its keys has one in the part it takes from."""
    for group in ("task", "data", "experiment"):
        for option in groups().get(group, []):
            text = (CONF / group / f"{option}.yaml").read_text()
            assert text.startswith("#"), f"conf/{group}/{option}.yaml begins without a comment"


def test_defaults_stand_once():
    """A key that has a default in YAML has none in the constructor that differs from it."""
    import inspect

    config = composed()
    for node in (config["model"]["cell"], config["truncation"]):
        parameters = inspect.signature(hydra.utils.get_object(node["_target_"])).parameters
        for key, value in node.items():
            if key in parameters and parameters[key].default not in (inspect.Parameter.empty, None):
                assert parameters[key].default == value, (node["_target_"], key)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_steps=abc", "trainer.max_steps=abc: input should be a valid integer"),
        ("truncation.length=0", "truncation.length=0: input should be greater than 0"),
        ("model.hidden_size=1.5", "model.hidden_size=1.5: input should be a valid integer"),
        ("model.hidden_size=null", "model.hidden_size=null: input should be a valid integer"),
        ("task.output_dropout=1", "task.output_dropout=1: input should be less than 1"),
        ("task.loss_on=first", "task.loss_on=first: input should be 'all' or 'last'"),
        ("task.tie_weights=3", "task.tie_weights=3: input should be a valid boolean"),
        ("+model.cell.peephole=true", "model.cell.peephole: there is no such key; Valid: bias, forget_bias"),
        (
            "model.cell._target_=unroll.cells.lstm.LSTN",
            "model.cell._target_=unroll.cells.lstm.LSTN: cannot be imported",
        ),
        ("data.batch_size=0", "data.batch_size=0: input should be greater than 0"),
        ("data.unit=byte", "data.unit=byte: input should be 'characters', 'bytes', 'words' or 'bpe'"),
        ("+data.foo=1", "data.foo: there is no such key; Valid: batch_size, boundaries, cache_dir"),
        ("seed=abc", "seed=abc: input should be a valid integer"),
        ("seed=-1", "seed=-1: input should be greater than or equal to 0"),
        ("trainer.precision=17", "trainer.precision=17: input should be"),
        ("callbacks.samples.temperatures=[-1]", "callbacks.samples.temperatures=[-1]: input should be greater"),
    ],
)
def test_values_that_do_not_fit_are_named(override, message):
    with pytest.raises(UsageError) as error:
        check(composed(override))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_full_truncation_is_refused_on_a_stream():
    with pytest.raises(UsageError, match="truncation=full needs sequences that end"):
        build_data(composed("truncation=full"))


def test_a_bidirectional_language_model_is_refused():
    with pytest.raises(UsageError, match=r"model\.bidirectional=true: would read the very tokens"):
        build_task(composed("model.bidirectional=true"), Vocabulary("characters", (97, 98)))


def test_tied_weights_need_one_width():
    with pytest.raises(
        UsageError, match=r"task\.embedding_size equal to model\.hidden_size, or model\.top_size: they are 128 and 256"
    ):
        build_task(composed("task.tie_weights=true"), Vocabulary("characters", (97, 98)))
    task = build_task(composed("task.tie_weights=true", "task.embedding_size=256"), Vocabulary("characters", (97, 98)))
    assert task.model.output.weight is task.model.embedding.weight


def test_a_frozen_embedding_is_not_trained_and_one_hot_has_none():
    vocabulary = Vocabulary("characters", (97, 98, 99))
    frozen = build_task(composed("task.freeze_embedding=true"), vocabulary)
    assert not frozen.model.embedding.weight.requires_grad
    one_hot = build_task(composed("task.embedding_size=null"), vocabulary)
    tokens = torch.tensor([[1], [3]])
    x = torch.eye(4)[tokens]
    assert one_hot.model.embedding is None
    assert torch.equal(one_hot.model.hidden(tokens)[0], one_hot.model.recurrent(x)[0])


def test_the_experiment_files_tell_their_command():
    for option in groups()["experiment"]:
        text = (CONF / "experiment" / f"{option}.yaml").read_text()
        assert f"python train.py experiment={option}" in text or f"python train.py -m experiment={option}" in text
        yaml.safe_load(text)


@pytest.mark.parametrize("option", groups()["schedule"])
def test_schedules(option):
    config = composed(f"schedule={option}")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedulers = make(config["schedule"], optimizer=optimizer, total_steps=1001)
    rates = []
    for _ in range(1001):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            if scheduler["interval"] == "step":
                scheduler["scheduler"].step()
    warm = 300 if option == "one_cycle" else 100
    assert rates[0] == pytest.approx(2.0 / 25 if option == "one_cycle" else 2.0 / 101)
    assert rates == sorted(rates[:warm]) + rates[warm:]
    # Warm-up is a factor of its own: what is reached is the shape's value at its end.
    reached = {"linear": 2 * (1 - 0.99 * 0.1)}.get(option, 2.0)
    assert max(rates) == pytest.approx(reached, rel=0.03)
    expected = {"constant": 2.0, "plateau": 2.0, "linear": 0.02, "cosine": 0.02, "one_cycle": 2 / 250_000}.get(option)
    if expected is not None:
        assert rates[-1] == pytest.approx(expected, rel=1e-6)
    middle = {"constant": 2.0, "plateau": 2.0, "linear": 2 * (1 - 0.99 / 2), "cosine": 2 * 0.505}.get(option)
    if middle is not None:
        assert rates[500] == pytest.approx(middle, rel=1e-6)


def test_a_plateau_lowers_the_rate():
    config = composed("schedule=plateau", "schedule.warmup_steps=0")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    (scheduler,) = make(config["schedule"], optimizer=optimizer, total_steps=None)
    assert (scheduler["monitor"], scheduler["scheduler"].mode) == ("val/bpc", "min")
    for value in (2.0, 1.9, 1.9, 1.9, 1.9):
        scheduler["scheduler"].step(value)
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_a_plateau_is_one_whatever_the_sign_and_size_of_the_score():
    still, worse, better = [-5.0] * 4, [-5.0 + 4e-4 * step for step in range(4)], [1 - 2e-5 * step for step in range(9)]
    for scores, rate in ((still, 1.0), (worse, 1.0), (better, 2.0)):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        settings = composed("schedule=plateau", "schedule.warmup_steps=0", "schedule.patience=2")["schedule"]
        (scheduler,) = make(settings, optimizer=optimizer, total_steps=None)
        for score in scores:
            scheduler["scheduler"].step(score)
        assert optimizer.param_groups[0]["lr"] == rate


def test_a_warm_up_begins_with_its_first_part():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    make(composed("schedule=constant", "schedule.warmup_steps=3")["schedule"], optimizer=optimizer, total_steps=10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_small_overrides_are_valid():
    check(composed(*SMALL))
