"""A benchmark, and all that it starts, on one thread of one core."""

import os
import sys


def hold_to_one_core(core: int | None = None, **environment: str) -> None:
    """Before torch is loaded: begins the script anew where its environment is another.

    Args:
        core: which one; None: the first that this process may have.
        environment: what else is to be set, for libraries that do not listen to OMP_NUM_THREADS.
    """
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.environ.update(environment, OMP_NUM_THREADS="1")
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0)) if core is None else core})  # children are held to it too
