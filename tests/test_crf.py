"""The conditional random field against an enumeration of all sequences of tags, in float64."""

import itertools

import pytest
import torch

from unroll.crf import LinearChainCRF
from unroll.entities import may_begin, may_follow

TAGS = ["O", "B-a", "I-a", "B-b", "I-b"]
TIME = 4
LENGTHS = [4, 1, 3]


def field(ruled: bool) -> LinearChainCRF:
    first = torch.tensor([may_begin(tag) for tag in TAGS])
    follows = torch.tensor([[may_follow(before, tag) for tag in TAGS] for before in TAGS])
    crf = LinearChainCRF(len(TAGS), *((first, follows) if ruled else ())).double()
    with torch.no_grad():
        for weight in crf.parameters():
            weight.normal_()
    return crf


def emissions() -> torch.Tensor:
    return torch.randn(TIME, len(LENGTHS), len(TAGS), dtype=torch.float64).requires_grad_()


def enumerated(crf: LinearChainCRF, e: torch.Tensor, ruled: bool) -> dict[tuple[int, ...], torch.Tensor]:
    """The score of every sequence of tags of one sentence, e: (time, tags)."""
    scores = {}
    for y in itertools.product(range(len(TAGS)), repeat=len(e)):
        names = [TAGS[tag] for tag in y]
        if ruled and not (may_begin(names[0]) and all(map(may_follow, names, names[1:]))):
            continue
        score = crf.start[y[0]] + crf.end[y[-1]] + sum(e[t, tag] for t, tag in enumerate(y))
        scores[y] = score + sum(crf.transitions[i, j] for i, j in itertools.pairwise(y))
    return scores


@pytest.mark.parametrize("ruled", [False, True])
def test_everything_is_what_an_enumeration_gives(ruled):
    crf, e = field(ruled), emissions()
    lengths = torch.tensor(LENGTHS)
    log_Z = crf.log_partition(e, lengths)
    best = crf.decode(e, lengths)
    marginals = crf.log_marginals(e, lengths).exp()
    for row, length in enumerate(LENGTHS):
        scores = enumerated(crf, e[:length, row], ruled)
        total = torch.logsumexp(torch.stack(list(scores.values())), 0)
        torch.testing.assert_close(log_Z[row], total)
        assert tuple(best[:length, row].tolist()) == max(scores, key=lambda y: scores[y].item())
        for y in list(scores)[:: len(scores) // 5 + 1]:
            tags = torch.zeros(TIME, len(LENGTHS), dtype=torch.long)
            tags[:length, row] = torch.tensor(y)
            torch.testing.assert_close(crf.score(e, tags, lengths)[row], scores[y])
        for t, tag in itertools.product(range(length), range(len(TAGS))):
            share = sum((score - total).exp().item() for y, score in scores.items() if y[t] == tag)
            assert marginals[t, row, tag].item() == pytest.approx(share, abs=1e-12)


def test_gradients_of_the_partition_are_the_marginals_and_finite():
    crf, e = field(ruled=True), emissions()
    lengths = torch.tensor(LENGTHS)
    (gradient,) = torch.autograd.grad(crf.log_partition(e, lengths).sum(), e)
    within = torch.arange(TIME)[:, None] < lengths
    expected = crf.log_marginals(e, lengths).exp() * within[..., None]
    torch.testing.assert_close(gradient, expected)
    crf.log_partition(e, lengths).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in crf.parameters())


def test_a_tag_that_nothing_may_come_before_has_gradients():
    """One that stands at beginnings only: no sum over what came before it has a part that may be."""
    follows = torch.ones(3, 3, dtype=torch.bool)
    follows[:, 0] = False
    crf, e = LinearChainCRF(3, None, follows).double(), torch.randn(TIME, 2, 3, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(crf.log_partition(e).sum(), e)
    torch.testing.assert_close(gradient, crf.log_marginals(e).exp())
    assert not gradient[1:, :, 0].any() and gradient[0, :, 0].all()
    crf.log_partition(e).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in crf.parameters())
    assert crf.score(e, torch.tensor([[1, 0], [0, 1], [1, 1], [1, 1]])).isneginf().tolist() == [True, False]


def test_a_batch_is_its_sentences_one_by_one_and_padding_is_not_looked_at():
    crf, e = field(ruled=True), emissions().detach()
    lengths = torch.tensor(LENGTHS)
    changed = e.clone()
    for row, length in enumerate(LENGTHS):
        changed[length:, row] = 1e6
    for name in ("log_partition", "decode", "log_marginals"):
        whole = getattr(crf, name)(e, lengths)
        beside = getattr(crf, name)(changed, lengths)
        for row, length in enumerate(LENGTHS):
            alone = getattr(crf, name)(e[:length, row : row + 1])
            for found in (whole, beside):
                own = found[row : row + 1] if name == "log_partition" else found[:length, row : row + 1]
                torch.testing.assert_close(own, alone)


def test_no_sequence_that_breaks_a_rule_comes_out():
    crf = field(ruled=True)
    with torch.no_grad():
        crf.transitions.normal_(std=20)
    e = 20 * torch.randn(12, 300, len(TAGS), dtype=torch.float64)
    e[..., [2, 4]] += 20  # I- wherever it can be
    found = [[TAGS[tag] for tag in row] for row in crf.decode(e).t().tolist()]
    assert all(may_begin(tags[0]) and all(map(may_follow, tags, tags[1:])) for tags in found)
    assert sum(tag.startswith("I-") for tags in found for tag in tags) > 500
    illegal = torch.tensor([[0], [2]])
    assert crf.score(e[:2, :1], illegal).item() == -torch.inf
