"""Texts a second and peak memory of predict.py on a file of 10,000 and of 100,000 lines.

    python benchmarks/labelling.py RUN

RUN is a run of task=sentiment. Memory is the largest resident set of the whole process, as the system accounts it.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path)
options = parser.parse_args()
# Read by hand: what this process imports would count as the memory of those that it starts.
words = list(json.loads((options.run / "tokenizer.json").read_text())["model"]["vocab"])
draw = random.Random(0)
with tempfile.TemporaryDirectory() as name:
    for lines in (10_000, 100_000):
        texts, labels = Path(name) / "texts.txt", Path(name) / "labels.csv"
        with texts.open("w") as file:
            for _ in range(lines):
                file.write(" ".join(draw.choices(words, k=draw.randint(3, 40))) + "\n")
        command = [sys.executable, "predict.py", str(options.run), "--input", str(texts), "--output", str(labels)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(said)
        with labels.open() as file:
            assert sum(1 for _ in file) == lines + 1
        peak = usage.ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024
        (rate,) = re.findall(r"([\d,]+) texts/s", said)
        print(f"{lines:>7,} lines: {rate} texts/s, {peak:,.0f} MiB at most", flush=True)
