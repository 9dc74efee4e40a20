"""Proofs that every cell must pass: cells are found by looking into conf/model."""

import hydra.utils
import pytest
import torch
import torch.nn.functional as F
from conftest import MODELS, composed
from torch import Tensor, nn

from unroll.cells.base import Cell
from unroll.cells.linear import linear_scan
from unroll.errors import UsageError
from unroll.recurrent import Recurrent, reverse
from unroll.state import State, concatenate, detach, map_state, reset, select

DOUBLE = {"rtol": 1e-9, "atol": 1e-11}


def stack(model: str, *overrides: str, input_size: int = 5, hidden_size: int = 8) -> Recurrent:
    # Sequences here are short: an edge over 8 steps would never be passed.
    short = ["model.cell.distance=3"] if "distance" in composed(f"model={model}")["model"]["cell"] else []
    config = composed(f"model={model}", f"model.hidden_size={hidden_size}", *short, *overrides)
    made = hydra.utils.instantiate(config["model"], _convert_="all")(input_size=input_size).double()
    # Weights away from their special start (zero biases, orthogonal matrices), where a mistake could hide.
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def paths() -> list[tuple[str, str]]:
    """(model, path) for every path over time of every cell."""
    return [(model, path) for model in MODELS for path in stack(model).layers[0].paths]


def leaves(state: State) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [leaf for part in state for leaf in leaves(part)]


def some_state(recurrent: Recurrent, batch_size: int) -> State:
    """One that the network itself has reached."""
    with torch.no_grad():
        _, state = recurrent(torch.randn(3, batch_size, recurrent.input_size, dtype=torch.float64))
    return map_state(lambda part: part.clone().requires_grad_(), state)


def by_loop(recurrent: Recurrent, x: Tensor, state: State, lengths: Tensor | None = None) -> tuple[Tensor, State]:
    """The stack's reference: every layer's plain loop over `step`."""
    final = []
    for layer, layer_state in zip(recurrent.layers, state, strict=True):
        x, layer_state = layer.loop(x, layer_state, lengths)
        final.append(layer_state)
    return x, tuple(final)


def results(outputs: Tensor, final: State, inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, final state, and the gradients of a sum in which each of their entries has a weight of its own."""
    generator = torch.Generator().manual_seed(7)
    values = [outputs, *leaves(final)]
    total = sum((value * torch.randn(value.shape, generator=generator, dtype=value.dtype)).sum() for value in values)
    assert isinstance(total, Tensor)
    return [*values, *torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)]


def assert_same(ours: list[Tensor], theirs: list[Tensor], **tolerance: float) -> None:
    for value, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(value, reference, **(tolerance or DOUBLE))


@pytest.mark.parametrize("lengths", [None, [7, 3, 0, 5]], ids=["whole", "lengths"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize(("model", "path"), paths())
def test_every_path_equals_the_loop(model, path, num_layers, lengths):
    recurrent = stack(model, f"model.num_layers={num_layers}").eval()
    recurrent.backend = path
    x = torch.randn(7, 4, 5, dtype=torch.float64, requires_grad=True)
    lengths = None if lengths is None else torch.tensor(lengths)
    state = some_state(recurrent, 4)
    inputs = [x, *leaves(state), *recurrent.parameters()]
    expected = results(*by_loop(recurrent, x, state, lengths), inputs)
    assert_same(results(*recurrent(x, state, lengths), inputs), expected)


@pytest.mark.parametrize("model", MODELS)
def test_the_automatic_path_is_one_that_the_cell_has(model):
    recurrent = stack(model)
    x = torch.zeros(2, 1, 5)
    for lengths in (None, torch.tensor([1])):
        assert recurrent.path(x, lengths) in recurrent.layers[0].paths


@pytest.mark.parametrize(("model", "path"), paths())
def test_every_path_passes_gradcheck(model, path):
    recurrent = stack(model, input_size=2, hidden_size=4).eval()
    recurrent.backend = path
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    (state,) = some_state(recurrent, 2)

    def flat(x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        y, (final,) = recurrent(x, (parts[0] if len(parts) == 1 else tuple(parts),))
        return y, *leaves(final)

    assert torch.autograd.gradcheck(flat, (x, *leaves(state)))


@pytest.mark.parametrize(("model", "path"), paths())
def test_whole_sequence_equals_its_windows_with_carried_state(model, path):
    recurrent = stack(model, "model.num_layers=2").eval()
    recurrent.backend = path
    x = torch.randn(11, 4, 5, dtype=torch.float64)
    for lengths in (None, torch.tensor([11, 4, 0, 6])):
        whole, final = recurrent(x, None, lengths)
        pieces, state, left = [], None, lengths
        for window in x.split(3):  # the last one is shorter
            y, state = recurrent(window, state, None if left is None else left.clamp(max=len(window)))
            pieces.append(y)
            left = None if left is None else (left - 3).clamp(min=0)
        assert_same([torch.cat(pieces), *leaves(state)], [whole, *leaves(final)])


@pytest.mark.parametrize("model", MODELS)
def test_batch_equals_one_by_one(model):
    recurrent = stack(model, "model.num_layers=2").eval()
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    state = some_state(recurrent, 3)
    y, final = recurrent(x, state)
    singles = [recurrent(x[:, [row]], select(state, slice(row, row + 1))) for row in range(3)]
    assert_same([torch.cat([single for single, _ in singles], dim=1)], [y])
    assert_same(leaves(concatenate([single for _, single in singles])), leaves(final))


@pytest.mark.parametrize("model", MODELS)
def test_padded_equals_unpadded_in_both_directions(model):
    recurrent = stack(model, "model.num_layers=2", "model.bidirectional=true").eval()
    lengths = torch.tensor([6, 2, 4])
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    y, final = recurrent(x, None, lengths)
    assert y.shape == (6, 3, 16)
    for row, length in enumerate(lengths.tolist()):
        alone, alone_final = recurrent(x[:length, [row]])
        assert_same([y[:length, [row]]], [alone])
        assert not y[length:, row].any()
        assert_same(leaves(select(final, slice(row, row + 1))), leaves(alone_final))


@pytest.mark.parametrize("model", MODELS)
def test_the_second_direction_is_the_first_over_the_turned_sequence(model):
    recurrent = stack(model, "model.bidirectional=true").eval()
    recurrent.reverse_layers.load_state_dict(recurrent.layers.state_dict())
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    lengths = torch.tensor([6, 2, 4])
    forward, backward = recurrent(x, None, lengths)[0].chunk(2, dim=-1)
    turned, _ = recurrent(reverse(x, lengths), None, lengths)[0].chunk(2, dim=-1)
    assert_same([backward], [reverse(turned, lengths)])
    assert not torch.allclose(forward, backward)


@pytest.mark.parametrize("model", MODELS)
def test_recomputing_windows_changes_no_number(model):
    x = torch.randn(10, 3, 5, dtype=torch.float64, requires_grad=True)
    recurrent = stack(model, "model.num_layers=2", "model.bidirectional=true", "model.residual=true").eval()
    lengths = torch.tensor([10, 3, 7])
    inputs = [x, *recurrent.parameters()]
    expected = results(*recurrent(x, None, lengths), inputs)
    for recompute in (3, "auto", 10):
        recurrent.recompute = recompute
        assert_same(results(*recurrent(x, None, lengths), inputs), expected)


@pytest.mark.parametrize(("model", "path"), paths())
def test_under_bf16_autocast_the_state_stays_float32_and_the_error_is_bf16s_own(model, path):
    recurrent = stack(model).float().eval()
    recurrent.backend = path
    x = torch.randn(8, 4, 5)
    y, state = recurrent(x)
    with torch.autocast("cpu", torch.bfloat16):
        y_half, state_half = recurrent(x)
        recurrent(x, state_half)
        gradients = torch.autograd.grad(y_half.float().sum(), list(recurrent.parameters()), allow_unused=True)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)
    assert {leaf.dtype for leaf in leaves(state_half)} == {torch.float32}
    recurrent(x, state_half)  # carried on outside of autocast
    # bf16 has 8 bits: each of 8 steps may err by 2^-8 of the largest value.
    for value, reference in zip([y_half.float(), *leaves(state_half)], [y, *leaves(state)], strict=True):
        scale = max(1.0, reference.abs().max().item())
        torch.testing.assert_close(value, reference, rtol=0, atol=8 * 2**-8 * scale)


@pytest.mark.parametrize("model", MODELS)
def test_every_cell_trains_under_its_own_masks(model):
    """In training mode too, one draw of masks gives one result, by every path and in any windows."""
    recurrent = stack(model, "model.num_layers=2", "model.dropout=0.5", "model.locked_dropout=true")
    for cell in recurrent.layers:
        if hasattr(cell, "weight_drop"):
            cell.weight_drop = 0.5
        if hasattr(cell, "probabilities"):
            cell.probabilities = [0.0] * len(cell.probabilities)  # drawn anew at each step, by definition
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    masks = recurrent.draw_masks(3, x)
    whole, _ = recurrent(x, None, None, masks)
    for path in recurrent.layers[0].paths:
        recurrent.backend = path
        first, state = recurrent(x[:4], None, None, masks)
        second, _ = recurrent(x[4:], state, None, masks)
        assert_same([torch.cat([first, second])], [whole])
    assert not torch.allclose(recurrent(x)[0], whole)


def test_parameter_counts():
    """As the papers' equations have them, for 5 inputs and 8 units; torch's layers have a second bias."""
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
        "slstm": 4 * (40 + 8) + 4 * 64 // 4,
        "mlstm": 4 * 40 + 8 + 2 * 4 * (5 + 1),
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
    h, exact = linear_scan(a, b, h_0), []
    now = h_0.double()
    for a_t, b_t in zip(a.double(), b.double(), strict=True):
        now = a_t * now + b_t
        exact.append(now)
    scale = torch.stack(exact).abs().max().item()
    # Every value is a mean over about 1 / (1 - a) steps; errors add up over log2(16384) = 14 rounds.
    torch.testing.assert_close(h.double(), torch.stack(exact), rtol=0, atol=14 * torch.finfo(kind).eps * scale)


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
    q, k, v, o, i, f = px.split([8, 8, 8, 8, 4, 4], dim=-1)
    q, k, v = (part.view(6, 3, 4, 2).permute(1, 2, 0, 3) for part in (q, k, v))
    i, f = (part.permute(1, 2, 0)[..., None] for part in (i, f))
    # Theirs scales the keys by 1 / sqrt(d) itself.
    h = reference.parallel_stabilized_simple(q, k * 2**0.5, v, i, f, eps=0.0)
    y, _ = ours(x, ours.initial_state(3, x))
    assert_same([y], [o * h.permute(2, 0, 1, 3).flatten(2)])


def test_dropout_between_layers_is_drawn_anew_each_step_and_never_on_the_outputs():
    seen = {}
    for locked in ("true", "false"):
        torch.manual_seed(0)
        recurrent = stack(
            "rnn", "model.num_layers=2", "model.dropout=0.5", f"model.locked_dropout={locked}", hidden_size=64
        )
        recurrent.layers[1].register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
        y, _ = recurrent(torch.randn(6, 2, 5, dtype=torch.float64))
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
