"""Unroll: recurrent networks on sequences, and what each choice does."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # `import unroll` stays quick: torch is loaded with the first run, not with the name.
    if name == "load":
        from unroll.runs import load

        return load
    raise AttributeError(f"module 'unroll' has no attribute '{name}'")
