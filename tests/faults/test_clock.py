"""A clock that goes back: a laptop that wakes, a machine whose time is set while it trains."""

import json
import time

import pandas
from conftest import composed
from test_tasks import small

from unroll.job import run


def test_a_clock_that_goes_back_changes_no_duration(tmp_path, monkeypatch):
    clock = [time.time()]

    def back() -> float:
        clock[0] -= 60.0
        return clock[0]

    monkeypatch.setattr(time, "time", back)
    began = time.perf_counter()
    composed(*small("recall"), folder=tmp_path / "run")
    run(tmp_path / "run")
    took = time.perf_counter() - began
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert 0 < summary["train_seconds"] < took
    seconds = pandas.read_csv(tmp_path / "run/metrics.csv")["train_seconds"].dropna()
    assert len(seconds) and seconds.is_monotonic_increasing and 0 <= seconds.min() <= seconds.max() < took
