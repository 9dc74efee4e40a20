"""The command lines as a user starts them, without the seconds that each would take to load its libraries."""

import faulthandler
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

ROOT = Path(__file__).parents[1]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["hydra.main", "unroll.job", "unroll.evaluation", "unroll.comparison.review", "unroll.predicting.streaming"]
)
_SECONDS = 300


def door(
    *arguments: str, cwd: Path = ROOT, given: str | bytes = "", fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[Any]:
    """Run a door as a user would, without network or account, in a process of its own that has its libraries loaded.

    Args:
        arguments: the command, without `python`.
        cwd: where.
        given: on standard input; bytes, and what it says is bytes too.
        fresh: by a new interpreter. So is, in any case, what starts others by the command that it was started by.
        environment: beside what is there.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    environment = {**clean, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    command = [str(ROOT / argument) if argument.endswith(".py") else argument for argument in arguments]
    if fresh or command[0].startswith("-") or {"-m", "trainer=ddp"} & set(command):
        text = isinstance(given, str)
        return subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            env=environment,
            input=given,
            capture_output=True,
            text=text,
            timeout=_SECONDS,
        )
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("input", "output", "errors")]
        streams[0].write_bytes(given.encode() if isinstance(given, str) else given)
        process = begun(_command, command, cwd, environment, streams)
        process.join(_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, _SECONDS, *(path.read_bytes() for path in streams[1:]))
        told = [path.read_bytes() for path in streams[1:]]
        if isinstance(given, bytes):
            return subprocess.CompletedProcess(command, process.exitcode, *told)
        return subprocess.CompletedProcess(command, process.exitcode, *(each.decode() for each in told))


def together(folder: Path, count: int) -> None:
    """Run a run's folder in several processes on a CPU, as torchrun starts them.

    Args:
        folder: with its config.yaml, which says `trainer=ddp`.
        count: of processes.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    of_all = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    of_all |= {"TORCHELASTIC_RUN_ID": "tests", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": str(count)}
    ranks = [begun(_rank, folder, {**of_all, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(count)]
    left, until = list(ranks), time.monotonic() + _SECONDS
    while left and all(not process.exitcode for process in ranks) and time.monotonic() < until:
        wait([process.sentinel for process in left], until - time.monotonic())
        left = [process for process in left if process.is_alive()]
    for process in left:  # it would wait for one that has failed
        process.kill()
    assert [process.exitcode for process in ranks] == [0] * count


def _rank(folder: Path, environment: dict[str, str]) -> None:
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from unroll.job import run

    os.environ.update(environment)
    rank_zero_only.rank = int(environment["RANK"])  # which it looks up when it is loaded
    faulthandler.dump_traceback_later(_SECONDS - 10)  # where it waits, if it does
    run(folder)


def begun(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process of its own that has its libraries loaded."""
    process = _FORKS.Process(target=target, args=arguments)
    process.start()
    return process


def _command(command: Sequence[str], cwd: Path, environment: dict[str, str], streams: list[Path]) -> None:
    """What an interpreter does that is started with this command."""
    for number, path in enumerate(streams):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = list(command)
    sys.path.insert(0, str(Path(command[0]).parent))
    with mock.patch("os.execv", _in_its_place):
        _main(lambda: runpy.run_path(command[0], run_name="__main__"))


def _in_its_place(_: str, command: list[str]) -> None:
    module, *arguments = command[command.index("-m") + 1 :]
    sys.argv = [module, *arguments]
    sys.path[0] = os.getcwd()
    del sys.modules[module]
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    _main(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))


def _main(main: Callable[[], object]) -> None:
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
