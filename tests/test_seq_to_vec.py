"""Sequence to vector: each sequence as if it were alone, and gradients that go back as far as they should."""

import typing

import pytest
import torch
from conftest import MODELS
from stacks import stack

from unroll.models.pooling import Attention, Max, Mean, Pooling
from unroll.models.seq_to_vec import SeqToVec
from unroll.state import detach
from unroll.truncation import windows_to_end

POOLINGS = typing.get_args(Pooling)
VOCABULARY, WIDTH = 11, 5


def model(pooling: str, *overrides: str, cell: str = "gru", **options) -> SeqToVec:
    made = SeqToVec(
        VOCABULARY,
        3,
        lambda input_size: stack(cell, *overrides, input_size=input_size),
        WIDTH,
        pooling=pooling,
        **options,
    )
    return made.double().eval()


def batch(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, with what no one may look at past each sequence's end."""
    tokens = torch.randint(2, VOCABULARY, (max(lengths), len(lengths)))
    return tokens, torch.tensor(lengths)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", MODELS)
def test_batched_equals_one_by_one(cell, pooling):
    network = model(pooling, cell=cell)
    tokens, lengths = batch([7, 1, 4, 7])
    together = network(tokens, lengths)
    for column, length in enumerate(lengths.tolist()):
        alone = network(tokens[:length, column : column + 1])
        torch.testing.assert_close(together[column], alone[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", ["lstm", "min_gru"])
def test_batched_equals_one_by_one_in_both_directions(cell, pooling):
    network = model(pooling, "model.bidirectional=true", "model.num_layers=2", cell=cell)
    tokens, lengths = batch([6, 2, 5])
    together = network(tokens, lengths)
    for column, length in enumerate(lengths.tolist()):
        alone = network(tokens[:length, column : column + 1])
        torch.testing.assert_close(together[column], alone[0], rtol=1e-9, atol=1e-11)


def test_in_single_precision_the_company_changes_less_than_a_millionth():
    network = model("attention", "model.hidden_size=32", cell="lstm").float()
    tokens, lengths = batch([30, 3, 17, 25])
    together = torch.softmax(network(tokens, lengths), -1)
    for column, length in enumerate(lengths.tolist()):
        alone = torch.softmax(network(tokens[:length, column : column + 1]), -1)
        assert (together[column] - alone[0]).abs().max() < 1e-6


def test_poolings_by_hand():
    y = torch.tensor([[[1.0, -4.0], [3.0, 0.0]], [[2.0, -2.0], [0.0, 0.0]], [[6.0, -3.0], [0.0, 0.0]]])
    lengths = torch.tensor([3, 1])
    assert Mean()(y, lengths)[0].tolist() == [[3.0, -3.0], [3.0, 0.0]]
    # Not 0 for the first, as padding would give: its greatest second feature is -2.
    assert Max()(y, lengths)[0].tolist() == [[6.0, -2.0], [3.0, 0.0]]
    attention = Attention(2)
    scores = attention.v(torch.tanh(attention.W(y[:, 0])))
    expected = (torch.softmax(scores, 0) * y[:, 0]).sum(0)
    torch.testing.assert_close(attention(y, lengths)[0], torch.stack([expected, y[0, 1]]))


def test_last_is_where_each_direction_has_read_all():
    network = model("last", "model.bidirectional=true", cell="lstm")
    tokens, lengths = batch([6, 2, 5])
    y, state = network.recurrent(network.embedding(tokens), None, lengths)
    (forward, _), (backward, _) = state
    expected = network.output(torch.cat([forward, backward], -1))
    torch.testing.assert_close(network(tokens, lengths), expected)
    assert y.shape[0] == 6


@pytest.mark.parametrize("lengths", [[10, 3, 7, 1], [9, 9, 9], [4, 8, 5]])
def test_windows_end_where_sequences_end(lengths):
    tokens = torch.arange(1, max(lengths) * len(lengths) + 1).view(max(lengths), len(lengths))
    found = [[] for _ in lengths]
    for window, steps, _ in windows_to_end(tokens, torch.tensor(lengths), 4):
        for column, count in enumerate(steps.tolist()):
            if count:
                found[column].append(window[:count, column].tolist())
    for column, length in enumerate(lengths):
        assert [token for window in found[column] for token in window] == tokens[:length, column].tolist()
        assert [len(window) for window in found[column]][1:] == [4] * (-(-length // 4) - 1)


def test_windows_of_sequences_of_one_length_are_views():
    tokens = torch.randn(10, 2)
    windows = [window for window, steps, _ in windows_to_end(tokens, None, 4) if steps is None]
    assert [len(window) for window in windows] == [2, 4, 4]
    assert all(window.untyped_storage().data_ptr() == tokens.untyped_storage().data_ptr() for window in windows)
    assert torch.equal(torch.cat(windows), tokens)


@pytest.mark.parametrize("lengths", [[10, 3, 7, 1], [9, 9]])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "min_gru", "rnn"])
def test_truncation_does_not_change_the_answer(cell, pooling, lengths):
    network = model(pooling, "model.num_layers=2", cell=cell)
    tokens, lengths = batch(lengths)
    given = None if len(set(lengths.tolist())) == 1 else lengths
    whole = network(tokens, given)
    network.horizon = 4
    torch.testing.assert_close(network(tokens, given), whole, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("lengths", [[10, 3, 7], [9, 9]])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_are_those_of_windows_cut_by_hand(pooling, lengths):
    """Sequence by sequence: run from its beginning, the state detached 4, 8, ... steps before its end."""
    network = model(pooling, "model.num_layers=2", cell="lstm", horizon=4)
    tokens, lengths = batch(lengths)
    weights = torch.randn(len(lengths), 3, dtype=torch.float64)
    given = None if len(set(lengths.tolist())) == 1 else lengths
    ours = torch.autograd.grad((network(tokens, given) * weights).sum(), list(network.parameters()), allow_unused=True)

    total = torch.zeros((), dtype=torch.float64)
    for column, length in enumerate(lengths.tolist()):
        x = network.embedding(tokens[:length, column : column + 1])
        outputs, state = [], None
        for start in [0, *range(length % 4 or 4, length, 4)]:
            y, state = network.recurrent(x[start : start + (4 if start or length % 4 == 0 else length % 4)], state)
            state = detach(state)
            outputs.append(y)
        y = torch.cat(outputs)
        assert len(y) == length
        vector = y[-1] if network.pool is None else network.pool(y, None)[0]
        total = total + (network.output(vector)[0] * weights[column]).sum()
    theirs = torch.autograd.grad(total, list(network.parameters()), allow_unused=True)
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_how_far_gradients_reach(pooling):
    """`last`: the last window only. Pooled: every window, since each adds to what is pooled."""
    network = model(pooling, cell="lstm", horizon=4)
    tokens = torch.arange(10)[:, None]  # each its own row of the embedding
    network(tokens).sum().backward()
    reached = network.embedding.weight.grad[:10].abs().sum(1) > 0
    assert reached.tolist() == ([False] * 6 + [True] * 4 if pooling == "last" else [True] * 10)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_memory_is_that_of_a_window(pooling):
    """What autograd keeps between forward and backward: of ten times the text hardly more."""

    def kept(length: int) -> int:
        network = model(pooling, "model.hidden_size=16", cell="lstm", horizon=20)
        total = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel() * (not isinstance(tensor, torch.nn.Parameter))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            network(torch.randint(2, VOCABULARY, (length, 2))).sum()
        return total

    network_of_one_window, short, long = kept(20), kept(100), kept(1000)
    # A window keeps some 20 x 2 x 16 x 6 numbers; fifty windows may add their vectors, weights and tokens to it.
    assert long - short < 45 * 2 * 16 * 8
    assert long < 20 * network_of_one_window


def test_word_dropout_reads_words_as_unknown_in_training_only():
    network = model("mean", word_dropout=0.5)
    tokens = torch.full((200, 1), 7)
    assert torch.equal(network(tokens), network(tokens))
    network.train()
    seen = []
    network.embedding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(tokens)
    assert set(seen[0].flatten().tolist()) == {1, 7}
    assert 60 < int((seen[0] == 1).sum()) < 140


def test_masks_are_drawn_once_a_text_when_it_is_read_in_windows():
    network = model("mean", "model.cell.weight_drop=0.5", cell="lstm", horizon=4).train()
    calls = []
    draw = network.recurrent.draw_masks
    network.recurrent.draw_masks = lambda *given: calls.append(1) or draw(*given)
    tokens, lengths = batch([10, 3])
    network(tokens, lengths).sum().backward()
    assert len(calls) == 1
