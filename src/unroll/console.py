"""What a run says, on the terminal and in its log."""

import logging
import sys
import warnings
from pathlib import Path

log = logging.getLogger("unroll")


def quiet() -> None:
    """Leave out what libraries say that is of no use to a user."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # A loader of ours reads windows from a memory map in microseconds: workers would only slow it down.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings(
        "ignore", message=".*is smaller than the logging interval.*"
    )  # the steps of all epochs count
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
    warnings.filterwarnings(
        "ignore", message=".*recommended to use `self.log.*sync_dist=True.*"
    )  # ours are global already
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")  # one process needs none
    warnings.filterwarnings("ignore", message=".*AMP with fp16 is not supported on CPU.*")  # refused
    warnings.filterwarnings("ignore", message=".*You're resuming from a checkpoint that ended.*")


def log_to(path: Path) -> None:
    """Say what is logged on the terminal, and in a file with the time."""
    log.setLevel(logging.INFO)
    terminal = logging.StreamHandler(sys.stdout)
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.handlers = [terminal, file]
