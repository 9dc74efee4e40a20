"""Writing text: against distributions that are known."""

import pytest
import torch
from conftest import composed

from unroll.building import build_task
from unroll.data.encoding import Vocabulary
from unroll.decoding import choose, generate
from unroll.errors import UsageError

LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


def frequencies(**options: object) -> list[float]:
    drawn = choose(LOGITS.expand(200_000, -1), generator=torch.Generator().manual_seed(1), **options)
    return (torch.bincount(drawn, minlength=4) / len(drawn)).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        ({"temperature": 0}, [1, 0, 0, 0]),
        ({"temperature": 1e-37}, [1, 0, 0, 0]),
        ({"temperature": 1e-28}, [1, 0, 0, 0]),
        ({"top_k": 2}, [5 / 8, 3 / 8, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.6}, [5 / 8, 3 / 8, 0, 0]),  # 0.5 does not reach 0.6; with 0.3 it does
        ({"top_p": 0.3}, [1, 0, 0, 0]),
        ({"top_p": 1.0}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 3, "top_p": 0.9}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
    ],
)
def test_choices_follow_the_distribution(options, expected):
    # Five standard errors of 200,000 draws.
    assert frequencies(**options) == pytest.approx(expected, abs=5 * (0.25 / 200_000) ** 0.5)


def test_of_equals_no_more_than_k_are_kept():
    drawn = choose(torch.zeros(1000, 5), top_k=2, generator=torch.Generator().manual_seed(1))
    assert len(drawn.unique()) == 2


def written(**options: object):
    vocabulary = Vocabulary("characters", tuple(range(97, 117)))
    task = build_task(composed("model.hidden_size=12", "task.embedding_size=6"), vocabulary)
    return task, task.write("abc", 30, **options)


def test_greedy_writing_equals_reading_the_whole_text_again_each_time():
    task, (text,) = written(temperature=0)
    tokens = torch.from_numpy(task.vocabulary.encode("abc").astype("int64"))[:, None]
    task.eval()
    for character in text:
        logits, _ = task.model(tokens)
        logits[:, :, 0] = -torch.inf
        best = logits[-1].argmax(-1, keepdim=True)
        assert task.vocabulary.decode([best.item()]) == character
        tokens = torch.cat([tokens, best])
    assert len(text) == 30


def test_one_seed_one_text_and_training_is_left_alone():
    torch.manual_seed(5)
    task, first = written(seed=3)
    state = torch.get_rng_state()
    task.train()
    assert task.write("abc", 30, seed=3) == first
    assert task.write("abc", 30, seed=4) != first
    assert task.training
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_differ_from_each_other():
    _, texts = written(seed=3, samples=4)
    assert len(set(texts)) == 4


def test_the_forbidden_token_is_never_written():
    def step(tokens, state):
        return torch.tensor([9.0, 0.0, 0.0]).expand(len(tokens), tokens.shape[1], 3).clone(), None

    drawn = torch.stack(list(generate(step, torch.ones(1, 8, dtype=torch.int64), 50, forbidden=0)))
    assert set(drawn.unique().tolist()) == {1, 2}


def test_state_and_memory_do_not_grow():
    seen = []

    def step(tokens, state):
        seen.append(tokens.shape[0])
        return torch.zeros(tokens.shape[0], 1, 3), None

    list(generate(step, torch.ones(5, 1, dtype=torch.int64), 10))
    assert seen == [5] + [1] * 9


def test_an_empty_prompt_is_refused():
    task, _ = written()
    with pytest.raises(UsageError, match="the prompt is empty"):
        task.write("", 3)


def test_without_a_seed_texts_differ():
    task, first = written()
    assert task.write("abc", 30) != first
