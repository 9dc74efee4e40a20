"""Examples that can be followed by hand."""

import pytest
import torch
import torch.nn.functional as F

from unroll.cells.rnn import RNN

W_H = torch.tensor([[0.1, 0.5, 0.1], [0.5, 0.9, 0.3], [0.3, 0.2, 0.1]], dtype=torch.float64)
W_X = torch.tensor([[0.6, 0.8, 0.4, 0.8], [0.2, 0.2, 0.8, 0.7], [0.9, 0.8, 0.1, 0.2]], dtype=torch.float64)
W_Y = torch.tensor([[0.9, 0.8, 0.3], [0.2, 0.3, 0.4], [0.6, 0.9, 0.1], [0.5, 0.0, 0.3]], dtype=torch.float64)


@pytest.fixture
def dogs() -> tuple[RNN, torch.nn.Linear]:
    cell = RNN(4, 3, bias=False).double()
    output = torch.nn.Linear(3, 4, bias=False).double()
    with torch.no_grad():
        cell.W.copy_(W_X)
        cell.U.copy_(W_H)
        output.weight.copy_(W_Y)
    return cell, output


def test_dogs_first_step(dogs):
    cell, output = dogs
    d = torch.eye(4, dtype=torch.float64)[[0]]
    a_1 = cell.project(d)
    torch.testing.assert_close(a_1, torch.tensor([[0.6, 0.2, 0.9]], dtype=torch.float64), rtol=0, atol=1e-12)
    h_1 = cell.step(a_1, cell.initial_state(1, d))
    assert h_1[0].tolist() == pytest.approx([0.54, 0.20, 0.72], abs=0.005)
    assert output(h_1).softmax(-1)[0].tolist() == pytest.approx([0.32, 0.21, 0.24, 0.22], abs=0.005)


@pytest.mark.parametrize("path", ["loop", "forward"])
def test_dogs_gradients_are_the_double_sum_over_t_and_k(dogs, path):
    """d, o, g are read, o, g, s expected; every factor of the chain rule is written out."""
    cell, output = dogs
    x = torch.eye(4, dtype=torch.float64)[:3]
    targets = [1, 2, 3]
    h, _ = getattr(cell, path)(x[:, None], cell.initial_state(1, x))
    F.cross_entropy(output(h[:, 0]), torch.tensor(targets), reduction="sum").backward()

    hs = [torch.zeros(3, dtype=torch.float64)]
    for x_t in x:
        hs.append(torch.tanh(W_X @ x_t + W_H @ hs[-1]))
    grad_X, grad_H, grad_Y = torch.zeros_like(W_X), torch.zeros_like(W_H), torch.zeros_like(W_Y)
    for t in range(1, 4):
        y_t = (W_Y @ hs[t]).softmax(0)
        dL_dy = torch.zeros(4, dtype=torch.float64)
        dL_dy[targets[t - 1]] = -1 / y_t[targets[t - 1]]
        dy_dz = torch.diag(y_t) - torch.outer(y_t, y_t)
        dL_dz = dL_dy @ dy_dz
        grad_Y += torch.outer(dL_dz, hs[t])
        for k in range(1, t + 1):
            dh_t_dh_k = torch.eye(3, dtype=torch.float64)
            for j in range(t, k, -1):
                dh_t_dh_k = dh_t_dh_k @ torch.diag(1 - hs[j] ** 2) @ W_H
            dL_da_k = (dL_dz @ W_Y @ dh_t_dh_k) * (1 - hs[k] ** 2)
            grad_X += torch.outer(dL_da_k, x[k - 1])
            grad_H += torch.outer(dL_da_k, hs[k - 1])

    close = {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(cell.W.grad, grad_X, **close)
    torch.testing.assert_close(cell.U.grad, grad_H, **close)
    torch.testing.assert_close(output.weight.grad, grad_Y, **close)


@pytest.mark.parametrize("path", ["loop", "forward"])
@pytest.mark.parametrize("w", [1.1, 1.0, 0.9])
def test_scalar_linear_recurrence(w, path):
    """x_n = w^n x_0: a ReLU unit with positive state is linear."""
    n = 100
    cell = RNN(1, 1, nonlinearity="relu", bias=False).double()
    with torch.no_grad():
        cell.U.fill_(w)
    x_0 = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    _, x_n = getattr(cell, path)(torch.zeros(n, 1, 1, dtype=torch.float64), x_0)
    x_n.sum().backward()
    assert x_n.item() == pytest.approx(w**n * 0.5, rel=1e-12)
    assert x_0.grad.item() == pytest.approx(w**n, rel=1e-12)
    assert cell.U.grad.item() == pytest.approx(n * w ** (n - 1) * 0.5, rel=1e-12)
