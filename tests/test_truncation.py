"""Truncated backpropagation through time, against full backpropagation with the cut made by hand."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import MODELS, composed

from unroll.building import build_task
from unroll.cells.lstm import LSTM
from unroll.data.encoding import Vocabulary
from unroll.data.text_stream import TextLanes
from unroll.errors import UsageError
from unroll.models.seq_to_end import SeqToEnd
from unroll.models.seq_to_seq import SeqToSeq
from unroll.models.seq_to_vec import SeqToVec
from unroll.models.tagger import Tagger
from unroll.models.vec_to_seq import VecToSeq
from unroll.recurrent import Recurrent
from unroll.state import detach
from unroll.tasks.char_lm import CharLM
from unroll.truncation import Truncation

VOCABULARY = Vocabulary("characters", tuple(range(97, 103)))
LANES, LENGTH = 3, 24
TEXT = np.random.default_rng(0).integers(1, 7, LANES * LENGTH + 1).astype(np.uint8)


def task_with(*overrides: str) -> CharLM:
    config = composed(
        "model.hidden_size=8", "task.embedding_size=4", "task.output_dropout=0", "model.num_layers=2", *overrides
    )
    task = build_task(config, VOCABULARY).double()
    assert isinstance(task, CharLM)
    for parameter in task.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    for module in task.modules():
        if hasattr(module, "probabilities"):  # what is drawn anew at each step cannot be compared
            module.probabilities = [0.0] * len(module.probabilities)
    return task.train()


def batches(truncation: Truncation) -> TextLanes:
    return TextLanes(TEXT, LANES, truncation.length, truncation.history, drop_tail=True)


def gradient(task: CharLM, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(task.parameters()))])


def whole_text() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.from_numpy(TEXT[:-1].astype(np.int64)).view(LANES, LENGTH).T
    targets = torch.from_numpy(TEXT[1:].astype(np.int64)).view(LANES, LENGTH).T
    return tokens, targets


def losses(task: CharLM) -> list[torch.Tensor]:
    """What training computes, batch after batch, on weights that stand still."""
    found, task._train_state = [], None
    for index, batch in enumerate(batches(task.truncation)):
        result = task.loss(batch, task._starting_state(batch, index))
        task._train_state = result.state
        found.append(result.value)
    return found


@pytest.mark.parametrize("model", MODELS)
def test_horizon_over_the_whole_sequence_is_full_backpropagation(model):
    task = task_with(f"model={model}", "truncation.length=5", f"truncation.horizon={LENGTH + 5}")
    tokens, targets = whole_text()
    logits, _ = task.model(tokens)
    full = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    sizes = [5, 5, 5, 5, 4]
    windows = sum(value * size * LANES for value, size in zip(losses(task), sizes, strict=True))
    torch.testing.assert_close(windows, full, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(task, windows), gradient(task, full), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("length", "horizon"), [(4, 4), (4, 6), (4, 8), (4, 11), (3, 7), (5, 24)])
@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_full_backpropagation_cut_where_the_history_begins(model, length, horizon):
    task = task_with(f"model={model}", f"truncation.length={length}", f"truncation.horizon={horizon}")
    tokens, targets = whole_text()
    for index, value in enumerate(losses(task)):
        begin, end = index * length, min((index + 1) * length, LENGTH)
        cut = max(0, begin - (horizon - length))
        state = None
        if cut:
            _, state = task.model(tokens[:cut])
            state = detach(state)
        logits, _ = task.model(tokens[cut:end], state)
        expected = F.cross_entropy(logits[begin - cut :].flatten(0, 1), targets[begin:end].flatten())
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(gradient(task, value), gradient(task, expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_loss_on_last_sends_nothing_before_the_horizon(model):
    task = task_with(
        f"model={model}",
        "task.loss_on=last",
        "truncation.length=2",
        "truncation.horizon=6",
        "truncation.carry_state=false",
    )
    for index, batch in enumerate(batches(task.truncation)):
        embedded: list[torch.Tensor] = []
        handle = task.model.embedding.register_forward_hook(
            lambda module, inputs, output, found=embedded: found.append(output)
        )
        result = task.loss(batch, task._starting_state(batch, index))
        handle.remove()
        reached = torch.cat(torch.autograd.grad(result.value, embedded))
        position = index * 2
        begin = max(0, position - 4)
        assert len(reached) == min(position + 2, LENGTH) - begin <= 6
        (cell, *_) = task.model.recurrent.layers
        if getattr(cell, "U_1", cell) is not None:  # without an edge of length 1 there are gaps
            assert (reached.abs().sum(dim=(1, 2)) > 0).all()  # and all of the horizon is reached
        # One target a lane, and it is the character after the window.
        assert result.scored == LANES
        logits, _ = task.model(batch.tokens)
        torch.testing.assert_close(result.value, F.cross_entropy(logits[-1], batch.targets[-1]))


def dropping(input_size: int) -> Recurrent:
    cell = partial(LSTM, weight_drop=0.5)
    return Recurrent(input_size, 4, cell, num_layers=2, dropout=0.5, locked_dropout=True)


STEPS = torch.randint(1, 6, (12, 2), generator=torch.Generator().manual_seed(1))
BY_HORIZON = {
    "vec_to_seq": lambda horizon: VecToSeq(3, 6, dropping, 5, horizon=horizon)(torch.ones(2, 3), STEPS),
    "seq_to_end": lambda horizon: SeqToEnd(6, 0, 3, dropping, 4, horizon=horizon)(STEPS, 12),
    "seq_to_vec": lambda horizon: SeqToVec(6, 2, dropping, 4, horizon=horizon)(STEPS),
    "tagger": lambda horizon: Tagger(6, 5, 3, dropping, 4, character_hidden_size=None, horizon=horizon)(
        STEPS, None, None, None
    ),
    "seq_to_seq": lambda horizon: SeqToSeq(6, dropping, 4, input_dropout=0.5, embedding_dropout=0.5).hidden_of_window(
        STEPS, None, horizon or 12
    )[0],
}


@pytest.mark.parametrize("model", BY_HORIZON)
def test_what_is_random_in_a_sequence_is_drawn_once_for_all_its_windows(model):
    """A horizon cuts the way back alone: the same numbers come out."""
    found = []
    for horizon in (None, 4):
        torch.manual_seed(1)
        found.append(BY_HORIZON[model](horizon))
    torch.testing.assert_close(found[1], found[0])


def test_without_carrying_every_window_starts_from_zero():
    task = task_with("truncation.length=4", "truncation.carry_state=false")
    for batch, value in zip(batches(task.truncation), losses(task), strict=True):
        logits, _ = task.model(batch.tokens)
        torch.testing.assert_close(value, F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten()))


def test_reset_probability_zeroes_that_share_of_rows():
    task = task_with("truncation.length=4", "truncation.reset_probability=0.25")
    task._train_state = (torch.ones(1000, 5),)
    batch = next(iter(batches(task.truncation)))
    batch = batch._replace(begins=False, lanes=1000, tokens=torch.zeros(4, 1000))
    rows = [task._starting_state(batch, index)[0][:, 0] for index in range(4)]
    for kept in rows:
        assert 0.70 < kept.mean() < 0.80
    assert not torch.equal(rows[0], rows[1])
    assert torch.equal(task._starting_state(batch, 0)[0][:, 0], rows[0])  # the same place in training, the same draw
    # Half of the lanes on another process are zeroed as the same lanes are here.
    task._train_state = (torch.ones(500, 5),)
    half = batch._replace(first_lane=500, tokens=torch.zeros(4, 500))
    assert torch.equal(task._starting_state(half, 0)[0][:, 0], rows[0][500:])


def test_a_horizon_shorter_than_the_window_is_refused():
    with pytest.raises(UsageError, match=r"truncation\.horizon=3 is shorter than truncation\.length=4"):
        Truncation(length=4, horizon=3)


def test_states_are_reset_by_the_seed():
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        task = task_with("truncation.length=4", "truncation.reset_probability=0.25")
        task._train_state = (torch.ones(1000, 5),)
        batch = next(iter(batches(task.truncation)))
        batch = batch._replace(begins=False, lanes=1000, tokens=torch.zeros(4, 1000))
        found.append(task._starting_state(batch, 1)[0][:, 0])
    assert not torch.equal(*found)
