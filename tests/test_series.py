"""Series: their grids, splits, windows and scales, and what is said of those that are not in order."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED, composed

from unroll.building import build_data, check
from unroll.data.grid_series import GridSeries, RawSeries, fill_grid
from unroll.data.series_lanes import SeriesLanes
from unroll.data.series_spec import Layout
from unroll.data.time_grid import (
    calendar_features,
    day_stands_first,
    infer_frequency,
    parse_times,
    place_on_grid,
    season_length,
    zone_of,
)
from unroll.data.windows import window_starts
from unroll.errors import UsageError, UserError

ETT = SHARED / "ett"


def of_file(path, *overrides: str):
    settings = composed("task=forecasting", "data=series_files", f"data.path={path}", *overrides)
    data = build_data(settings)
    data.prepare_data()
    return data


def table(path, count=60, step="D", **columns):
    times = pd.date_range("2024-01-01", periods=count, freq=step)
    values = columns or {"units": np.arange(count) ** 1.5}
    pd.DataFrame({"date": times, **values}).to_csv(path, index=False)
    return path


SHORT = ["data.context_length=7", "data.prediction_length=3"]


def test_windows_are_the_series(tmp_path):
    data = of_file(table(tmp_path / "a.csv"), *SHORT)
    spec = data.spec
    values = np.arange(60) ** 1.5
    train = values[:42]
    assert spec.centre[0][0] == pytest.approx(train.mean())
    assert spec.scale[0][0] == pytest.approx(train.std())
    assert (spec.frequency, spec.season_length) == ("D", 7)
    assert spec.naive_error[0][0] == pytest.approx(np.abs(train[7:] - train[:-7]).mean())
    scaled = (values - train.mean()) / train.std()
    # 42 steps of train, 6 of validation, 12 of test: as many windows as there are futures inside each.
    for split, first, count in (("train", 0, 33), ("validation", 35, 4), ("test", 41, 10)):
        batches = list(data.eval_dataloader(split))
        targets = torch.cat([batch.targets for batch in batches], dim=1)
        assert targets.shape == (10, count, 1)
        for index in range(count):
            expected = torch.from_numpy(scaled[first + index : first + index + 10]).float()
            torch.testing.assert_close(targets[:, index, 0], expected)
    assert str(data.times(41, 1)[0]) == "2024-02-11 00:00:00"


@pytest.mark.parametrize("seed", range(20))
def test_windows_without_a_value_in_either_part_are_left_out(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(30, 3))
    values[rng.random((30, 3)) < 0.75] = np.nan
    borders = (14, 20, 30)
    one = GridSeries("", pd.date_range("2024-01-01", periods=30), values, borders)
    for split, (begin, end) in {"train": (0, 14), "validation": (14, 20), "test": (20, 30)}.items():
        expected = {}
        for first in range(30 - 5 + 1):  # 3 steps of context, 2 of future
            future_lies_in_it = begin <= first + 3 and first + 5 <= end
            parts = values[first : first + 3, :2], values[first + 3 : first + 5, :2]
            if future_lies_in_it:
                expected[first] = all(np.isfinite(part).any() for part in parts)
        starts, usable = window_starts(one, split, 3, 2, 2)
        assert dict(zip(starts.tolist(), usable.tolist(), strict=True)) == expected


def test_training_goes_through_every_window_once_and_knows_no_later_values(tmp_path):
    path = table(tmp_path / "a.csv")
    seen = torch.cat([batch.rows for batch in of_file(path, *SHORT, "data.batch_size=4").train_dataloader()])
    assert sorted(seen.tolist()) == list(range(33))
    rows = pd.read_csv(path)
    rows.loc[42:, "units"] *= -100
    rows.to_csv(tmp_path / "b.csv", index=False)
    one, two = of_file(path, *SHORT), of_file(tmp_path / "b.csv", *SHORT)
    # A mean of another place in memory may be summed in another order: the last bit is not compared.
    (error,), (other,) = one.spec.naive_error, two.spec.naive_error
    assert replace(one.spec, naive_error=()) == replace(two.spec, naive_error=())
    assert error == pytest.approx(other, rel=1e-14)
    torch.testing.assert_close(one.table[:42], two.table[:42], rtol=0, atol=0)


def test_a_window_is_a_view(tmp_path):
    data = of_file(table(tmp_path / "a.csv"), *SHORT)
    assert data.train_dataloader()._windows.data_ptr() == data.table.data_ptr()


def test_gaps_are_missing_and_counted(tmp_path):
    path = table(tmp_path / "a.csv")
    rows = pd.read_csv(path, dtype=str)
    rows.loc[20, "units"] = "NA"
    rows.drop(index=[10, 11, 30]).to_csv(path, index=False)
    data = of_file(path, *SHORT)
    missing = np.flatnonzero(np.isnan(data.table[:, 0]))
    assert missing.tolist() == [10, 11, 20, 30]
    told = "\n".join(data.describe())
    assert "gaps: 3 steps have no row and are taken as missing, the first 2024-01-11" in told
    assert "6.7% of the targets are missing" in told


def test_several_series_have_scales_of_their_own(tmp_path):
    rows = []
    for name, factor in (("north", 1.0), ("south", 50.0)):
        rows += [(day.date(), name, factor * (i % 7)) for i, day in enumerate(pd.date_range("2024-01-01", periods=60))]
    pd.DataFrame(rows, columns=["date", "shop", "units"]).to_csv(tmp_path / "a.csv", index=False)
    data = of_file(tmp_path / "a.csv", *SHORT, "data.series=shop")
    assert data.spec.names == ("north", "south")
    torch.testing.assert_close(data.table[:60, 0], data.table[60:, 0])
    batch = next(iter(data.eval_dataloader("test")))
    assert batch.series.tolist() == [0] * 10 + [1] * 10
    # No window crosses from one series into the next.
    assert data.windows("train")[0].tolist() == [*range(33), *range(60, 93)]


def test_covariates_are_what_they_are_called(tmp_path):
    count = 60
    columns = {"units": np.sin(np.arange(count)), "promo": np.arange(count) % 2, "rain": np.arange(count) ** 2.0}
    path = table(tmp_path / "a.csv", **columns)
    roles = ["data.target=[units]", "data.known=[promo]", "data.observed=[rain]", "data.calendar=false"]
    data = of_file(path, *SHORT, *roles)
    batch = next(iter(data.eval_dataloader("validation")))
    assert batch.known.shape == (10, 4, 1) and batch.observed.shape == (7, 4, 1)
    promo, rain = columns["promo"], columns["rain"]
    at = 35  # where the first window begins
    expected = (promo[at : at + 10] - promo[:42].mean()) / promo[:42].std()
    torch.testing.assert_close(batch.known[:, 0, 0], torch.from_numpy(expected).float())
    expected = (rain[at : at + 7] - rain[:42].mean()) / rain[:42].std()
    torch.testing.assert_close(batch.observed[:, 0, 0], torch.from_numpy(expected).float())


@pytest.mark.parametrize(
    ("frequency", "season", "features"),
    [
        ("h", 24, 14),
        ("15min", 96, 14),
        ("D", 7, 10),
        ("B", 5, 10),
        ("W-SUN", 52, 4),
        ("MS", 12, 4),
        ("QS", 4, 4),
        ("YS", 1, 0),
    ],
)
def test_frequencies(frequency, season, features):
    times = pd.date_range("2001-01-01", periods=40, freq=frequency)
    assert season_length(frequency) == season
    calendar = calendar_features(times, frequency)
    assert calendar.shape == (40, features)
    assert np.abs(calendar).max(initial=0) <= 1
    found = infer_frequency(times)
    assert pd.date_range(times[0], periods=40, freq=found).equals(times)
    if features:
        missing = times.delete([5, 6, 20])
        assert pd.date_range(times[0], periods=40, freq=infer_frequency(missing)).equals(times)


@pytest.mark.parametrize(
    ("form", "frequency"),
    [
        ("%d/%m/%Y %H:%M", "h"),
        ("%m/%d/%Y %H:%M", "h"),
        ("%d.%m.%Y", "D"),
        ("%Y-%m-%d", "D"),
        ("%d/%m/%Y", "MS"),
        ("%m/%d/%Y", "MS"),
    ],
)
@pytest.mark.parametrize("steps", [50, 260])
@pytest.mark.parametrize("missing", [[], [5, 6, 20]])
def test_days_before_months_are_told_by_their_regular_steps(form, frequency, steps, missing):
    times = pd.date_range("2024-02-01", periods=steps, freq=frequency)  # of 50 hours, or days, no first one is above 12
    times = times.delete(missing)
    written = times.strftime(form).tolist()
    found = parse_times(written, str, day_stands_first(written))
    assert found.tolist() == times.tolist()


@pytest.mark.parametrize("unit", ["month", "s", "ms", "us", "ns"])
def test_times_of_digits_alone_are_months_or_counted_since_1970(unit):
    times = pd.date_range("2005-01-01", periods=99, freq="MS")
    written = times.strftime("%Y%m") if unit == "month" else (times.as_unit(unit).asi8).astype(str)
    assert day_stands_first(written.tolist()) is None
    assert parse_times(written.tolist(), str).tolist() == times.tolist()
    for kind in (int, float):
        assert parse_times([kind(each) for each in written], str).tolist() == times.tolist()
    assert zone_of(written[-1]) is None
    for odd, told in (
        ("", "the time is missing"),
        (math.nan, "the time is missing"),
        ("2026-13", "'2026-13' is no time"),
    ):
        with pytest.raises(UserError, match=f"50: {told}"):
            parse_times([*written[:50], odd, *written[51:]], str)
    if unit == "month":
        with pytest.raises(UserError, match="50: '202613' is no time"):
            parse_times([*written[:50], "202613", *written[51:]], str)


@pytest.mark.parametrize(("form", "step"), [("%Y%m%d%H", "h"), ("%Y%m%d%H%M", "15min"), ("%Y%m%d%H%M%S", "10s")])
def test_times_of_digits_alone_may_go_down_to_the_hour_and_further(form, step):
    times = pd.date_range("2020-01-31", periods=99, freq=step)
    written = times.strftime(form).tolist()
    assert day_stands_first(written) is None
    assert parse_times(written, str).tolist() == times.tolist()
    assert parse_times([int(each) for each in written], str).tolist() == times.tolist()
    written[50] = f"{written[50][:6]}99{written[50][8:]}"
    with pytest.raises(UserError, match=f"50: '{written[50]}' is no time"):
        parse_times(written, str)


def test_seconds_since_1970_go_on_where_they_get_another_digit():
    times = pd.date_range("2001-09-09 01:00", periods=100, freq="min")
    written = [str(each) for each in times.as_unit("s").asi8]
    assert {len(each) for each in written} == {9, 10}
    assert parse_times(written, str).tolist() == times.tolist()


def test_a_sensor_is_read_many_times_a_second():
    times = pd.date_range("2024-02-01 12:00", periods=400, freq="10ms")
    for written in (times.astype(str).tolist(), [str(each) for each in times.as_unit("ms").asi8]):
        parsed = parse_times(written, str)
        assert parsed.tolist() == times.tolist()
        assert infer_frequency(parsed) == "10ms"
        steps, count = place_on_grid(parsed.delete([5, 6]), "10ms", str)
        assert (count, steps[:6].tolist()) == (400, [0, 1, 2, 3, 4, 7])


def test_a_row_from_1970_is_told_before_the_grid_up_to_it_is_made():
    times = pd.DatetimeIndex(["1970-01-01", *pd.date_range("2024-01-01", periods=30, freq="s")]).as_unit("s")
    with pytest.raises(UserError, match=r"31 of the 1,704,067,2\d\d steps .* from 1970-01-01 .* rows that lie far off"):
        fill_grid(RawSeries("", times, np.zeros((31, 1)), str), "s", "sensor.csv")


def test_a_number_that_is_no_time_is_not_taken_for_nanoseconds():
    assert parse_times([2024, 2025.0], str).tolist() == [pd.Timestamp("2024"), pd.Timestamp("2025")]
    for written in (45_000.5, 1.5, 123_456_789_012):
        with pytest.raises(UserError, match="is no time"):
            parse_times([written], str)


def test_months_stamped_within_are_told_so():
    times = pd.date_range("2005-01-01", periods=30, freq="MS") + pd.Timedelta(days=14)
    with pytest.raises(UserError, match="first or their last day, not by day 15"):
        place_on_grid(times, infer_frequency(times), str)
    quarters = pd.date_range("2005-06-01", periods=30, freq="QS-JUN")
    with pytest.raises(UserError, match="are frequencies mixed"):
        place_on_grid(quarters, "QS-JAN", str)


def test_where_both_readings_are_as_regular_what_training_read_is_meant():
    day = pd.date_range("2023-03-04", periods=24, freq="h")
    for form, alone in (("%d.%m.%Y %H:%M", True), ("%d/%m/%Y %H:%M", False)):
        written = day.strftime(form).tolist()
        assert day_stands_first(written) is alone
        for trained in (False, True):
            assert day_stands_first(written, in_training=trained) is trained
            month = 3 if trained else 4
            assert parse_times(written, str, trained)[0] == pd.Timestamp(2023, month, 7 - month)
    assert day_stands_first(["01/02/2023", "13/02/2023"], in_training=False) is True  # there is no 13th month
    assert day_stands_first(["2023-02-01", "2023-02-02"], in_training=True) is None


def test_the_same_hour_of_the_week_has_the_same_place_in_day_and_week():
    times = pd.date_range("2024-01-01", periods=24 * 14, freq="h")
    features = calendar_features(times, "h")
    np.testing.assert_array_equal(features[:168, :10], features[168:, :10])
    assert len(np.unique(features[:168, :10].round(5), axis=0)) == 168


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "the file is empty (0 bytes)"),
        ("date,units\n", "has a header and no rows"),
        ("date,units\n2024-01-01,1\n2024-01-02,x\n", "line 3, column units: 'x' is no number"),
        (
            "date;units\n2024-01-01;1,5\n",
            "'1,5' is no number; if the comma is the decimal sign: data.decimal_comma=true",
        ),
        ("date;units\n2024-01-01;1,234\n", "comma=true; if it is between thousands: write the number without it"),
        ("date,units\n2024-01-01,1\n2024-01-02,inf\n", "line 3, column units: is infinite"),
        ("date,units\n2024-01-01,1\n,2\n", "line 3, column date: the time is missing"),
        ("date,units\n2024-01-01,1\nsoon,2\n", "line 3, column date: 'soon' is no time"),
        ("day,units\n2024-01-01,1\n", "name another by data.time: Valid: day, units"),
        ("date,sold\n2024-01-01,1\n", "name another by data.target: Valid: date, sold"),
        (
            "date,units\n2024-01-02,1\n2024-01-01,2\n",
            "line 3: the time 2024-01-01 00:00:00 is before that of the row above",
        ),
        (
            "date,units\n2024-01-01,1\n2024-01-02,1\n2024-01-02,2\n",
            "line 4: the time 2024-01-02 00:00:00 stands there twice",
        ),
        ("date,units\n2024-01-01,1\n2024-01-02,1\n", "has 2 rows, too few to tell how far apart they are"),
        (
            "date,units\n" + "".join(f"2024-01-{day:02},1\n" for day in (1, 2, 3, 4)) + "2024-01-04 12:00,1\n",
            "line 6: 2024-01-04 12:00:00 is no step of the frequency D from 2024-01-01 00:00:00: are frequencies mixed?",
        ),
        (
            "date,units\n" + "".join(f"2024-01-{day:02},1\n" for day in range(1, 10)),
            "train has 6 steps, and data.context_length=7 + data.prediction_length=3 = 10 are needed",
        ),
        (
            "date,units\n" + "".join(f"2024-{month:02}-{day:02},\n" for month in (1, 2) for day in range(1, 29)),
            "nothing is seen in any window of train: its targets are all missing",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_line(tmp_path, written, told):
    path = tmp_path / "a.csv"
    path.write_text(written)
    with pytest.raises(UserError) as error:
        of_file(path, *SHORT, "data.target=[units]")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.known=[units]", "units stands in them twice"),
        ("data.sizes=[0.5,0.1,0.1]", "the shares are not 1 together"),
        ("data.sizes=[100,20,20]", "has 60 steps, and data.sizes=[100, 20, 20] are 140"),
        ("data.frequency=often", "data.frequency=often: is none"),
        ("data.frequency=h", "set data.frequency to the right one"),
        ("data.time=units", "data.time=units: is a column of numbers too"),
    ],
)
def test_what_is_wrong_with_an_option_is_told_in_one_line(tmp_path, override, told):
    with pytest.raises(UserError) as error:
        of_file(table(tmp_path / "a.csv"), *SHORT, "data.target=[units]", override)
    assert told in str(error.value)


def test_row_numbers_that_pandas_wrote_are_not_forecast(tmp_path):
    rows = pd.read_csv(table(tmp_path / "a.csv"))
    rows.to_csv(tmp_path / "b.csv")
    pd.read_csv(tmp_path / "b.csv").to_csv(tmp_path / "c.csv", index=False)  # "Unnamed: 0"
    for name in "bc":
        assert of_file(tmp_path / f"{name}.csv", *SHORT).spec.columns.targets == ("units",)


def test_decimal_commas_and_parquet_are_read_as_the_rest(tmp_path):
    values = np.round(np.sin(np.arange(60)) * 1000, 2)
    rows = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=60), "units": values})
    rows.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(
        "date;units\n" + "\n".join(f"{day:%Y-%m-%d};{str(value).replace('.', ',')}" for day, value in rows.to_numpy())
    )
    one = of_file(tmp_path / "a.parquet", *SHORT)
    two = of_file(tmp_path / "a.csv", *SHORT, "data.decimal_comma=true")
    assert torch.equal(one.table, two.table)


def test_a_point_that_cannot_be_between_thousands_is_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("date;units\n2024-01-01;1.234,5\n2024-01-02;-7\n2024-01-03;1.5\n")
    with pytest.raises(UserError, match=r"line 4, column units: '1\.5': its point cannot be between thousands"):
        of_file(path, *SHORT, "data.decimal_comma=true")


def test_a_series_that_never_moves_is_no_trouble(tmp_path):
    data = of_file(table(tmp_path / "a.csv", units=np.full(60, 3.0)), *SHORT)
    assert data.table[:, 0].eq(0).all()
    assert "note: train has no change in units" in "\n".join(data.describe())


def test_the_best_forecast_of_the_load_curve_is_the_floor_it_says():
    data = build_data(composed("task=forecasting", "data.sizes=[4000,1000,0]"))
    data.prepare_data()
    assert data.splits == ("train", "validation")
    mean, std = data.ideal("validation")
    batch = torch.cat([batch.future(24) for batch in data.eval_dataloader("validation")], dim=1)[..., 0].T
    error = (batch.numpy() - mean[..., 0]) * data.spec.scale[0][0]
    assert error.std() == pytest.approx(25, rel=0.03)
    assert std * data.spec.scale[0][0] == pytest.approx(25)
    assert abs(error.mean()) < 2


@pytest.mark.parametrize("wrong", ["data.noise_seed=-1", "data.sizes=[100,60,-20]", "data.sizes=[100,60,inf]"])
def test_numbers_that_cannot_be_are_told_before_they_are_taken(wrong):
    with pytest.raises(UsageError, match="input should be"):
        check(composed("task=forecasting", wrong))


def test_days_before_months_are_told_in_a_folder_of_the_hubs_layout_too(tmp_path):
    rows = [
        f"{time:%d/%m/%Y},{step}.0" for step, time in enumerate(pd.date_range("2001-01-01", periods=300, freq="MS"))
    ]
    (tmp_path / "train.csv").write_text("\n".join(["month,value", *rows]) + "\n")
    folder = ["data=sunspots", f"data.path={tmp_path}", "data.time=month"]
    data = build_data(composed("task=forecasting", *folder, "data.context_length=48"))
    data.prepare_data()
    assert (data.spec.frequency, data.spec.day_first) == ("MS", True)


@pytest.mark.skipif(not ETT.exists(), reason="needs the ETT data")
def test_etth1_is_split_as_published():
    data = build_data(
        composed(
            "task=forecasting", "data=etth1", f"data.path={ETT}", "data.context_length=96", "data.prediction_length=96"
        )
    )
    data.prepare_data()
    assert {split: len(data.windows(split)[0]) for split in data.splits} == {
        "train": 8640 - 191,
        "validation": 2880 - 95,
        "test": 2880 - 95,
    }
    assert data.spec.columns.targets == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    # As scikit-learn's scaler, which the published code uses, has them on the first 8,640 rows.
    assert data.table[:8640, :7].mean(0).abs().max() < 1e-4
    torch.testing.assert_close(data.table[:8640, :7].std(0, correction=0), torch.ones(7), rtol=1e-4, atol=0)


def test_the_rate_of_a_piece_follows_its_length():
    pieces = list(SeriesLanes(torch.randn(400, 2), Layout(2, 0, 0), 2, 16, 0, 0, 1, vary=3))
    assert len({piece.scored for piece in pieces}) > 1
    for piece in pieces:
        assert piece.rate == piece.scored / 16
