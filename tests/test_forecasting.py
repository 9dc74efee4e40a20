"""Forecasting through its doors: a file of series in, their future out."""

import argparse
import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed, door, resume

import unroll
from unroll.building import build_data
from unroll.checkpoint import read_checkpoint
from unroll.data.windows import Windows
from unroll.errors import UsageError, UserError
from unroll.job import run

SMALL = [
    "task=forecasting",
    "logger=none",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=-1",
    "model.hidden_size=8",
    "schedule=constant",
    "data.context_length=14",
    "data.prediction_length=7",
]


def sales(path: Path, days=200, shops=("north", "south"), after=0) -> Path:
    """Counts with a rhythm of a week; `promo` is known `after` days ahead."""
    draw = np.random.default_rng(0)
    rows = []
    for number, shop in enumerate(shops):
        for index, day in enumerate(pd.date_range("2024-01-01", periods=days + after)):
            promo = int(index % 11 == 0)
            units = draw.poisson((5 + 3 * (index % 7) + 10 * promo) * (1 + 4 * number))
            rows.append([day.date(), shop, units if index < days else "", promo])
    pd.DataFrame(rows, columns=["day", "shop", "units", "promo"]).to_csv(path, index=False)
    return path


COLUMNS = ["data=series_files", "data.time=day", "data.series=shop", "data.target=[units]", "data.known=[promo]"]


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two series, with a covariate that is known in advance."""
    folder = tmp_path_factory.mktemp("forecasting")
    path = sales(folder / "sales.csv")
    result = door(
        "train.py", *SMALL, *COLUMNS, f"data.path={path}", "trainer.max_steps=30", f"hydra.run.dir={folder}/run"
    )
    assert result.returncode == 0, result.stderr
    return folder / "run"


def test_a_run_leaves_tables_and_pictures(shops):
    for name in ("forecasts", "horizon", "calibration"):
        assert (shops / f"figures/{name}_test.png").stat().st_size > 10_000
    summary = json.loads((shops / "summary.json").read_text())
    assert set(summary["baselines"]) == {"last value", "seasonal naive", "drift", "linear"}
    with (shops / "evaluation/test_horizon.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "this model"]
    assert [int(row["step"]) for row in rows] == list(range(1, 8))
    # Every window has all its steps: the mean over steps is the score.
    crps = np.mean([float(row["crps"]) for row in rows])
    assert crps == pytest.approx(summary["metrics"]["test/crps"], rel=1e-4)


def test_the_backtest_has_forecasts_a_prediction_length_apart(shops):
    rows = pd.read_csv(shops / "evaluation/test_backtest.csv", parse_dates=["origin", "time"])
    written = pd.read_csv(shops.parent / "sales.csv", parse_dates=["day"]).set_index(["shop", "day"])["units"]
    for shop, of_shop in rows.groupby("series"):
        origins = of_shop["origin"].drop_duplicates()
        assert (origins.diff().dropna() == pd.Timedelta(days=7)).all()
        assert of_shop["time"].is_unique
        truth = [written[shop, time] for time in of_shop["time"]]
        np.testing.assert_allclose(of_shop["value"], truth, atol=1e-3)
        assert (of_shop["0.1"] <= of_shop["0.9"]).all()


def test_evaluate_backtests_as_it_is_told_to(shops):
    named = shops / "evaluation/validation_backtest.csv"
    before = len(pd.read_csv(named))
    result = door("evaluate.py", str(shops), "--split", "validation", "task.stride=2", "task.samples=30")
    assert result.returncode == 0, result.stderr
    for told in ("this model", "seasonal", "linear", "coverage_95"):
        assert told in result.stdout
    origins = pd.read_csv(named, parse_dates=["origin"]).groupby("series")["origin"].unique()
    for of_series in origins:
        assert (np.diff(of_series) == pd.Timedelta(days=2)).all()
    assert len(pd.read_csv(named)) > 2 * before
    stored = json.loads((shops / "evaluation/validation.json").read_text())
    assert stored["settings"] == ["task.stride=2", "task.samples=30"]
    for wrong, line in (
        ("stride=2", "stride=2: is no setting of the task: they are written task.KEY=VALUE"),
        ("task.strid=2", "task.strid: there is no such key; did you mean stride?"),
        ("task.stride=0", "task.stride=0: input should be greater than 0"),
    ):
        with pytest.raises(UsageError, match=re.escape(line)):
            unroll.load(shops, settings=[wrong])
    with pytest.raises(UsageError, match=r"^task\.output=gaussian: changes what weights there are"):
        unroll.load(shops, settings=["task.output=gaussian"])


def test_predict_says_what_follows_the_last_value(shops, tmp_path):
    path = sales(tmp_path / "new.csv", after=7)
    result = door("predict.py", str(shops), "--input", str(path), "--output", f"{tmp_path}/forecast.csv")
    assert result.returncode == 0, result.stderr
    assert "2 series, 7 steps from 2024-07-19 00:00:00 to 2024-07-25 00:00:00" in result.stderr
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
    rows = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["day"])
    assert list(rows.columns) == [
        "shop",
        "day",
        "target",
        "mean",
        "0.025",
        "0.1",
        "0.25",
        "0.5",
        "0.75",
        "0.9",
        "0.975",
    ]
    assert rows["day"].tolist() == 2 * pd.date_range("2024-07-19", periods=7).tolist()
    # In the unit of the data: the second shop sells five times as much.
    means = rows.groupby("shop")["mean"].mean()
    assert 5 < means["north"] < 30 < means["south"] < 120
    # What is on the screen is what is in the file; and a forecast hangs on nothing but the series.
    shown = door("predict.py", str(shops), "--input", str(path))
    assert shown.stdout == (tmp_path / "forecast.csv").read_text()
    table = unroll.load(shops).forecast_file(path)
    pd.testing.assert_frame_equal(table, rows, rtol=1e-5, check_dtype=False)
    sales(tmp_path / "one.csv", after=7, shops=("north",))
    alone = door("predict.py", str(shops), "--input", f"{tmp_path}/one.csv")
    one, both = (np.genfromtxt(lines.splitlines()[1:8], delimiter=",")[:, 3:] for lines in (alone.stdout, shown.stdout))
    np.testing.assert_allclose(one, both, rtol=1e-4)
    other = door("predict.py", str(shops), "--input", f"{tmp_path}/one.csv", "--seed", "5")
    assert other.stdout != alone.stdout


def test_settings_that_do_not_suit_the_data_are_refused_with_anothers_weights_too(shops, tmp_path):
    counts = ["task.output=negative_binomial", "task.normalization=none", f"init_from={shops}"]
    composed(
        *SMALL, *COLUMNS, *counts, f"data.path={shops.parent}/sales.csv", "trainer.max_steps=2", folder=tmp_path / "run"
    )
    with pytest.raises(UsageError, match=r"negative_binomial is for counts.*: add data.standardize=false"):
        run(tmp_path / "run")
    table = pd.read_csv(shops.parent / "sales.csv")
    table.assign(units=np.arange(len(table)) % 5 - 2).to_csv(tmp_path / "below.csv", index=False)
    below = [f"data.path={tmp_path}/below.csv", "data.standardize=false", "trainer.max_steps=2"]
    composed(*SMALL, *COLUMNS, *counts[:2], *below, folder=tmp_path / "below")
    with pytest.raises(UsageError, match="as they are: -2 is none, or take student_t"):
        run(tmp_path / "below")


def test_windows_in_which_all_is_missing_are_trained_over(tmp_path):
    table = pd.read_csv(sales(tmp_path / "gap.csv", shops=("north",)))
    table.loc[30:110, "units"] = np.nan
    table.to_csv(tmp_path / "gap.csv", index=False)
    stream = ["data.stream=true", "truncation=k16", "data.batch_size=1", "task.normalization=none"]
    every = ["trainer.log_every_n_steps=1", "trainer.max_steps=8", f"data.path={tmp_path}/gap.csv"]
    composed(*SMALL, *COLUMNS, *stream, *every, folder=tmp_path / "run")
    run(tmp_path / "run")
    with (tmp_path / "run/metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["gradient_norm"]]
    assert len(rows) == 8
    unseen = [row for row in rows if not row["train/loss"]]
    assert 2 < len(unseen) < 8
    assert all(float(row["gradient_norm"]) == 0 for row in unseen)
    assert "explodes" not in (tmp_path / "run/train.log").read_text()


def test_times_of_a_zone_are_forecast_in_that_zone(shops, tmp_path):
    here = pd.read_csv(sales(tmp_path / "here.csv", after=7))
    there = here.assign(day=here["day"] + "T00:00:00+05:30")
    there.to_csv(tmp_path / "there.csv", index=False)
    rows = []
    for name in ("here", "there"):
        result = door("predict.py", str(shops), "--input", f"{tmp_path}/{name}.csv")
        assert result.returncode == 0, result.stderr
        rows.append(pd.read_csv(io.StringIO(result.stdout)))
    assert "2 series, 7 steps from 2024-07-19 00:00:00+05:30 to 2024-07-25 00:00:00+05:30" in result.stderr
    assert rows[1]["day"].tolist() == [f"{time}+05:30" for time in rows[0]["day"]]


def test_a_forecast_is_that_of_the_model_on_the_last_window(shops, tmp_path):
    """What predict.py reads from a file is what the DataModule makes of it."""
    task = unroll.load(shops)
    from unroll.data.series_files import read_series
    from unroll.predicting.forecasting import _context, _windows

    path = sales(tmp_path / "new.csv", days=150, after=7)
    raw = read_series(path, task.spec.columns, "day", "shop", "utf-8", False, "--")
    windows = _windows([(number, *_context(one, task.spec, "")[:2]) for number, one in enumerate(raw)], task.spec)
    data = build_data(composed(*SMALL, *COLUMNS, f"data.path={path}", "data.sizes=[100,29,28]"))
    data.adopt(task.spec)
    data.prepare_data()
    starts = [150 - 14, 157 + 150 - 14]  # where the windows begin whose context ends with the last value
    for index, start in enumerate(starts):
        block = data.table[start : start + 21]
        torch.testing.assert_close(windows.targets[:14, index, 0], block[:14, 0])
        assert windows.targets[14:, index].isnan().all()
        torch.testing.assert_close(windows.known[:, index], block[:, 1 : 1 + task.spec.known_size])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.drop(columns="promo"), "there is no column promo"),
        (
            lambda rows: rows[rows["units"].notna()],
            "promo is known in advance, and has no value at 2024-07-19 00:00:00",
        ),
        (lambda rows: rows.iloc[:-3], "promo is known in advance, and has no value at 2024-07-23 00:00:00"),
        (lambda rows: rows.tail(12), "has 5 steps up to its last value, and the run looks back at 14"),
        (lambda rows: rows.assign(units=np.nan), "has no value of units"),
        (lambda rows: rows.iloc[::-1], "is before that of the row above: sort the rows by time"),
    ],
)
def test_what_is_wrong_with_the_input_is_told_in_one_line(shops, tmp_path, change, told):
    rows = pd.read_csv(sales(tmp_path / "new.csv", after=7, shops=("north",)))
    change(rows).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(UserError) as error:
        predict(shops, "--input", f"{tmp_path}/new.csv", "--output", f"{tmp_path}/out.csv")
    assert told in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def test_a_series_that_training_never_had_is_standardized_by_itself(shops, tmp_path, capsys):
    rows = pd.read_csv(sales(tmp_path / "own.csv", after=7, shops=("north",)))
    task = unroll.load(shops)
    found = []
    for name, units in (("nort", rows["units"]), ("west", rows["units"] * 1000 - 7)):
        rows.assign(shop=name, units=units).to_csv(tmp_path / "new.csv", index=False)
        found.append(task.forecast_file(tmp_path / "new.csv"))
        told = capsys.readouterr().err
        assert "1 of 1 series are none of training's and standardized by their own values; the first: " + name in told
        assert told.endswith("; did you mean north?\n") == (name == "nort")
    numbers = [column for column in found[0].columns if column not in ("shop", "day", "target")]
    one, other = (table[numbers].to_numpy() for table in found)
    assert other == pytest.approx(1000 * one - 7, rel=1e-4)
    # What is known of it up to now, and not what training knew of another.
    seen = rows["units"].to_numpy()[:150]
    spec = task.spec.with_series("west", np.stack([seen, np.zeros(150)], axis=1))
    assert (spec.centre[-1][0], spec.scale[-1][0]) == pytest.approx((np.nanmean(seen), np.nanstd(seen)))
    assert spec.centre[-1][1:] == spec.centre[0][1:]


def predict(folder: Path, *arguments: str) -> None:
    """predict.py without a process of its own."""
    task = unroll.load(folder)
    parser = argparse.ArgumentParser()
    task.add_predict_arguments(parser)
    task.predict(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "which series? give --input FILE.csv"),
        (["--input", "a.csv", "--output", "forecast.txt"], "a .csv is written"),
    ],
)
def test_what_is_wrong_with_the_options_is_told_in_one_line(shops, options, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        predict(shops, *options)


def test_counts_are_forecast_as_counts(tmp_path):
    path = sales(tmp_path / "sales.csv", shops=("north",))
    settings = [*SMALL, *COLUMNS, f"data.path={path}", "task.output=negative_binomial", "trainer.max_steps=4"]
    composed(*settings, "task.normalization=mean", "data.standardize=false", folder=tmp_path / "run")
    run(tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert all(value is not None for value in summary["metrics"].values())
    with pytest.raises(UsageError, match="counts can be divided, but not moved"):
        run_of(tmp_path / "one", *settings)
    with pytest.raises(UsageError, match="is for counts, 0, 1, 2"):
        run_of(tmp_path / "two", *settings, "task.normalization=mean")


def run_of(folder: Path, *settings: str) -> None:
    composed(*settings, folder=folder)
    run(folder)


@pytest.mark.parametrize("settings", [[], ["task.form=segments", "task.segment_length=7", "task.channels=separate"]])
def test_a_rhythm_is_learned(tmp_path, settings):
    """Two sawteeth of a week, the same but for their height: nothing is random, so nothing may be left."""
    times = pd.date_range("2024-01-01", periods=300)
    tooth = np.arange(300) % 7
    pd.DataFrame({"date": times, "a": tooth, "b": 10.0 * tooth}).to_csv(tmp_path / "a.csv", index=False)
    overrides = [
        "data=series_files",
        f"data.path={tmp_path}/a.csv",
        "task.output=mse",
        "watch.metric=val/mse",
        *settings,
    ]
    sizes = [
        "model.hidden_size=16",
        "task.output_dropout=0",
        "trainer.max_steps=300",
        "optimizer.lr=0.01",
        "data.calendar=false",
    ]
    run_of(tmp_path / "run", *SMALL, *overrides, *sizes)
    assert json.loads((tmp_path / "run/summary.json").read_text())["metrics"]["test/mse"] < 0.01


STREAM = [*SMALL, "data.stream=true", "task.normalization=none", "truncation=k16", "truncation.horizon=40"]
STREAM += ["truncation.reset_probability=0.1", "truncation.vary_length=true"]
STREAM += ["task.output_dropout=0", "task.samples=20", "task.baseline=false"]
STREAM += ["data.sizes=[3000,120,120]", "data.batch_size=8"]
STREAM += ["trainer.val_check_interval=8", "trainer.check_val_every_n_epoch=null"]


def weights_and_scores(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    scores = json.loads((folder / "summary.json").read_text())["metrics"]
    return read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"], scores


def test_a_stream_that_goes_on_is_the_stream_that_was_never_stopped(tmp_path):
    run_of(tmp_path / "whole", *STREAM, "trainer.max_steps=33")
    run_of(tmp_path / "two", *STREAM, "trainer.max_steps=17")
    resume(tmp_path / "two", "trainer.max_steps=33")
    (ours, our_scores), (theirs, their_scores) = (weights_and_scores(tmp_path / name) for name in ("two", "whole"))
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    assert our_scores == their_scores


def test_a_stream_on_two_processes_is_that_on_one(tmp_path):
    still = ["optimizer=sgd", "optimizer.lr=0.1", "trainer.precision=64-true", "trainer.max_steps=20"]
    run_of(tmp_path / "1", *STREAM, *still)
    trainer = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    result = door("train.py", *STREAM, *trainer, *still, f"hydra.run.dir={tmp_path}/2")
    assert result.returncode == 0, result.stderr
    found = [weights_and_scores(tmp_path / name) for name in "12"]
    (one, scores_of_one), (two, scores_of_two) = found
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-10)
    assert scores_of_two == {name: pytest.approx(value, rel=1e-6) for name, value in scores_of_one.items()}


def test_a_forecast_of_a_stream_reads_all_of_the_file(tmp_path):
    rows = 400
    times = pd.date_range("2024-01-01", periods=rows)
    units = 10 + np.arange(rows) % 7 + np.random.default_rng(0).normal(size=rows)
    pd.DataFrame({"day": times, "units": units}).to_csv(tmp_path / "a.csv", index=False)
    data = ["data=series_files", "data.time=day", f"data.path={tmp_path}/a.csv", "data.sizes=[0.7,0.1,0.2]"]
    run_of(tmp_path / "run", *STREAM, *data, "trainer.max_steps=10")
    result = door("predict.py", str(tmp_path / "run"), "--input", f"{tmp_path}/a.csv", "--output", f"{tmp_path}/b.csv")
    assert result.returncode == 0, result.stderr
    found = pd.read_csv(tmp_path / "b.csv")["mean"].to_numpy()
    task = unroll.load(tmp_path / "run")
    values = np.concatenate([units, np.full(7, np.nan)])[:, None]
    features = torch.from_numpy(task.spec.features(pd.date_range("2024-01-01", periods=rows + 7), values, 0))[:, None]
    targets, known, observed = features.split([1, task.spec.known_size, 0], dim=-1)
    first = torch.zeros(1, dtype=torch.long)
    mean, _, _ = task.forecast(Windows(targets, known, observed[:rows], first, first))
    np.testing.assert_allclose(found, mean[:, 0, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["task.normalization=centre"], "is by each window's context, and a stream .* has none"),
        (["task.form=segments"], "task.form=segments reads whole windows, and data.stream=true has none"),
        (["truncation=full", "truncation.horizon=null"], "a stream has no end"),
        (["truncation.carry_state=false"], "goes on from the state"),
    ],
)
def test_what_a_stream_cannot_be_is_told(tmp_path, settings, told):
    with pytest.raises(UsageError, match=told):
        run_of(tmp_path / "run", *STREAM, *settings)


def test_what_does_not_make_a_stream_is_told(tmp_path):
    with pytest.raises(UserError, match=r"train has 3,000 steps, and one window of truncation.length=16 in each"):
        run_of(tmp_path / "short", *STREAM, "data.batch_size=900")
    path = sales(tmp_path / "sales.csv")
    with pytest.raises(UserError, match="has 2 series, and one can be read as a stream"):
        run_of(tmp_path / "run", *STREAM, *COLUMNS, f"data.path={path}", "data.sizes=[0.7,0.1,0.2]")
