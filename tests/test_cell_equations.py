"""Single cells against their papers' equations, against torch's layers, and against published implementations."""

import hydra.utils
import pytest
import torch
import torch.nn.functional as F
from conftest import MODELS, composed
from stacks import assert_same, leaves, results, some_state, stack
from torch import Tensor, nn

from unroll.cells import mlstm
from unroll.cells.base import Cell
from unroll.cells.linear import Scan
from unroll.cells.min_lstm import MinLSTM
from unroll.cells.zoneout import Zoneout
from unroll.errors import UsageError
from unroll.state import detach, map_state, reset


def test_parameter_counts():
    """As the papers' equations have them, for 5 inputs, 8 units and 2 heads; torch's layers have a second bias."""
    weights = 8 * 5 + 8 * 8
    expected = {
        "rnn": weights + 16,
        "rnn_relu": weights + 16,
        "lstm": 4 * (weights + 16),
        "gru": 3 * (weights + 16),
        "leaky": weights + 8,
        "skip": weights + 64 + 8,
        "skip_only": weights + 8,
        "peephole_lstm": 4 * (weights + 8) + 3 * 8,
        "coupled_lstm": 3 * (weights + 8),
        "layer_norm_lstm": 4 * (weights + 8) + 2 * 32 + 2 * 8,
        "layer_norm_gru": 3 * (weights + 8) + 2 * 24,
        "zoneout_lstm": 4 * (weights + 16),
        "mogrifier_lstm": 4 * (weights + 8) + 3 * (8 * 5 + 5) + 2 * (5 * 8 + 8),
        "min_gru": 2 * (40 + 8),
        "min_lstm": 3 * (40 + 8),
        "ind_rnn": 40 + 8 + 8,
        "rg_lru": 40 + 2 * (64 + 8) + 8,
        "slstm": 4 * (40 + 8) + 4 * 64 // 2,
        "mlstm": 4 * 40 + 8 + 2 * 2 * (5 + 1),
        # Each: the way to 8 features, norms, the convolution's 4 weights and bias, and what follows.
        "griffin": 48 + 3 * 8 + 5 * 8 + 2 * 64 + (2 * (64 + 8) + 8) + 64 + 3 * 8 * 24,
        "mlstm_block": 48 + 2 * 8 + 5 * 16 + 2 * 128 + (3 * 16 * 4 + 2 * 2 * (48 + 1)) + 2 * 16 + 128,
        "slstm_block": 48 + 4 * 8 + 5 * 8 + (4 * 32 + 4 * 32 + 4 * 8) + 3 * 8 * 11,
    }
    for model, count in expected.items():
        assert sum(parameter.numel() for parameter in stack(model).parameters()) == count, model


def test_orthogonal_start_and_forget_bias():
    recurrent = hydra.utils.instantiate(composed("model=lstm", "model.hidden_size=32")["model"])(input_size=8)
    (cell,) = recurrent.layers
    for block in cell.U.chunk(4):
        torch.testing.assert_close(block @ block.T, torch.eye(32), rtol=0, atol=1e-5)
    i, f, g, o = (cell.b_W + cell.b_U).chunk(4)
    assert (f == 1).all()
    assert not torch.cat([i, g, o]).any()


@pytest.mark.parametrize(("model", "layer"), [("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)])
def test_weights_of_torch_layers_can_be_taken_over(model, layer):
    """Same names, same layout: a torch checkpoint's layer 0 is our layer."""
    theirs = layer(5, 8).double()
    (ours,) = stack(model).layers
    ours.layer.load_state_dict(theirs.state_dict())
    x = torch.randn(7, 4, 5, dtype=torch.float64)
    y, _ = ours.loop(x, ours.initial_state(4, x))
    assert_same([y], [theirs(x)[0]])


def cell(model: str, *overrides: str) -> Cell:
    (made,) = stack(model, *overrides).eval().layers
    return made


def as_lstm(other: Cell) -> nn.LSTM:
    """torch's LSTM with the weights of a cell of ours that has the same W, U and b."""
    theirs = nn.LSTM(5, 8).double()
    state = {"weight_ih_l0": other.W, "weight_hh_l0": other.U, "bias_ih_l0": other.b}
    theirs.load_state_dict({**state, "bias_hh_l0": torch.zeros_like(other.b)})
    return theirs


@pytest.mark.parametrize("model", ["peephole_lstm", "mogrifier_lstm"])
def test_without_what_they_add_they_are_lstms(model):
    ours = cell(model, *(["model.cell.rounds=0"] if model.startswith("mog") else []))
    for name in ("p_i", "p_f", "p_o"):
        if hasattr(ours, name):
            getattr(ours, name).data.zero_()
    x = torch.randn(7, 4, 5, dtype=torch.float64)
    assert_same([ours(x, ours.initial_state(4, x))[0]], [as_lstm(ours)(x)[0]])


def test_two_rounds_of_the_mogrifier_as_written():
    ours = cell("mogrifier_lstm", "model.cell.rounds=2")
    Q, R = ours.gates_of_rounds
    x, h, c = (torch.randn(4, size, dtype=torch.float64) for size in (5, 8, 8))
    x1 = 2 * torch.sigmoid(h @ Q.weight.T + Q.bias) * x
    h2 = 2 * torch.sigmoid(x1 @ R.weight.T + R.bias) * h
    _, (h_n, c_n) = as_lstm(ours)(x1[None], (h2[None], c[None]))
    assert_same(list(ours.step(x, (h, c))), [h_n[0], c_n[0]])


def test_layer_normalization_as_written():
    ours = cell("layer_norm_lstm")

    def normal(a: Tensor) -> Tensor:
        return (a - a.mean(-1, keepdim=True)) / (a.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()

    x, h, c = (torch.randn(4, size, dtype=torch.float64) for size in (5, 8, 8))
    i, f, g, o = (ours.g_W * normal(x @ ours.W.T) + ours.g_U * normal(h @ ours.U.T) + ours.b).chunk(4, -1)
    c_t = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h_t = torch.sigmoid(o) * torch.tanh(ours.g_c * normal(c_t) + ours.b_c)
    assert_same(list(ours.step(ours.project(x), (h, c))), [h_t, c_t])


@pytest.mark.parametrize("learned", ["true", "false"])
def test_leaky_units_without_recurrent_weight_decay_at_alpha(learned):
    ours = hydra.utils.instantiate(
        composed("model=leaky", "model.cell.alpha=[0.5,0.9]", f"model.cell.learned={learned}")["model"]["cell"]
    )(5, 8).double()
    ours.U.data.zero_()
    x = torch.zeros(6, 1, 5, dtype=torch.float64)
    start = torch.ones(1, 8, dtype=torch.float64, requires_grad=True)
    y, _ = ours(x, start)
    alpha = 1 - torch.logspace(torch.log10(torch.tensor(0.5)), torch.log10(torch.tensor(0.1)), 8).double()
    assert_same([y[5, 0]], [alpha**6], rtol=1e-5, atol=0)
    (slope,) = torch.autograd.grad(y[5].sum(), start)
    assert_same([slope[0]], [alpha**6], rtol=1e-5, atol=0)


def test_a_skip_alone_is_d_networks_side_by_side():
    ours = cell("skip_only", "model.cell.distance=3")
    plain = nn.RNN(5, 8).double()
    weights = {"weight_ih_l0": ours.W, "weight_hh_l0": ours.U, "bias_ih_l0": ours.b}
    plain.load_state_dict({**weights, "bias_hh_l0": torch.zeros(8)})
    x = torch.randn(10, 4, 5, dtype=torch.float64)
    y, final = ours(x, ours.initial_state(4, x))
    for first in range(3):
        assert_same([y[first::3]], [plain(x[first::3])[0]])
    assert_same([final], [y[-3:].transpose(0, 1)])


def test_a_gradient_passes_a_skip_in_fewer_factors():
    ours = cell("skip_only", "model.cell.distance=4")
    ours.U.data.copy_(0.5 * torch.eye(8))
    x = torch.zeros(13, 1, 5, dtype=torch.float64, requires_grad=True)
    ours.b.data.zero_()
    y, _ = ours(x, ours.initial_state(1, x))
    (slope,) = torch.autograd.grad(y[12].sum(), x)
    reached = [step for step in range(13) if slope[step].any()]
    assert reached == [0, 4, 8, 12]
    assert_same([slope[0]], [slope[12] * 0.5**3])


def test_zoneout_keeps_units_in_training_and_takes_the_expectation_in_evaluation():
    torch.manual_seed(1)
    ours = cell("zoneout_lstm", "model.cell.probabilities=[0.3,0.5]")
    px = ours.project(torch.randn(2000, 5, dtype=torch.float64))
    before = tuple(torch.randn(2000, 8, dtype=torch.float64) for _ in range(2))
    after = ours.cell.step(px, before)
    for value, old, new, p in zip(ours.step(px, before), before, after, [0.3, 0.5], strict=True):
        assert_same([value], [p * old + (1 - p) * new])
    ours.train()
    for value, old, new, p in zip(ours.step(px, before), before, after, [0.3, 0.5], strict=True):
        kept = value == old
        assert torch.equal(value, torch.where(kept, old, new))
        assert abs(kept.double().mean() - p) < 0.02


def test_weights_are_dropped_once_a_sequence():
    recurrent = stack("lstm", "model.cell.weight_drop=0.5")
    (ours,) = recurrent.layers
    (U,) = ours.draw_masks(3, torch.zeros(0))
    assert 0.3 < (U == 0).double().mean() < 0.7
    assert torch.equal(U[U != 0], 2 * ours.U[U != 0])
    assert recurrent.eval().draw_masks(3, torch.zeros(0)) == ((),)


def test_min_gru_and_min_lstm_as_written():
    x = torch.randn(1, 4, 5, dtype=torch.float64)
    h = torch.randn(4, 8, dtype=torch.float64)
    gru, lstm = cell("min_gru"), cell("min_lstm")
    z, n = F.linear(x[0], gru.W, gru.b).chunk(2, -1)
    assert_same([gru(x, h)[1]], [(1 - torch.sigmoid(z)) * h + torch.sigmoid(z) * n])
    f, i, n = F.linear(x[0], lstm.W, lstm.b).chunk(3, -1)
    f, i = torch.sigmoid(f), torch.sigmoid(i)
    assert_same([lstm(x, h)[1]], [f / (f + i) * h + i / (f + i) * n])


def test_rg_lru_as_written():
    ours = cell("rg_lru")
    x, h = torch.randn(1, 4, 5, dtype=torch.float64), torch.randn(4, 8, dtype=torch.float64)
    u = F.linear(x[0], ours.V)
    r, i = torch.sigmoid(F.linear(u, ours.W, ours.b)).chunk(2, -1)
    a = torch.sigmoid(-ours.Lambda) ** (8 * r)  # as the paper has it: a = sigmoid(Lambda'), Lambda' = -Lambda
    assert_same([ours(x, h)[1]], [a * h + (1 - a**2).sqrt() * (i * u)])
    made = hydra.utils.instantiate(composed("model=rg_lru")["model"]["cell"], _convert_="all")(5, 3)
    torch.testing.assert_close((-8 * F.softplus(made.Lambda)).exp(), torch.tensor([0.9, 0.9495, 0.999]))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_scan_over_16384_steps_is_as_exact_as_its_type(kind):
    """Gates near 0 and near 1, and a carried state; logarithms or quotients of running products would fail here."""
    generator = torch.Generator().manual_seed(2)
    gate = 6 * torch.randn(16384, 2, 3, generator=generator, dtype=torch.float64)
    a, b = torch.sigmoid(gate).to(kind), (torch.sigmoid(-gate) * torch.randn_like(gate)).to(kind)
    h_0 = torch.randn(2, 3, generator=generator, dtype=torch.float64).to(kind)
    h, exact = Scan.apply(a, b, h_0), []
    now = h_0.double()
    for a_t, b_t in zip(a.double(), b.double(), strict=True):
        now = a_t * now + b_t
        exact.append(now)
    scale = torch.stack(exact).abs().max().item()
    # Every value is a mean over about 1 / (1 - a) steps; errors add up over log2(16384) = 14 rounds.
    torch.testing.assert_close(h.double(), torch.stack(exact), rtol=0, atol=14 * torch.finfo(kind).eps * scale)


def test_a_mean_stays_one_in_half_precision():
    """Of a MinLSTM: f' + i' = 1. Rounded apart, an i' next to nothing would add up."""
    cell = MinLSTM(2, 16)
    with torch.no_grad():
        cell.b[16:32] = -7  # i: a memory of some thousand steps
        x = torch.ones(5000, 1, 2)
        exact, _ = cell(x, cell.initial_state(1, x))
        for path in cell.paths:
            with torch.autocast("cpu", torch.bfloat16):
                y, _ = cell(x, cell.initial_state(1, x), backend=path)
            torch.testing.assert_close(y.float()[-1], exact[-1], rtol=0, atol=0.02 * exact.abs().max().item())


@pytest.mark.parametrize("model", ["min_gru", "min_lstm", "rg_lru"])
def test_linear_cells_are_safe_over_16384_steps(model):
    recurrent = stack(model, input_size=2, hidden_size=4)
    x = 3 * torch.randn(16384, 1, 2, dtype=torch.float64)
    state = some_state(recurrent, 1)
    exact, exact_state = recurrent(x, detach(state))
    recurrent.float()
    single = map_state(lambda part: part.detach().float(), state)
    for path in ("analytic", "scan"):
        recurrent.backend = path
        recurrent.zero_grad()
        y, final = recurrent(x.float(), single)
        y.sum().backward()
        scale = exact.abs().max().item()
        torch.testing.assert_close(y.double(), exact, rtol=0, atol=2e-5 * scale)
        assert_same([final[0].double()], [exact_state[0]], rtol=0, atol=2e-5 * scale)
        assert all(parameter.grad.isfinite().all() for parameter in recurrent.parameters())


@pytest.mark.parametrize("model", ["slstm", "mlstm"])
def test_exponential_gates_do_not_overflow(model):
    recurrent = stack(model).float()
    x = 1000 * torch.randn(200, 2, 5)
    y, state = recurrent(x)
    y.sum().backward()
    for value in [y, *leaves(state), *(parameter.grad for parameter in recurrent.parameters())]:
        assert value.isfinite().all()


def test_slstm_equals_the_published_implementation():
    reference = pytest.importorskip("xlstm.blocks.slstm.src.vanilla.slstm", reason="xlstm is not installed")
    ours = cell("slstm")
    px = ours.project(torch.randn(6, 3, 5, dtype=torch.float64))
    state = ours.initial_state(3, px)
    theirs = torch.stack(state)  # h, c, n, m
    config = type("Config", (), {"num_states": 4, "num_gates": 4})
    for px_t in px:
        h = state[0].view(3, ours.heads, -1)
        by_head = torch.einsum("bki,kij->bkj", h, ours.R).view(3, ours.heads, 4, -1).transpose(1, 2).reshape(3, -1)
        theirs, _ = reference.slstm_forward_pointwise(px_t, by_head, torch.zeros_like(px_t[0]), theirs, vars(config))
        state = ours.step(px_t, state)
        assert_same([state[0]], [theirs[0]])


def test_mlstm_equals_the_published_implementation():
    reference = pytest.importorskip("xlstm.blocks.mlstm.backends", reason="xlstm is not installed")
    ours = cell("mlstm")
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    px = ours.project(x)
    q, k, v, i, f, o = px.split([8, 8, 8, 2, 2, 8], dim=-1)
    q, k, v = (part.view(6, 3, 2, 4).permute(1, 2, 0, 3) for part in (q, k, v))
    i, f = (part.permute(1, 2, 0)[..., None] for part in (i, f))
    # Theirs scales the keys by 1 / sqrt(d) itself.
    h = reference.parallel_stabilized_simple(q, k * 4**0.5, v, i, f, eps=0.0)
    y, _ = ours(x, ours.initial_state(3, x))
    assert_same([y], [o * h.permute(2, 0, 1, 3).flatten(2)])


@pytest.mark.parametrize("kind", ["slstm", "mlstm"])
def test_the_order_of_the_parameters_is_that_of_stored_optimizers(kind):
    names = [name for name, _ in cell(kind).named_parameters()]
    assert names == {"slstm": ["W", "R", "b"], "mlstm": ["W", "b_o", "w", "b"]}[kind]


def test_dropout_between_layers_is_drawn_anew_each_step_and_never_on_the_outputs():
    seen = {}
    for locked in ("true", "false"):
        torch.manual_seed(0)
        recurrent = stack(
            "rnn", "model.num_layers=2", "model.dropout=0.5", f"model.locked_dropout={locked}", hidden_size=64
        )
        recurrent.layers[1].register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
        y, _ = recurrent(torch.randn(6, 20, 5, dtype=torch.float64))
        dropped = seen["x"] == 0
        assert 0.4 < dropped.float().mean() < 0.6
        assert (dropped[0] == dropped[1]).all() == (locked == "true")
        assert (y != 0).all()
        recurrent.eval()
        assert torch.equal(recurrent(torch.ones(3, 1, 5).double())[0], recurrent(torch.ones(3, 1, 5).double())[0])


def test_a_residual_stack_adds_each_layers_input():
    recurrent = stack("gru", "model.num_layers=2", "model.residual=true")
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    first, _ = recurrent.layers[0](x, recurrent.layers[0].initial_state(3, x))
    second, _ = recurrent.layers[1](first, recurrent.layers[1].initial_state(3, x))
    assert_same([recurrent(x)[0]], [first + second])


def test_a_backend_that_a_cell_lacks_is_answered():
    with pytest.raises(UsageError, match=r"model\.backend=scan: GRU has no such path over time; Valid: auto, fused"):
        stack("gru", "model.backend=scan")


def test_reset_zeroes_rows_of_every_part():
    state = (torch.ones(3, 2), (torch.ones(3, 2), torch.ones(3, 4)))
    cleared = reset(detach(state), torch.tensor([False, True, False]))
    for leaf in leaves(cleared):
        assert leaf[1].sum() == 0
        assert (leaf[[0, 2]] == 1).all()


def test_a_learned_leak_is_learned_by_every_path():
    recurrent = stack("leaky", "model.cell.learned=true")
    x = torch.randn(7, 4, 5, dtype=torch.float64, requires_grad=True)
    inputs = [x, *recurrent.parameters()]
    found = []
    for path in ("loop", "analytic"):
        recurrent.backend = path
        found.append(results(*recurrent(x), inputs))
    assert_same(found[1], found[0])
    assert recurrent.layers[0].leak.requires_grad


@pytest.mark.parametrize("alpha", ["1.0", "-0.1", "[0.5,1.0]"])
def test_a_leak_out_of_range_is_answered(alpha):
    with pytest.raises(UsageError, match=r"model\.cell\.alpha=.*: has to lie in \[0, 1\)"):
        stack("leaky", f"model.cell.alpha={alpha}")


def test_the_matrix_memory_in_several_windows_equals_the_loop(monkeypatch):
    monkeypatch.setattr(mlstm, "_WINDOW", 3)
    recurrent = stack("mlstm")
    x = torch.randn(8, 4, 5, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([8, 4, 0, 7])
    inputs = [x, *recurrent.parameters()]
    found = []
    for path in ("loop", "parallel"):
        recurrent.backend = path
        found.append(results(*recurrent(x, None, lengths), inputs))
    assert_same(found[1], found[0])


@pytest.mark.parametrize("path", ["analytic", "scan", "loop"])
def test_min_gru_forgets_in_half_precision_too(path):
    """A long memory means a z near 0; 1 - z rounded apart from it would make h a sum that grows with time."""
    cell = stack("min_gru", f"model.backend={path}").layers[0].float()
    cell.b.data[:8] = -7.0
    cell.b.data[8:] = 1.0
    cell.W.data *= 0.1
    x = torch.randn(2000, 2, 5)
    with torch.no_grad():
        reference, _ = cell(x, torch.zeros(2, 8), None, (), path)
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = cell(x, torch.zeros(2, 8), None, (), path)
    assert (y[-1].float() - reference[-1]).abs().max() < 0.02 * reference[-1].abs().max()


def test_ind_rnn_weights_come_back_from_beyond_their_bound():
    recurrent = stack("ind_rnn")
    cell = recurrent.layers[0]
    cell.u.data = torch.full((8,), 1.5, dtype=torch.float64)
    bounded = cell.u.data.clone().fill_(1.0)
    same = stack("ind_rnn")
    same.load_state_dict({**recurrent.state_dict(), "layers.0.u": bounded})
    torch.manual_seed(5)
    x = torch.rand(6, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(recurrent(x)[0], same(x)[0])
    recurrent(x)[0].sum().backward()
    same(x)[0].sum().backward()
    torch.testing.assert_close(cell.u.grad, same.layers[0].u.grad)
    assert cell.u.grad.abs().sum() > 0


@pytest.mark.parametrize("model", ["skip", "slstm", "mlstm"])
def test_zoneout_is_refused_where_a_state_belongs_together(model):
    inner = composed(f"model={model}")["model"]["cell"]
    with pytest.raises(UsageError, match="state go together: no zoneout for it"):
        Zoneout(5, 8, hydra.utils.instantiate(inner, _convert_="all"), [0.1])


def test_zoneout_wants_a_probability_for_each_part():
    with pytest.raises(UsageError, match=r"probabilities=\[0.1\]: the state of LSTM has 2 parts"):
        stack("zoneout_lstm", "model.cell.probabilities=[0.1]")


def test_a_carried_state_keeps_nothing_else_alive():
    for model in MODELS:
        recurrent = stack(model, *(["model.cell.distance=1"] if model == "skip_only" else []))
        _, state = recurrent(torch.randn(200, 2, 5, dtype=torch.float64))
        for leaf in leaves(detach(state)):
            assert leaf.untyped_storage().nbytes() <= 2 * leaf.numel() * leaf.element_size(), model
