"""W&B offline: what a run keeps there, read back; and that it never waits."""

import json
import subprocess
import sys
import time

import pytest
from conftest import SMALL, door

from unroll import wandb_logger

RUN = [item for item in SMALL if not item.startswith("logger")]


def test_a_run_is_kept_offline_with_its_config_and_metrics(tmp_path):
    folder = tmp_path / "run"
    began = time.monotonic()
    result = door(
        "train.py", *RUN, "trainer.max_steps=10", f"hydra.run.dir={folder}", WANDB_API_KEY="x" * 40, HOME=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < 60
    assert "does not answer: W&B records this run offline" in result.stderr or "W&B online" in result.stderr
    (kept,) = (folder / "wandb").glob("offline-run-*")
    shown = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(kept)], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    for expected in ("hidden_size", "val/bpc", "test/bpc", "train/loss", "samples"):
        assert expected in shown.stdout, expected
    assert json.loads((folder / "wandb_run.json").read_text())["id"] in kept.name


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
