"""Cross-entropy in chunks, against torch's own in float64."""

import pytest
import torch
import torch.nn.functional as F

import unroll.cross_entropy
from unroll.cross_entropy import linear_cross_entropy


@pytest.fixture
def inputs():
    x = torch.randn(23, 5, dtype=torch.float64).requires_grad_()
    weight = torch.randn(11, 5, dtype=torch.float64).requires_grad_()
    bias = torch.randn(11, dtype=torch.float64).requires_grad_()
    return x, weight, bias, torch.randint(11, (23,))


@pytest.mark.parametrize(("least", "most"), [(1, 11), (1, 10_000), (11 * 7, 10_000), (10_000, 10_000)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradients_are_torchs(monkeypatch, inputs, smoothing, least, most):
    """A row at a time, as many as there are features, some more, all of them."""
    monkeypatch.setattr(unroll.cross_entropy, "_LEAST", least)
    monkeypatch.setattr(unroll.cross_entropy, "_MOST", most)
    x, weight, bias, target = inputs
    theirs = F.cross_entropy(F.linear(x, weight, bias), target, label_smoothing=smoothing)
    ours = linear_cross_entropy(x, weight, bias, target, smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    wanted = [x, weight, bias]
    for one, other in zip(torch.autograd.grad(3 * ours, wanted), torch.autograd.grad(3 * theirs, wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_gradients_are_there_once(inputs):
    x, weight, bias, target = inputs
    loss = linear_cross_entropy(x, weight, bias, target)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="were taken already"):
        loss.backward()


def test_without_gradients_none_are_worked_out(inputs):
    x, weight, bias, target = inputs
    with torch.no_grad():
        ours = linear_cross_entropy(x, weight, bias, target)
    assert not ours.requires_grad
    torch.testing.assert_close(ours, F.cross_entropy(F.linear(x, weight, bias), target), rtol=1e-12, atol=1e-12)


def test_large_logits_do_not_overflow(inputs):
    x, weight, bias, target = inputs
    x, weight = x.detach() * 1e3, weight.detach()
    theirs = F.cross_entropy(F.linear(x, weight, bias), target)
    torch.testing.assert_close(linear_cross_entropy(x, weight, bias, target), theirs, rtol=1e-12, atol=1e-9)


def test_half_precision_costs_no_more_than_its_rounding(inputs):
    x, weight, bias, target = (tensor.detach().float() if tensor.is_floating_point() else tensor for tensor in inputs)
    x.requires_grad_()
    exact = F.cross_entropy(F.linear(x, weight, bias), target)
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear_cross_entropy(x, weight, bias, target)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(exact.item(), rel=1e-2)
    one, other = (torch.autograd.grad(loss, x)[0] for loss in (ours, exact))
    assert one.dtype == torch.float32
    torch.testing.assert_close(one, other, rtol=0.05, atol=2e-3)


def test_float16_loses_no_small_gradients():
    """Over many rows and classes each is far below what float16 can hold; the loss scale comes too late for them."""
    x, weight, bias = torch.randn(2048, 8), torch.randn(3000, 8), torch.zeros(3000)
    wanted = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    target = torch.randint(3000, (2048,))
    exact = torch.autograd.grad(2**16 * F.cross_entropy(F.linear(x, weight, bias), target), wanted)
    with torch.autocast("cpu", torch.float16):
        loss = linear_cross_entropy(x, weight, bias, target)
    for ours, theirs in zip(torch.autograd.grad(2**16 * loss, wanted), exact, strict=True):
        assert ours.isfinite().all()
        assert (ours - theirs).norm() < 5e-3 * theirs.norm()
