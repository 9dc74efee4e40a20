"""Training time of one epoch over texts of many lengths: length buckets and masks, against padding and against packing.

    python benchmarks/variable_lengths.py
    python benchmarks/variable_lengths.py --data sst2 --path FOLDER

The same texts, the same sizes (embedding and LSTM of 128, last output, linear layer, AdamW), one thread; all take turns:

- `buckets`: this project's model on its own batches;
- `padded`: this project's model on batches in random order, each padded to its longest text;
- `padded, torch`: nn.LSTM on the same batches, which reads the padding too and then picks each text's last output;
- `packed, torch`: nn.LSTM on the same batches, packed.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from unroll.building import build_data
from unroll.composing import CONF
from unroll.data.buckets import Buckets
from unroll.data.tokenizing import Sequences
from unroll.machine import free_speed
from unroll.models.seq_to_vec import SeqToVec

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="reviews", help="an option of the group data (default: reviews)")
parser.add_argument("--path", help="its local folder")
parser.add_argument("--config", help="its data.config_name")
parser.add_argument("--texts", type=int, default=3200)
parser.add_argument("--size", type=int, default=128)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()
torch.set_num_threads(1)
free_speed()

overrides = ["task=sentiment", f"data={options.data}"]
overrides += [f"data.path={options.path}"] if options.path else []
overrides += [f"data.config_name={options.config}"] if options.config else []
with initialize_config_dir(str(CONF), version_base="1.3"):
    config = compose("train", [*overrides, f"model.hidden_size={options.size}"])
data = build_data(OmegaConf.to_container(config, resolve=True))
data.prepare_data()
whole, labels = data.encoded("train")
chosen = np.random.default_rng(0).permutation(len(whole))[: options.texts]
sequences = Sequences.joined([Sequences(whole[row], np.array([0, len(whole[row])])) for row in chosen])
labels = labels[chosen]
classes = int(labels.max()) + 1


class Plain(nn.Module):
    """What one writes with torch alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(data.spec.vocab_size, options.size)
        self.lstm = nn.LSTM(options.size, options.size)
        self.output = nn.Linear(options.size, classes)

    def padded(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        y, _ = self.lstm(self.embedding(tokens))
        return self.output(y[lengths - 1, torch.arange(len(lengths))])

    def packed(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(tokens), lengths, enforce_sorted=False)
        return self.output(self.lstm(packed)[1][0][0])


def in_random_order() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches as a shuffling loader gives them."""
    rows = np.random.default_rng(1).permutation(len(sequences))
    batches = []
    for start in range(0, len(rows), options.batch_size):
        some = rows[start : start + options.batch_size]
        lengths = torch.tensor([len(sequences[row]) for row in some])
        tokens = torch.zeros(int(lengths.max()), len(some), dtype=torch.int64)
        for column, row in enumerate(some):
            tokens[: lengths[column], column] = torch.from_numpy(sequences[row].astype(np.int64))
        batches.append((tokens, lengths, torch.from_numpy(labels[some])))
    return batches


def epoch(
    model: nn.Module, answer: Callable[..., Tensor], batches: Iterable[tuple[Tensor, Tensor | None, Tensor]]
) -> float:
    """Seconds of one pass with updates."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    began = time.perf_counter()
    for tokens, lengths, right in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(answer(tokens, lengths), right).backward()
        optimizer.step()
    return time.perf_counter() - began


ours = SeqToVec(data.spec.vocab_size, classes, instantiate(config.model), options.size)
plain = Plain()
random_order = in_random_order()
buckets = Buckets(sequences, labels, options.batch_size, 65536, seed=1)


def bucketed() -> Iterable[tuple[Tensor, Tensor | None, Tensor]]:
    """Ours: the epoch's batches by length."""
    return ((batch.tokens, batch.lengths, batch.labels) for batch in buckets)


ways: dict[str, Callable[[], float]] = {
    "buckets": lambda: epoch(ours, ours, bucketed()),
    "padded": lambda: epoch(ours, ours, random_order),
    "padded, torch": lambda: epoch(plain, plain.padded, random_order),
    "packed, torch": lambda: epoch(plain, plain.packed, random_order),
}
with torch.no_grad():  # the three ways to read a batch of one text are the same computation
    tokens, lengths, _ = random_order[0]
    assert torch.allclose(plain.padded(tokens, lengths), plain.packed(tokens, lengths), atol=1e-5)
seconds: dict[str, list[float]] = {name: [] for name in ways}
for _ in range(options.repeats + 1):  # the first one warms up
    for name in random.sample(list(ways), len(ways)):
        seconds[name].append(ways[name]())
mean = sequences.lengths.mean()
print(f"{options.data}: {len(sequences):,} texts of {mean:.1f} tokens on average, {sequences.lengths.max()} at most")
print(
    "padding: "
    + ", ".join(
        f"{name} {sum(tokens.numel() for tokens, _, _ in batches) / sequences.lengths.sum() - 1:.0%}"
        for name, batches in (("buckets", list(bucketed())), ("random order", random_order))
    )
)
for name in ways:
    ratios = sorted(a / b for a, b in zip(seconds["buckets"][1:], seconds[name][1:], strict=True))
    print(
        f"{name:<14} {statistics.median(seconds[name][1:]):6.2f} s   buckets / this "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
