"""W&B offline: what a run keeps there, read back; and that it never waits."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import yaml
from conftest import ROOT, SMALL, door
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb.sdk.lib.config_util import save_config_file_from_dict

from unroll import wandb_logger
from unroll.comparison import wandb_project
from unroll.comparison.run import read_runs
from unroll.errors import UsageError, UserError

RUN = [item for item in SMALL if not item.startswith("logger")]


def records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What W&B has of a run, by kind."""
    (kept,) = (folder / "wandb").glob("offline-run-*")
    shown = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(kept)], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for line in shown.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with W&B, where there is a key and no network."""
    home = tmp_path_factory.mktemp("home")
    began = time.monotonic()
    keep = ["trainer.max_steps=10", "logger.checkpoints=true", f"hydra.run.dir={home}/run"]
    result = door("train.py", *RUN, *keep, WANDB_API_KEY="x" * 40, HOME=str(home))
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < 60
    assert "does not answer: W&B records this run offline" in result.stderr or "W&B online" in result.stderr
    return home / "run"


def merged(kept: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The summary as it stands at the end."""
    return {name: value for item in kept["summary"] for name, value in item["update"].items()}


def test_a_run_is_kept_offline_with_all_that_was_promised(folder):
    kept = records(folder)
    config = kept["run"][0]["config"]["update"]
    ours = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["overrides"][: len(RUN)] == RUN
    assert {key: config[key] for key in ours} == ours
    assert kept["run"][0]["run_id"] == json.loads((folder / "wandb_run.json").read_text())["id"]
    rows = [item["item"] for item in kept["history"]]
    trained = next(row for row in rows if "train/loss" in row)
    assert {"trainer/global_step", "train_seconds", "characters", "gradient_norm", "learning_rate"} <= set(trained)
    validated = next(row for row in rows if "val/bpc" in row)
    assert {"trainer/global_step", "train_seconds", "characters"} <= set(validated)
    assert any("samples.nrows" in row for row in rows)
    assert kept["stats"]  # of the system
    summary = json.loads((folder / "summary.json").read_text())
    last = merged(kept)
    assert last["summary"] == summary
    assert {name: last[name] for name in summary["metrics"]} == summary["metrics"]
    versions = [artifact for artifact in kept["artifact"] if artifact["type"] == "model"]
    assert [sorted(artifact["aliases"]) for artifact in versions] == [["best", "latest"], ["latest"]]
    for artifact, name in zip(versions, ("best", "last"), strict=True):
        files = {item["path"]: Path(item["local_path"]) for item in artifact["manifest"]["contents"]}
        assert set(files) == {
            f"checkpoints/{name}.ckpt",
            "config.yaml",
            "fingerprint",
            "metrics.csv",
            "settings.json",
            "summary.json",
            "vocabulary.json",
        }
        for path, copy in files.items():
            assert copy.is_relative_to(folder / "wandb")
            assert copy.read_bytes() == (folder / path).read_bytes()


@pytest.mark.parametrize("group", [None, "2026-01-31_12-00-00"])
@pytest.mark.parametrize("by_agent", [False, True])
def test_a_project_is_read_from_wandb_as_the_runs_folders_are(folder, group, by_agent, tmp_path, monkeypatch):
    kept = records(folder)
    config = kept["run"][0]["config"]["update"]

    class Kept:  # the run, as W&B gives what was sent to it
        id = "run12345"
        summary_metrics = merged(kept)

        def scan_history(self):
            return (item["item"] for item in kept["history"])

    Kept.group = group
    Kept.config = {"model": "lstm", "run": config} if by_agent else config
    foreign = SimpleNamespace(id="x", group=None, config={"lr": 1}, summary_metrics={}, scan_history=lambda: [])

    class Api:
        def __init__(self, timeout):
            pass

        def runs(self, path, filters, order):
            assert (path, filters) == ("team/project", {"group": group} if group else None)
            return [foreign, Kept()]

    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setattr(wandb_project, "unreachable", lambda timeout: "")
    fetched = wandb_project.fetch_project("team/project" + (f"/{group}" if group else ""), tmp_path)
    assert fetched == tmp_path / "team/project" / (group or "")
    (theirs,), (ours,) = read_runs([fetched]), read_runs([folder])
    assert theirs.name == "run12345" if group else "runs/run12345"
    assert (theirs.state, theirs.value, theirs.overrides) == (ours.state, ours.value, ours.overrides)
    assert theirs.config == ours.config
    assert theirs.summary == ours.summary
    for against in ("step", "seconds"):
        assert theirs.curve(against) == ours.curve(against)
    monkeypatch.setattr(Api, "runs", lambda self, path, filters, order: [foreign])
    with pytest.raises(UserError, match=r"none of the 1 runs there is one of Unroll"):
        wandb_project.fetch_project("team/project", tmp_path)


def test_a_run_that_goes_on_is_the_same_run_there(folder, tmp_path):
    again = tmp_path / "run"
    shutil.copytree(folder, again)
    result = door("train.py", f"resume={again}", "trainer.max_steps=12", "logger.mode=offline")
    assert result.returncode == 0, result.stderr
    kept = list((again / "wandb").glob("offline-run-*"))
    assert len(kept) == 2
    assert {path.name.rpartition("-")[2] for path in kept} == {
        json.loads((folder / "wandb_run.json").read_text())["id"]
    }


def test_a_project_that_cannot_be_had_is_one_line(tmp_path):
    result = door("compare.py", "wandb:team/project", HOME=str(tmp_path), WANDB_API_KEY="")
    assert result.returncode == 1
    assert result.stderr == "error: wandb:team/project: no W&B key here (`wandb login` sets one)\n"
    with pytest.raises(UsageError, match=r"wandb:team: is not of the form wandb:ENTITY/PROJECT or"):
        wandb_project.fetch_project("team", tmp_path)


def test_what_an_agent_starts_is_the_sweeps_run_with_its_whole_config(tmp_path, monkeypatch):
    sweep = yaml.safe_load((ROOT / "sweep.yaml").read_text())
    assert sweep["metric"] == {"name": "val/bpc", "goal": "minimize"}
    chosen = {"model": "gru", "truncation": "k8", "optimizer.lr": 0.002}
    assert set(chosen) == set(sweep["parameters"])
    # As `wandb agent` makes the command, and what it hands over.
    arguments = create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    macros = {"env": [], "interpreter": [sys.executable], "program": [str(ROOT / sweep["program"])], **arguments}
    command: list[str] = []
    for part in create_sweep_command(sweep["command"]):
        command += macros[part[2:-1]] if part.startswith("${") else [part]
    monkeypatch.setenv("WANDB_SWEEP_ID", "abcd1234")
    monkeypatch.setenv("WANDB_RUN_ID", "run12345")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(tmp_path / "parameters.yaml"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    save_config_file_from_dict(tmp_path / "parameters.yaml", {key: {"value": value} for key, value in chosen.items()})
    small = [item for item in RUN if item.partition("=")[0] not in chosen]
    result = subprocess.run(
        [*command, *small, "trainer.max_steps=5", f"hydra.run.dir={tmp_path}/run"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    kept = records(tmp_path / "run")
    assert kept["run"][0]["run_id"] == "run12345"
    config = kept["run"][0]["config"]["update"]
    ours = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert {key: config[key] for key in chosen} == chosen
    assert {key: config["run"][key] for key in ours} == ours
    assert (ours["choices"]["model"], ours["choices"]["truncation"], ours["optimizer"]["lr"]) == ("gru", "k8", 0.002)
    assert not ours["test"]


def test_auto_is_offline_unless_someone_is_logged_in(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(wandb_logger, "_answers", lambda url, timeout: True)
    assert wandb_logger._mode("auto", 1) == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_logger._mode("auto", 1) == "disabled"
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert wandb_logger._mode("auto", 1) == "online"
    monkeypatch.setattr(wandb_logger, "_answers", lambda url, timeout: False)
    assert wandb_logger._mode("auto", 1) == "offline"
    assert wandb_logger._mode("online", 1) == "offline"


@pytest.mark.parametrize("mode", ["offline"])
def test_offline_stays_offline(mode, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_logger._mode(mode, 1) == "offline"
