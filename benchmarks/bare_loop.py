"""The plain PyTorch loop that overhead.py compares with: nn.Embedding, nn.LSTM, nn.Linear, AdamW, clipping; no more.

Prints the seconds of each step as JSON. Batches are those of the product: contiguous lanes of the same tokens, read
from the same memory map; the C library keeps freed memory, as in the product.
"""

import argparse
import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unroll.machine import keep_freed_memory

parser = argparse.ArgumentParser()
parser.add_argument("tokens", help="a train.npy")
parser.add_argument("--vocabulary", type=int, required=True)
parser.add_argument("--steps", type=int, required=True)
parser.add_argument("--hidden", type=int, default=128)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--length", type=int, default=64)
parser.add_argument("--clock", default="perf_counter", help="of the module time: process_time is of this process alone")
options = parser.parse_args()
clock = getattr(time, options.clock)

keep_freed_memory()
torch.manual_seed(1)
embedding = nn.Embedding(options.vocabulary, 128)
lstm = nn.LSTM(128, options.hidden)
output = nn.Linear(options.hidden, options.vocabulary)
parameters = [*embedding.parameters(), *lstm.parameters(), *output.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=0.004, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

tokens = np.load(options.tokens, mmap_mode="r")
lane = (len(tokens) - 1) // options.batch
inputs = tokens[: options.batch * lane].reshape(options.batch, lane)
targets = tokens[1 : options.batch * lane + 1].reshape(options.batch, lane)
state, position, seconds = None, 0, []
for _ in range(options.steps):
    began = clock()
    if position + options.length > lane:
        state, position = None, 0
    window = slice(position, position + options.length)
    x = torch.from_numpy(inputs[:, window].T.astype(np.int64))
    y = torch.from_numpy(targets[:, window].T.astype(np.int64))
    position += options.length
    h, state = lstm(embedding(x), state)
    state = tuple(part.detach() for part in state)
    loss = F.cross_entropy(output(F.dropout(h, 0.2)).flatten(0, 1), y.flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    seconds.append(clock() - began)
print(json.dumps(seconds))
