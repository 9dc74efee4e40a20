"""Peak memory of encoding and of training, for 10 MB and for 1 GB of text.

    python benchmarks/memory.py

The text is generated. Each figure is the largest resident set of a whole train.py process, as the system accounts it.
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = [f"{a}{b}" for a in "bcdfghjklmnprstvw" for b in ("a", "e", "in", "or", "um", "ight")]


def write(path: Path, megabytes: int) -> None:
    """Text of random words."""
    chance = random.Random(1)
    with path.open("w") as file:
        for _ in range(megabytes):
            block = " ".join(chance.choices(WORDS, k=400_000))
            file.write(block[:1_000_000])


def peak(text: Path, folder: Path) -> tuple[float, str]:
    """MiB that one run took at most, and what it printed."""
    with (folder / "out.txt").open("w+") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "train.py",
                "logger=none",
                "data=text_files",
                f"data.path={text}",
                "data.batch_size=64",
                f"data.cache_dir={folder}/cache",
                f"hydra.run.dir={folder}/run{len(list(folder.iterdir()))}",
                "trainer.max_steps=300",
                "trainer.limit_val_batches=50",
                "test=false",
            ],
            cwd=ROOT,
            stdout=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        printed = output.read()
    if status:
        sys.exit(printed)
    return usage.ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024, printed


with tempfile.TemporaryDirectory() as name:
    for megabytes in (10, 1000):
        folder = Path(name) / str(megabytes)
        folder.mkdir()
        write(folder / "text.txt", megabytes)
        first, said = peak(folder / "text.txt", folder)
        assert "encoding" in said
        second, said = peak(folder / "text.txt", folder)
        assert "encoding" not in said
        print(f"{megabytes:5} MB: {first:,.0f} MiB encoding and training, {second:,.0f} MiB training again", flush=True)
