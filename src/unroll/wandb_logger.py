"""Weights & Biases that never asks, never hangs, and never stops a run."""

import json
import netrc
import os
import secrets
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

from lightning.pytorch.loggers import WandbLogger
from pydantic import PositiveInt

from unroll.errors import one_line
from unroll.runs import read_overrides

Mode = Literal["auto", "online", "offline"]

IDENTITY = "wandb_run.json"
"""Of a run's folder: what W&B calls it."""
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
    checkpoints: bool,
) -> WandbLogger | None:
    """A W&B run for one training run, begun or, for a resumed one, gone on with; None where W&B cannot run at all.

    Args:
        folder: the run's folder; W&B's files go into its wandb/.
        config: the whole resolved config, kept with the run; where a W&B agent has started it one level down, as `run`, since
            what its sweep has chosen stands at the top.
        name, tags: how the run is called there.
        group: the sweep that it belongs to.
        project, entity: where on W&B.
        mode: `auto` is online if WANDB_MODE, WANDB_API_KEY or a netrc entry says that someone is logged in and the
            server answers, else offline.
        timeout: seconds to wait for the server, before the run goes on offline.
        checkpoints: whether the run's end is to hand over its checkpoints, see `log_checkpoints`.
    """
    import wandb

    # One id for a run, however often it is resumed.
    identity = folder / IDENTITY
    stored = json.loads(identity.read_text()) if identity.exists() else {"id": secrets.token_hex(4)}
    chosen = _mode(mode, timeout)
    # What is to be sent with tables and artifacts waits beside the run, too, not in somebody's home.
    os.environ.setdefault("WANDB_DATA_DIR", str(folder.absolute() / "wandb"))
    # Without a home, as in a container, its process writes its own log to the terminal.
    os.environ.setdefault("HOME", os.path.expanduser("~"))
    config = {**config, "overrides": read_overrides(folder)}
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
                config={"run": config} if os.environ.get("WANDB_SWEEP_ID") else config,
                mode=attempt,  # type: ignore[arg-type]
                resume="allow" if attempt == "online" else None,
                settings=wandb.Settings(silent=True, console="off", init_timeout=timeout, x_disable_meta=False),
            )
        except Exception as error:  # whatever it is, training is worth more than its record elsewhere
            print(f"note: W&B {attempt}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        identity.write_text(json.dumps({"id": run.id, "project": project, "entity": entity}))
        return SurvivingLogger(experiment=run)
    print("note: this run is not recorded with W&B; metrics.csv has its numbers", file=sys.stderr)
    return None


class SurvivingLogger(WandbLogger):
    """A run goes on where its record cannot: W&B's own process may have been ended, or its disk be full."""

    _gone = False

    @property
    def experiment(self) -> Any:
        return _Forgiving(super().experiment, self)

    def lost(self, error: Exception) -> None:
        """Tell it once, and let go of W&B's process, which would be asked again when this one ends."""
        import wandb

        if not self._gone:
            self._gone = True
            print(
                f"note: W&B: {one_line(error)}: the run goes on without its record there; metrics.csv has its numbers",
                file=sys.stderr,
            )
            with suppress(Exception, SystemExit):
                wandb.teardown(exit_code=1)


class _Forgiving:
    """A run of W&B, or its summary, whose calls may fail."""

    def __init__(self, part: Any, logger: SurvivingLogger) -> None:
        self._part = part
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if name == "summary":
            return _Forgiving(value, self._logger)
        if not callable(value):
            return value

        def called(*arguments: Any, **options: Any) -> Any:
            try:
                return value(*arguments, **options)
            except Exception as error:  # whatever it is: as above
                self._logger.lost(error)

        return called

    def __getitem__(self, key: str) -> Any:
        return self._part[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})


def log_checkpoints(logger: WandbLogger, folder: Path) -> None:
    """Hand a run's checkpoints over as versions of an artifact, `best` and `latest`.

    Each is a run's folder, as far as evaluate.py, predict.py and resume= need one:
    `wandb artifact get PROJECT/run-ID:best --root FOLDER` brings it back.

    Args:
        logger: of the run.
        folder: the run's.
    """
    import wandb

    beside = [path for path in folder.iterdir() if path.is_file() and path.suffix in (".yaml", ".csv", ".json", "")]
    for name, alias in (("best", "best"), ("last", "latest")):
        path = folder / "checkpoints" / f"{name}.ckpt"
        if not path.exists():
            continue
        artifact = wandb.Artifact(f"run-{logger.experiment.id}", type="model")
        for file in (path, *(file for file in beside if not file.name.startswith(".") and file != folder / IDENTITY)):
            artifact.add_file(str(file), name=str(file.relative_to(folder)))
        logger.experiment.log_artifact(artifact, aliases=[alias])


def _mode(mode: Mode, timeout: int) -> str:
    if mode == "offline" or (mode == "auto" and not _logged_in()):
        return "offline"
    if mode == "auto" and os.environ.get("WANDB_MODE"):
        wanted = os.environ["WANDB_MODE"]
        if wanted != "online":
            return wanted
    reason = unreachable(timeout)
    if reason:
        print(f"note: {reason}: W&B records this run offline", file=sys.stderr)
        return "offline"
    return "online"


def unreachable(timeout: int) -> str:
    """Why W&B cannot be talked to from here; empty if it can, as far as that is seen in so many seconds."""
    if not _has_key():  # wandb would ask for one
        return "no W&B key here (`wandb login` sets one)"
    host = os.environ.get("WANDB_BASE_URL", _DEFAULT_HOST)
    return "" if _answers(host, timeout) else f"{host} does not answer"


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
