"""Weights & Biases that never asks, never hangs, and never stops a run."""

import json
import netrc
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

from lightning.pytorch.loggers import WandbLogger
from pydantic import PositiveInt

Mode = Literal["auto", "online", "offline"]

_DEFAULT_HOST = "https://api.wandb.ai"


def wandb_logger(
    folder: Path,
    config: dict[str, Any],
    name: str,
    tags: list[str],
    group: str | None,
    project: str,
    entity: str | None,
    mode: Mode,
    timeout: PositiveInt,
) -> WandbLogger | None:
    """A W&B run for one training run, begun or, for a resumed one, gone on with; None where W&B cannot run at all.

    Args:
        folder: the run's folder; W&B's files go into its wandb/.
        config: the whole resolved config, kept with the run.
        name, tags: how the run is called there.
        group: the sweep that it belongs to.
        project, entity: where on W&B.
        mode: `auto` is online if WANDB_MODE, WANDB_API_KEY or a netrc entry says that someone is logged in and the
            server answers, else offline.
        timeout: seconds to wait for the server, before the run goes on offline.
    """
    import wandb

    # One id for a run, however often it is resumed.
    identity = folder / "wandb_run.json"
    stored = json.loads(identity.read_text()) if identity.exists() else {"id": secrets.token_hex(4)}
    chosen = _mode(mode, timeout)
    for attempt in dict.fromkeys((chosen, "offline")):
        try:
            run = wandb.init(
                dir=folder,
                project=project,
                entity=entity,
                id=stored["id"],
                name=name,
                tags=tags,
                group=group,
                config=config,
                mode=attempt,  # type: ignore[arg-type]
                resume="allow" if attempt == "online" else None,
                settings=wandb.Settings(silent=True, console="off", init_timeout=timeout, x_disable_meta=False),
            )
        except Exception as error:  # whatever it is, training is worth more than its record elsewhere
            print(f"note: W&B {attempt}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        identity.write_text(json.dumps({"id": run.id, "project": project, "entity": entity}))
        return WandbLogger(experiment=run)
    print("note: this run is not recorded with W&B; metrics.csv has its numbers", file=sys.stderr)
    return None


def _mode(mode: Mode, timeout: int) -> str:
    if mode == "offline" or (mode == "auto" and not _logged_in()):
        return "offline"
    if mode == "auto" and os.environ.get("WANDB_MODE"):
        wanted = os.environ["WANDB_MODE"]
        if wanted != "online":
            return wanted
    host = os.environ.get("WANDB_BASE_URL", _DEFAULT_HOST)
    if not _has_key():  # wandb would ask for one
        print("note: no W&B key here (`wandb login` sets one): this run is recorded offline", file=sys.stderr)
        return "offline"
    if not _answers(host, timeout):
        print(f"note: {host} does not answer: W&B records this run offline", file=sys.stderr)
        return "offline"
    return "online"


def _logged_in() -> bool:
    return bool(os.environ.get("WANDB_MODE")) or _has_key()


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", _DEFAULT_HOST)).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _answers(url: str, timeout: int) -> bool:
    if getproxies():
        return True  # only a request can tell; `timeout` bounds it
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or 443), timeout=min(timeout, 5)).close()
    except OSError:
        return False
    return True
