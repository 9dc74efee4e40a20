"""A gradient worked out after a loop is the one that autograd adds up in it."""

import pytest
import torch
import torch.nn.functional as F

from unroll.late_gradient import late


def gradients(wrap, steps=6, retain=False):
    generator = torch.Generator().manual_seed(2)
    W, U, b = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((5, 3), (5, 5), (5,))
    )
    x = torch.randn(steps, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    h = torch.zeros(2, 5, dtype=torch.float64)
    w, u = wrap(W), wrap(U)
    total = torch.zeros((), dtype=torch.float64)
    for x_t in x:
        h = torch.tanh(F.linear(x_t, w) + F.linear(h, u, b))
        total = total + h.square().sum()
    # Also for what is no product of a step: the whole sequence at once, and the weight itself.
    total = total + F.linear(x, w).sum() + (u * u).sum()
    if retain:
        torch.autograd.grad(total, [W, U, b, x], retain_graph=True)
    return torch.autograd.grad(total, [W, U, b, x])


@pytest.mark.parametrize("retain", [False, True])
def test_it_is_the_same_gradient(retain):
    for ours, theirs in zip(gradients(late, retain=retain), gradients(lambda weight: weight), strict=True):
        assert type(ours) is torch.Tensor
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_weight_whose_gradient_is_not_wanted_is_itself():
    weight = torch.randn(2, 2)
    assert late(weight) is weight
    with torch.no_grad():
        assert late(weight.requires_grad_()) is weight


def test_in_half_precision_products_are_made_in_it_and_gradients_come_back_whole():
    weight = torch.randn(4, 3, requires_grad=True)
    x = torch.randn(5, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        w = late(weight)
        y = torch.stack([F.linear(x_t, w) for x_t in x])
        assert y.dtype == torch.bfloat16
        (gradient,) = torch.autograd.grad(y.float().sum(), weight)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, x.sum((0, 1)).expand(4, 3), rtol=1e-2, atol=1e-2)


def test_half_precision_for_one_product_leaves_the_others_whole():
    weight, x = torch.randn(4, 3, requires_grad=True), torch.randn(2, 3)
    w = late(weight)
    with torch.autocast("cpu", torch.bfloat16):
        F.linear(x, w)
    assert torch.equal(F.linear(x, w), F.linear(x, weight))


def test_a_weight_changed_before_its_gradient_is_told():
    weight = torch.randn(4, 3, requires_grad=True)
    y = F.linear(torch.randn(2, 3), late(weight))
    with torch.no_grad():
        weight += 1
    with pytest.raises(RuntimeError, match=r"modified inplace|modified by an inplace"):
        y.sum().backward()
