"""Beam search, against exhaustive search and the model's own probabilities."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from unroll.decoding import beam_search, sample

BEGIN, END, WORDS = 0, 1, 5  # of the vocabulary, both among them


class Model:
    """A small recurrent model with a memory: what comes next hangs on all that was written, and on the source."""

    def __init__(self, batch: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.E, self.U, self.V = (
            torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((WORDS, 6), (6, 6), (6, WORDS))
        )
        self.memory = (torch.randn(batch, 6, generator=generator, dtype=torch.float64),)
        self.state = torch.randn(batch, 6, generator=generator, dtype=torch.float64)

    def __call__(self, tokens: Tensor, state: Tensor, memory: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        batch, beam = tokens.shape
        assert len(memory[0]) == batch
        assert len(state) == batch * beam
        seen = memory[0][:, None].expand(-1, beam, -1).reshape(batch * beam, -1)
        state = torch.tanh(2 * state @ self.U + self.E[tokens.flatten()] + seen)
        return (state @ self.V).view(batch, beam, WORDS), state

    def log_probability(self, row: int, tokens: list[int]) -> float:
        """Of these tokens, the end among them or not."""
        state, total, last = self.state[row : row + 1], 0.0, BEGIN
        for token in tokens:
            logits, state = self(torch.tensor([[last]]), state, (self.memory[0][row : row + 1],))
            total += float(torch.log_softmax(logits[0, 0], -1)[token])
            last = token
        return total

    def search(self, limits: list[int], beam: int, **options):
        return beam_search(self, self.state, self.memory, torch.tensor(limits), beam, BEGIN, END, (BEGIN,), **options)


def penalty(length: int, alpha: float) -> float:
    return ((5 + length) / 6) ** alpha


def everything(model: Model, row: int, limit: int, alpha: float) -> list[tuple[float, list[int]]]:
    """All that can be written, the best first: what ends, and what is cut at the limit."""
    inner = [token for token in range(WORDS) if token not in (BEGIN, END)]
    found = []
    for length in range(limit + 1):
        for tokens in itertools.product(inner, repeat=length):
            whole = list(tokens) if length == limit else [*tokens, END]
            found.append((model.log_probability(row, whole) / penalty(len(whole), alpha), list(tokens)))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_that_is_wide_enough_finds_what_exhaustive_search_finds(seed, alpha):
    model = Model(3, seed)
    found = model.search([4, 3, 2], beam=150, length_penalty=alpha, n_best=5)
    for row, limit in enumerate([4, 3, 2]):
        expected = everything(model, row, limit, alpha)[:5]
        assert [hypothesis.tokens for hypothesis in found[row]] == [tokens for _, tokens in expected]
        assert [hypothesis.score for hypothesis in found[row]] == pytest.approx([score for score, _ in expected])


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_scores_are_the_models_own(alpha):
    model = Model(20)
    for row, hypotheses in enumerate(model.search([12] * 20, beam=4, length_penalty=alpha, n_best=4)):
        assert len(hypotheses) == 4
        assert len({tuple(hypothesis.tokens) for hypothesis in hypotheses}) == 4
        assert [item.score for item in hypotheses] == sorted((item.score for item in hypotheses), reverse=True)
        for hypothesis in hypotheses:
            ended = [*hypothesis.tokens, END] if len(hypothesis.tokens) < 12 else hypothesis.tokens
            assert hypothesis.log_probability == pytest.approx(model.log_probability(row, ended), rel=1e-6)
            assert hypothesis.score == pytest.approx(hypothesis.log_probability / penalty(len(ended), alpha), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_beam_one_is_greedy(alpha):
    model = Model(30, seed=4)
    found = model.search([9] * 30, beam=1, length_penalty=alpha)
    for row in range(30):
        state, last, tokens = model.state[row : row + 1], BEGIN, []
        while len(tokens) < 9:
            logits, state = model(torch.tensor([[last]]), state, (model.memory[0][row : row + 1],))
            logits[..., BEGIN] = -math.inf
            last = int(logits.argmax())
            if last == END:
                break
            tokens.append(last)
        assert found[row][0].tokens == tokens


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_what_is_written_does_not_depend_on_the_other_sources(beam):
    model = Model(40, seed=5)
    limits = torch.randint(1, 15, (40,)).tolist()
    together = model.search(limits, beam, length_penalty=1.0, n_best=beam)
    for row in range(40):
        alone = beam_search(
            model,
            model.state[row : row + 1],
            (model.memory[0][row : row + 1],),
            torch.tensor(limits[row : row + 1]),
            beam,
            BEGIN,
            END,
            (BEGIN,),
            1.0,
            beam,
        )[0]
        assert [item.tokens for item in alone] == [item.tokens for item in together[row]]
        assert [item.score for item in alone] == pytest.approx([item.score for item in together[row]], rel=1e-12)


def test_it_stops_when_no_hypothesis_can_still_win():
    """A model that ends at once with probability 0.9: after one step nothing can come before that."""
    steps = 0

    def advance(tokens, state, memory):
        nonlocal steps
        steps += 1
        logits = torch.full((*tokens.shape, WORDS), 0.1 / (WORDS - 1)).log()
        logits[..., END] = math.log(0.9)
        return logits, state

    ((best,),) = beam_search(advance, torch.zeros(1, 1), (), torch.tensor([50]), 4, BEGIN, END)
    assert best.tokens == []
    assert best.score == pytest.approx(math.log(0.9))
    assert steps == 1


def test_a_long_one_may_still_win_by_the_length_penalty():
    model = Model(10, seed=6)
    plain, rewarded = (model.search([15] * 10, beam=6, length_penalty=alpha) for alpha in (0.0, 4.0))
    lengths = [sum(len(item[0].tokens) for item in found) for found in (plain, rewarded)]
    assert lengths[0] < lengths[1]


def test_nothing_that_is_unwritten_is_written():
    model = Model(10, seed=7)
    found = beam_search(model, model.state, model.memory, torch.full((10,), 8), 3, BEGIN, END, (BEGIN, 3), n_best=3)
    assert not {BEGIN, END, 3} & {token for row in found for item in row for token in item.tokens}


def test_no_sources_no_translations():
    assert beam_search(Model(1), torch.zeros(0, 6), (), torch.zeros(0, dtype=torch.int64), 3, BEGIN, END) == []


def test_samples_follow_the_models_probabilities():
    model = Model(2, seed=8)
    count = 40_000
    found = sample(
        model,
        model.state,
        model.memory,
        torch.tensor([3, 1]),
        count,
        BEGIN,
        END,
        generator=torch.Generator().manual_seed(1),
    )
    for row, limit in enumerate((3, 1)):
        drawn = [tuple(item.tokens) for item in found[row]]
        assert max(map(len, drawn)) == limit
        for tokens in set(drawn):
            ended = [*tokens, END] if len(tokens) < limit else list(tokens)
            p = math.exp(model.log_probability(row, ended))
            assert drawn.count(tokens) / count == pytest.approx(p, abs=5 * (0.25 / count) ** 0.5)
        for item in found[row][:20]:
            ended = [*item.tokens, END] if len(item.tokens) < limit else item.tokens
            assert item.log_probability == pytest.approx(model.log_probability(row, ended), rel=1e-5)


def test_a_model_that_says_nan_writes_nothing():
    def advance(tokens, state, memory):
        return torch.full((*tokens.shape, WORDS), math.nan), state

    found = beam_search(advance, torch.zeros(2, 1), (), torch.tensor([4, 2]), 3, BEGIN, END)
    assert [[item.tokens for item in row] for row in found] == [[[]], [[]]]
    assert all(math.isnan(row[0].score) for row in found)


def test_samples_come_the_best_first():
    model = Model(2, seed=8)
    drawn = torch.Generator().manual_seed(1)
    for row in sample(model, model.state, model.memory, torch.tensor([3, 1]), 50, BEGIN, END, generator=drawn):
        scores = [found.score for found in row]
        assert scores == sorted(scores, reverse=True)
