"""A finished run, scored on a split."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from unroll.building import build_data, load_spec
from unroll.checkpoint import AtomicCheckpointIO
from unroll.console import quiet
from unroll.data.base import Data
from unroll.errors import UsageError, UserError, one_line
from unroll.insight.flow_pictures import draw_flow, flow_table, write_flow
from unroll.insight.gradient_flow import gradient_flow, sample
from unroll.insight.units import look_at_units, saliency
from unroll.insight.units_page import write_units_page
from unroll.insight.units_pictures import STEPS, draw_saliency, draw_trajectories, units_table, write_units
from unroll.machine import free_speed
from unroll.runs import checkpoint_path, load, note_last, places, read_config
from unroll.summary import for_json, measured, score_tables, short_name
from unroll.tasks.base import Task
from unroll.writing import written_whole

_LONGEST = 100  # letters of a folder's name


def evaluate(
    folder: Path,
    split: str,
    checkpoint: str,
    data_path: str | None,
    device: str,
    trust: list[str],
    settings: list[str],
) -> dict[str, float]:
    """Score a run's checkpoint, print a table, and write it to evaluation/SPLIT.json, or SPLIT-CHECKPOINT.json
    for another than the best; on other data than the run's own, to evaluation/of_DATA/evaluation/.

    Args:
        folder: the run's.
        split: `train`, `validation`, `test`, or several joined by +.
        checkpoint: `best`, `last`, or a file.
        data_path: replaces the config's data.path.
        device: Lightning's accelerator.
        trust, settings: see `unroll.load`.

    Raises:
        UserError: the folder is no run's, or its data is gone or has changed.
    """
    config, task, data = _loaded(folder, checkpoint, data_path, trust, settings)
    try:
        trainer = lightning.Trainer(
            accelerator=device,
            devices=1,
            precision=config["trainer"]["precision"],
            logger=False,
            default_root_dir=folder,
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,  # a task may follow gradients while it is scored
        )
    except MisconfigurationException as error:
        raise UsageError(f"--device {device}: {one_line(error)}") from None
    trainer.test(task, dataloaders=data.eval_dataloader(split), verbose=False)
    metrics = {name.removeprefix("test/"): value for name, value in measured(trainer).items()}
    place, name = _place(folder, data, data_path, split, checkpoint)
    path = place / "evaluation" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = task.report(data, split, place, []) if checkpoint == "best" else []
    baselines = task.baselines(data, [split])
    found = {
        "split": split,
        "checkpoint": checkpoint_path(folder, checkpoint).stem if checkpoint == "best" else checkpoint,
        "data": data.source,
        "settings": settings,
        "metrics": for_json(metrics),
    }
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(found, indent=2) + "\n")
    rivals = {name: _named(split, found[split]) for name, found in baselines.items()}
    for table in score_tables([split], _named(split, metrics), rivals):
        Console().print(table)
    for line in [f"written to {path}", *told]:
        print(line)
    return metrics


def show_gradient_flow(
    folder: Path,
    split: str,
    checkpoint: str,
    data_path: str | None,
    trust: list[str],
    settings: list[str],
    sequences: int,
) -> None:
    """Measure how far gradients reach in a run's cells; print a table, draw a picture, write the curves.

    Args:
        folder, checkpoint, data_path, trust, settings: see `evaluate`.
        split: whose sequences are followed back.
        sequences: how many of them, at most.

    Raises:
        UserError: see `evaluate`.
    """
    _, task, data = _loaded(folder, checkpoint, data_path, trust, settings)
    batch = sample(task, data, split, sequences)
    flows = gradient_flow(task, lambda: task.last_losses(batch), torch.Generator().manual_seed(1))
    place, name = _place(folder, data, data_path, split, checkpoint)
    picture, table = place / f"figures/gradient_flow_{name}.png", place / f"evaluation/{name}_gradient_flow.csv"
    draw_flow(flows, task.truncation.horizon, picture)
    write_flow(flows, table)
    Console().print(flow_table(flows))
    print(f"written to {picture}, {table}")


def show_units(
    folder: Path,
    split: str,
    checkpoint: str,
    data_path: str | None,
    trust: list[str],
    settings: list[str],
    steps: int,
) -> None:
    """Look at what the units of a run's cells do: a page to read in their colours, the state's path, and what each
    prediction hangs on.

    Args:
        folder, checkpoint, data_path, trust, settings: see `evaluate`.
        split: what is read.
        steps: how much of it, about.

    Raises:
        UsageError: several splits.
        UserError: see `evaluate`; or no cell reads sequence by sequence.
    """
    if "+" in split:
        raise UsageError(f"--split {split}: units are shown on one split")
    _, task, data = _loaded(folder, checkpoint, data_path, trust, settings)
    if not task.truncation.carry_state:
        raise UserError(
            f"{folder}: reads each window from zero (truncation.carry_state=false): no state lasts to be shown"
        )
    reading = task.read_aloud(data, split, steps)
    found = look_at_units(task, lambda: task.last_losses(reading.batch), reading)
    if not found:
        raise UserError(f"{folder}: no cell of this run reads one sequence at a time; there are no units to show")
    place, name = _place(folder, data, data_path, split, checkpoint)
    page, table = place / f"evaluation/{name}_units.html", place / f"evaluation/{name}_units.csv"
    pictures = [place / f"figures/{kind}_{name}.png" for kind in ("trajectories", "saliency")]
    left = write_units_page(found, f"What units do: {folder.name}, {split}", page)
    write_units(found, table)
    draw_trajectories(found, pictures[0])
    short = task.read_aloud(data, split, STEPS)
    predictions, tables = saliency(task, lambda: task.predictions(short.batch))
    draw_saliency(predictions, tables, {stack: short.words_of(stack)[0] for stack in tables}, pictures[1])
    Console().print(units_table(found))
    if left:
        print(f"note: {left:,} units, those that are told least of, had no room on the page; --steps less makes some")
    print(f"written to {page} (opens in a browser), {table}, {', '.join(map(str, pictures))}")


def _loaded(
    folder: Path, checkpoint: str, data_path: str | None, trust: list[str], settings: list[str]
) -> tuple[dict[str, Any], Task, Data]:
    config = read_config(folder)
    given = [key for key in places(config) if config["data"][key] is not None]
    others = [key for key in given if key != "path"]
    moved = f"python train.py resume={folder} {' '.join(f'data.{key}=PLACE' for key in given)}"
    if data_path is not None:
        if "path" not in config["data"]:
            raise UserError(f"--data-path: the data of {folder} is built in, it has no path")
        if others:
            raise UserError(
                f"--data-path: the data of {folder} is in data.{others[0]}={config['data'][others[0]]} too, which would stay "
                f"as it was; where all of it has been moved: {moved}"
            )
        config["data"]["path"] = data_path
    quiet()
    if config["free_speed"]:
        free_speed()
    note_last(folder, checkpoint)
    task = load(folder, checkpoint, trust, settings)
    try:
        data = build_data(config)
        data.adopt(load_spec(config, folder))
        data.prepare_data()
    except UserError as error:  # said for training
        said = f"{error}; where the data has been moved: {moved}"
        if not others:
            said = re.sub(r"(?<![\w./-])data\.path\b", "--data-path", str(error))
        raise type(error)(said) from None
    if not data.is_unchanged(folder):
        print(f"note: {data.source}: not the very data that {folder} was trained with", file=sys.stderr)
        for line in data.describe():
            print(line, file=sys.stderr)
    return config, task, data


def _place(folder: Path, data: Data, data_path: str | None, split: str, checkpoint: str) -> tuple[Path, str]:
    """Where results go, and how they are called: those of other data than the run's own have a folder for themselves."""
    name = split if checkpoint == "best" else f"{split}-{Path(checkpoint).stem}"
    if data_path is None or data.is_unchanged(folder):
        return folder, name
    source = re.sub(r"\W+", "_", data_path).strip("_")[-_LONGEST:]
    return folder / "evaluation" / f"of_{source}", name


def _named(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{short_name(split)}/{name}": value for name, value in metrics.items()}
