"""The runs of a W&B project, brought into folders that can be read like one's own."""

import json
import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unroll.errors import UsageError, UserError, one_line
from unroll.runs import CONFIG, FAILURE, SUMMARY
from unroll.wandb_logger import unreachable
from unroll.writing import write_csv, written_whole

_PATIENCE = 10  # seconds


def fetch_project(name: str, folder: Path) -> Path:
    """Write what W&B has of a project's runs, but for checkpoints and pictures, as a run's folder each.

    Args:
        name: ENTITY/PROJECT, or ENTITY/PROJECT/GROUP for the runs of one sweep.
        folder: where to: ENTITY/PROJECT/GROUP/ID in it. What is there of the same runs is written anew, others stay.

    Returns:
        The folder of the project, or of the group.

    Raises:
        UsageError: another form of name.
        UserError: W&B does not answer, does not know the project, or has none of our runs in it.
    """
    import wandb

    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise UsageError(f"wandb:{name}: is not of the form wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/GROUP")
    reason = unreachable(_PATIENCE)
    if reason:
        raise UserError(f"wandb:{name}: {reason}")
    filters = {"group": parts[2]} if len(parts) == 3 else None
    try:
        runs = list(wandb.Api(timeout=_PATIENCE).runs("/".join(parts[:2]), filters=filters, order="+created_at"))
        histories = [list(run.scan_history()) for run in runs]
    except Exception as error:  # of many kinds: a wrong key, no such project, a network that ends
        raise UserError(f"wandb:{name}: W&B does not give it: {one_line(error)}") from None
    top = folder.joinpath(*map(_as_file_name, parts[:2]))
    found = 0
    for run, history in zip(runs, histories, strict=True):
        config = run.config.get("run", run.config)  # one level down where an agent of W&B has begun it
        if isinstance(config, dict) and isinstance(config.get("choices"), dict):
            group = _as_file_name(run.group or "runs")
            _write(top / group / _as_file_name(run.id), config, run.summary_metrics, history)
            found += 1
    if not found:
        raise UserError(f"wandb:{name}: none of the {len(runs)} runs there is one of Unroll")
    return top.joinpath(*map(_as_file_name, parts[2:]))


def _as_file_name(name: str) -> str:
    """Whatever it is, it leads nowhere else."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def _write(folder: Path, config: dict[str, Any], summary: dict[str, Any], history: list[dict[str, Any]]) -> None:
    own = {key: value for key, value in config.items() if not key.startswith("_")}
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(own.pop("overrides", [])), folder / ".hydra" / "overrides.yaml")
    with written_whole(folder / CONFIG) as unfinished:
        OmegaConf.save(OmegaConf.create(own), unfinished)
    rows = [_row(item) for item in history if item.get("trainer/global_step") is not None]
    columns = list(dict.fromkeys(["step", *(key for row in rows for key in row)]))
    write_csv(folder / "metrics.csv", columns, [[row.get(key) for key in columns] for row in rows])
    texts = {SUMMARY: None, FAILURE: summary.get("error")}
    if summary.get("summary") is not None:
        texts[SUMMARY] = json.dumps(summary["summary"], indent=2)
    for name, text in texts.items():
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            with written_whole(folder / name) as unfinished:
                unfinished.write_text(f"{text}\n")


def _row(item: dict[str, Any]) -> dict[str, float]:
    numbers = {key: value for key, value in item.items() if isinstance(value, (int, float)) and not key.startswith("_")}
    return {"step": numbers.pop("trainer/global_step"), **numbers}
