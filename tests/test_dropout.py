"""Dropout against what it is to be: shares, means, gradients."""

import pytest
import torch

from unroll.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9, 0.99999])
def test_entries_are_dropped_by_chance_and_the_mean_stays(p):
    x = torch.ones(1000, 1001, dtype=torch.float64)
    y = dropout(x, p)
    kept = y != 0
    count = x.numel()
    spread = (p * (1 - p) / count) ** 0.5
    assert abs((~kept).double().mean().item() - p) < 5 * spread + 2**-17
    assert (y[kept] == y.max()).all()  # each by the same factor
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=0.5 / (65536 * (1 - p)) + 1e-9)
    # Neighbours (up to four are drawn with one number), and what lies further apart, know nothing of each other.
    flat = kept.flatten().double() - kept.double().mean()
    for lag in (1, 2, 3, 4, 1001):
        assert abs((flat[:-lag] * flat[lag:]).mean().item()) < 5 * p * (1 - p) / count**0.5 + 1e-12


def test_gradients_pass_where_entries_were_kept():
    x = torch.randn(7, 13, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.3)
    (d_x,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y, x * d_x, rtol=0, atol=0)
    assert set(d_x.unique().tolist()) == {0.0, d_x.max().item()}


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_it_answers_in_what_it_is_given(kind):
    x = torch.randn(5, 3, dtype=kind)
    assert dropout(x, 0.5).dtype == kind
    assert dropout(torch.empty(0, 3, dtype=kind), 0.5).shape == (0, 3)
    assert dropout(x[:, ::2], 0.5).shape == (5, 2)


def test_the_seed_decides():
    x = torch.ones(100)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(dropout(x, 0.5), first)


def test_evaluation_drops_nothing():
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x
