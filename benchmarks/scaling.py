"""What a second process brings, and what the exchange of gradients costs: measured, and by the model of docs/scaling.md.

    python benchmarks/scaling.py [--repeats 3]

Time of a step = time of one process on its share of the batch + time to add up the gradients. The second is measured apart,
as the time of gloo's all-reduce over bytes (a + bytes / b). One thread a process.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

ROOT = Path(__file__).parents[1]
WARM, STEPS = 20, 60
SIZES = (128, 256, 512)
BATCH, LENGTH = 32, 64


def exchange(rank: int, port: int, path: str) -> None:
    """Time of an all-reduce for a few sizes, the median of thirty each."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    lines = []
    for numbers in (1_000, 10_000, 100_000, 1_000_000, 4_000_000):
        tensor = torch.ones(numbers)
        times = []
        for _ in range(30):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(tensor)
            times.append(time.perf_counter() - began)
        lines.append(f"{4 * numbers},{statistics.median(times)}")
    if rank == 0:
        Path(path).write_text("\n".join(lines))
    dist.destroy_process_group()


def seconds_a_step(folder: Path, hidden: int, batch: int, processes: int) -> tuple[float, int]:
    """Of training, once warm; and the number of parameters."""
    trainer = ["trainer=ddp", f"trainer.devices={processes}"] if processes > 1 else []
    settings = [
        f"model.hidden_size={hidden}",
        f"data.batch_size={batch}",
        f"truncation.length={LENGTH}",
        "truncation=k64",
    ]
    budget = [f"trainer.max_steps={WARM + STEPS}", f"trainer.log_every_n_steps={WARM}", "trainer.limit_val_batches=0"]
    rest = [
        "trainer.accelerator=cpu",
        "logger=none",
        "test=false",
        f"hydra.run.dir={folder}",
        "callbacks.last.every_n_steps=1000",
    ]
    subprocess.run(
        [sys.executable, "train.py", *trainer, *settings, *budget, *rest],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with (folder / "metrics.csv").open() as file:
        logged = [float(row["train_seconds"]) for row in csv.DictReader(file) if row["train_seconds"]]
    weights = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return (logged[-1] - logged[0]) / STEPS, sum(weight.numel() for weight in weights.values())


def main() -> None:
    """Measure, fit, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        mp.spawn(exchange, args=(29_517, str(work / "exchange.csv")), nprocs=2)
        points = [tuple(map(float, line.split(","))) for line in (work / "exchange.csv").read_text().splitlines()]
        latency = points[0][1]
        bandwidth = (points[-1][0] - points[2][0]) / (points[-1][1] - points[2][1])
        print(f"all-reduce of two processes: {latency * 1e6:.0f} us + bytes / {bandwidth / 1e9:.2f} GB/s")
        print("hidden  parameters  one, all  one, half  two by the model  two  measured/model  gain")
        for hidden in SIZES:
            found: dict[tuple[int, int], list[float]] = {}
            for repeat in range(options.repeats):
                for batch, processes in ((BATCH, 1), (BATCH // 2, 1), (BATCH, 2)):
                    folder = work / f"{hidden}_{batch}_{processes}_{repeat}"
                    seconds, parameters = seconds_a_step(folder, hidden, batch, processes)
                    found.setdefault((batch, processes), []).append(seconds)
            whole, half, two = (statistics.median(times) for times in found.values())
            model = half + latency + 4 * parameters / bandwidth
            print(
                f"{hidden:6}  {parameters:10,}  {whole * 1e3:5.1f} ms  {half * 1e3:6.1f} ms  {model * 1e3:13.1f} ms  "
                f"{two * 1e3:.1f} ms  {two / model:.2f}  {whole / two:.2f}"
            )


if __name__ == "__main__":
    main()
