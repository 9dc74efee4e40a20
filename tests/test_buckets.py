"""Batches of sequences of like lengths: every one once, in an order that can be gone on with."""

import numpy as np
import pytest
import torch

from unroll.data.buckets import Buckets
from unroll.data.tokenizing import PAD, Sequences


def some_sequences(count: int = 1000) -> Sequences:
    lengths = np.random.default_rng(0).integers(1, 60, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(np.arange(offsets[-1], dtype=np.int32) + 2, offsets)


def loader(seed: int | None = 5, **options) -> Buckets:
    sequences = some_sequences()
    return Buckets(
        sequences, np.arange(len(sequences)), **{"batch_size": 16, "batch_tokens": 600, "seed": seed, **options}
    )


def test_an_epoch_has_every_sequence_once_and_little_padding():
    buckets = loader()
    batches = list(buckets)
    assert len(batches) == len(buckets)
    rows = torch.cat([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(1000))
    padded = sum(batch.tokens.numel() for batch in batches)
    real = sum(batch.token_count for batch in batches)
    assert padded < 1.15 * real
    assert all(batch.tokens.numel() <= 600 or batch.tokens.shape[1] == 1 for batch in batches)
    for batch in batches[:20]:
        for column, row in enumerate(batch.rows.tolist()):
            length = len(batch.tokens) if batch.lengths is None else int(batch.lengths[column])
            assert batch.tokens[:length, column].tolist() == buckets.sequences[row].tolist()
            assert batch.tokens[length:, column].eq(PAD).all()
            assert batch.labels[column] == row


def orders(buckets: Buckets) -> list[list[int]]:
    return [batch.rows.tolist() for batch in buckets]


def test_the_order_is_another_each_epoch_and_the_same_for_a_seed():
    one, two = loader(), loader()
    first, second = orders(one), orders(one)
    assert first != second
    assert len(first) == len(second)
    assert orders(two) == first
    assert orders(loader(seed=6)) != first
    unshuffled = loader(seed=None)
    assert orders(unshuffled) == orders(unshuffled)


@pytest.mark.parametrize("taken", [7, 1])
def test_a_resumed_epoch_goes_on_where_it_was(taken):
    whole = loader()
    orders(whole)
    second = orders(whole)
    stopped = loader()
    orders(stopped)
    batches = iter(stopped)
    for _ in range(taken):
        next(batches)
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    assert orders(resumed) == second[taken:]
    assert orders(resumed) == orders(whole)


def test_processes_share_every_batch_and_their_means_weigh_what_they_hold():
    whole = list(loader(batch_size=7))
    parts = [list(loader(batch_size=7, rank=rank, world_size=3)) for rank in range(3)]
    for batch, *shares in zip(whole, *parts, strict=True):
        rows = [row for share in shares for row in share.rows.tolist() if share.share]
        assert sorted(rows) == sorted(batch.rows.tolist())
        mean = sum(share.labels.double().mean() * share.share for share in shares) / 3
        assert float(mean) == pytest.approx(float(batch.labels.double().mean()))
