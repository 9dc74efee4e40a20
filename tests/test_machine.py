"""Settings that cost nothing change no result."""

import re

import pytest
import torch

from unroll import machine
from unroll.machine import Choices, free_speed, take_faster_products


def test_products_stay_exact_whatever_the_trial_finds():
    before = torch.get_float32_matmul_precision()
    try:
        take_faster_products()
        x, W = torch.randn(64, 256), torch.randn(512, 256)
        error = (x @ W.t() - x.double() @ W.double().t()).abs().max()
        # Float32 sums of 256 products of size 1 err by about 1e-5; bfloat16 would by 0.1.
        assert error < 1e-4
    finally:
        torch.set_float32_matmul_precision(before)


def test_what_is_hardly_faster_is_never_taken(monkeypatch):
    # The next trial might find otherwise, and a run that goes on then ends with other bits.
    monkeypatch.setattr(machine, "_tanh_library", None)
    monkeypatch.setattr(machine, "_gain", lambda one, other: 1.4)
    before = torch.get_float32_matmul_precision()
    assert machine.take_faster_products() is None
    assert machine.take_faster_tanh() is None
    assert torch.get_float32_matmul_precision() == before


@pytest.fixture
def numpys_tanh(monkeypatch):
    """As on a processor on which the trial finds it faster."""
    monkeypatch.setattr(machine, "_tanh_library", None)
    monkeypatch.setattr(machine, "_tanh_gain", 1.0)
    monkeypatch.setattr(machine, "_gain", lambda one, other: 5.0)
    assert machine.take_faster_tanh() == pytest.approx(5)
    assert machine.take_faster_tanh() == pytest.approx(5)  # asked again, it is not tried again
    yield
    machine._tanh_library._destroy()


@pytest.mark.parametrize(
    "kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.int64]
)
def test_tanh_stays_exact(numpys_tanh, kind):
    x = (torch.randn(33, 14) * 3).to(kind)
    wide = torch.complex128 if kind.is_complex else torch.float64
    for given in (x, x.t(), x[:, ::2], x[:1].expand(4, -1), x[0, 0], x[:0]):
        y = torch.tanh(given)
        assert y.dtype == (torch.float32 if kind is torch.int64 else kind)
        assert y.shape == given.shape
        torch.testing.assert_close(y, torch.tanh(given.to(wide)).to(y.dtype), rtol=2 * torch.finfo(y.dtype).eps, atol=0)
    if kind is torch.int64:
        with pytest.raises(RuntimeError, match="can't be cast"):
            x.tanh_()
        return
    changed = x.clone()
    changed[:, ::2].tanh_()
    assert torch.equal(changed[:, ::2], torch.tanh(x[:, ::2]))
    assert torch.equal(changed[:, 1::2], x[:, 1::2])


def test_tanh_keeps_its_derivatives_and_its_special_values(numpys_tanh):
    x = torch.randn(5, 6, requires_grad=True)
    y = torch.tanh(x)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(first, 1 - y**2)
    torch.testing.assert_close(second, -2 * y * (1 - y**2))
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-30, 100.0])
    assert str(torch.tanh(special).tolist()) == str([0.0, -0.0, 1.0, -1.0, torch.nan, special[5].item(), 1.0])


def test_what_was_taken_is_told():
    before = torch.get_float32_matmul_precision()
    try:
        assert re.match(r"freed memory is .*, .* float32 products|.*, float32 products by oneDNN", free_speed()[1])
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("gain", [0.5, 9.0])
@pytest.mark.parametrize("before", [Choices(True, True), Choices(False, False), Choices(False, True)])
def test_a_run_that_goes_on_takes_what_it_took_whatever_a_trial_finds(tmp_path, monkeypatch, before, gain):
    monkeypatch.setattr(machine, "_tanh_library", None)
    monkeypatch.setattr(machine, "_gain", lambda one, other: gain)
    monkeypatch.setattr(machine, "_AS_EXACT", 1e9)  # also where the switch means bfloat16
    precision = torch.get_float32_matmul_precision()
    before.write(tmp_path / "settings.json")
    try:
        taken, _ = free_speed(Choices.read(tmp_path / "settings.json"))
        assert taken == before
        assert torch.get_float32_matmul_precision() == ("medium" if before.products else "highest")
        assert (machine._tanh_library is not None) == before.tanh
    finally:
        torch.set_float32_matmul_precision(precision)
        machine.take_faster_tanh(False)
    (tmp_path / "settings.json").write_text("[")
    assert Choices.read(tmp_path / "settings.json") is None
