"""Proofs that every cell must pass: cells are found by looking into conf/model."""

import pytest
import torch
from conftest import MODELS, composed
from stacks import assert_same, by_loop, leaves, paths, results, some_state, stack
from torch import Tensor

from unroll.errors import UsageError
from unroll.recurrent import reverse
from unroll.state import concatenate, select, unflatten


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


class OnGPU(Tensor):
    """Says that it lies on a GPU."""

    is_cuda = True
    device = torch.device("cuda")


@pytest.mark.parametrize("model", MODELS)
def test_the_automatic_path_is_one_that_the_cell_has(model):
    recurrent = stack(model)
    for x in (torch.zeros(2, 1, 5), torch.zeros(2, 1, 5).as_subclass(OnGPU), torch.zeros(2, 700, 5)):
        for lengths in (None, torch.ones(x.shape[1], dtype=torch.long)):
            assert recurrent.train().path(x, lengths) in recurrent.layers[0].paths
            assert recurrent.eval().path(x, lengths) in recurrent.layers[0].paths


@pytest.mark.parametrize(("model", "path"), paths())
def test_every_path_passes_gradcheck(model, path):
    recurrent = stack(model, input_size=2, hidden_size=4).eval()
    recurrent.backend = path
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    (state,) = some_state(recurrent, 2)

    def flat(x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        y, (final,) = recurrent(x, (unflatten(parts, state),))
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
def test_branches_are_steps_from_one_state(model):
    recurrent = stack(model, "model.num_layers=2", "model.residual=true").eval()
    state = some_state(recurrent, 4)
    x = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([0, 1, 0, 1])  # in turn
    inputs = [x, *leaves(state), *recurrent.parameters()]
    expected = torch.cat([recurrent(x_j[None, rows], state)[0] for x_j in x])
    assert_same(results(recurrent.branch(x, state), (), inputs), results(expected, (), inputs))
    assert_same([recurrent.branch(x[:, rows], state)], [expected])


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_branches_are_trained_with_what_is_drawn_for_a_sequence(model, locked):
    dropped = ["model.cell.weight_drop=0.4"] if "weight_drop" in composed(f"model={model}")["model"]["cell"] else []
    settings = ["model.num_layers=2", "model.dropout=0.4", f"model.locked_dropout={locked}", *dropped]
    recurrent = stack(model, *settings).train()
    recurrent.backend = "loop"
    state = some_state(recurrent, 4)
    x = torch.randn(1, 4, 5, dtype=torch.float64)
    torch.manual_seed(1)
    expected, _ = recurrent(x, state)
    torch.manual_seed(1)
    assert_same([recurrent.branch(x, state)], [expected])


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
    recurrent = stack(model, "model.bidirectional=true", "model.output_norm=false").eval()  # it would join them
    recurrent.reverse_layers.load_state_dict(recurrent.layers.state_dict())
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    lengths = torch.tensor([6, 2, 4])
    forward, backward = recurrent(x, None, lengths)[0].chunk(2, dim=-1)
    turned, _ = recurrent(reverse(x, lengths), None, lengths)[0].chunk(2, dim=-1)
    assert_same([backward], [reverse(turned, lengths)])
    assert not torch.allclose(forward, backward)


@pytest.mark.parametrize("model", ["gru", "layer_norm_lstm"])
def test_a_top_layer_of_another_width_is_one_more_layer(model):
    sizes = ["model.num_layers=3", "model.top_size=4", "model.bidirectional=true"]
    recurrent = stack(model, *sizes, "model.dropout=0.5", "model.locked_dropout=true").train()
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    masks = recurrent.draw_masks(3, x)
    y, _ = recurrent(x, None, None, masks)
    expected = x
    for depth, layers in enumerate(zip(recurrent.layers, recurrent.reverse_layers, strict=True)):
        if depth:
            expected = expected * masks[6 + depth - 1][0]
        states = [cell.initial_state(3, x) for cell in layers]
        forward, _ = layers[0].loop(expected, states[0])
        backward, _ = layers[1].loop(expected.flip(0), states[1])
        expected = torch.cat([forward, backward.flip(0)], dim=-1)
    assert recurrent.output_size == y.shape[-1] == 8
    assert_same([y], [expected])
    with pytest.raises(UsageError, match=r"^model\.residual=true .* model\.top_size=4 has to be model\.hidden_size=8"):
        stack(model, *sizes, "model.residual=true")


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
    for parameter in recurrent.parameters():
        parameter.data = parameter.data.bfloat16().float()
    y_rounded, state_rounded = recurrent(x.bfloat16().float())
    exact, rounded = [y, *leaves(state)], [y_rounded, *leaves(state_rounded)]
    for value, reference, first in zip([y_half.float(), *leaves(state_half)], exact, rounded, strict=True):
        # bf16 has 8 bits: each of 8 steps may err by 2^-8 of the largest value; where exponentials enlarge what the rounding
        # of weights and inputs alone does, by twice that.
        scale = max(1.0, reference.abs().max().item())
        own = 2 * (first - reference).abs().max().item()
        torch.testing.assert_close(value, reference, rtol=0, atol=max(8 * 2**-8 * scale, own))


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


def test_recomputing_notices_parameters_that_changed_in_between():
    recurrent = stack("lstm", "model.recompute=3")
    y, _ = recurrent(torch.randn(7, 2, 5, dtype=torch.float64))
    with torch.no_grad():
        next(recurrent.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("bidirectional", ["false", "true"])
@pytest.mark.parametrize("model", MODELS)
def test_outputs_without_the_state_are_those_with_it(model, bidirectional):
    recurrent = stack(model, "model.num_layers=2", f"model.bidirectional={bidirectional}").eval()
    x = torch.randn(9, 4, 5, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([9, 1, 0, 5])
    inputs = [x, *recurrent.parameters()]
    expected = results(recurrent(x, None, lengths)[0], (), inputs)
    y, nothing = recurrent(x, None, lengths, keep_state=False)
    assert nothing is None
    assert_same(results(y, (), inputs), expected)


def test_recomputing_draws_the_same_and_leaves_the_generator_where_it_was():
    recurrent = stack("zoneout_lstm").train()
    x = torch.randn(10, 3, 5, dtype=torch.float64, requires_grad=True)
    found = []
    for recompute in (None, 3):
        recurrent.recompute = recompute
        torch.manual_seed(1)
        found.append([*results(*recurrent(x), [x, *recurrent.parameters()]), torch.rand(1)])
    assert_same(*found)


def test_recompute_auto_takes_windows_of_the_root_of_time(monkeypatch):
    from unroll import recurrent

    asked = []
    run = recurrent.run_recomputed
    monkeypatch.setattr(recurrent, "run_recomputed", lambda *given: asked.append(given[-1]) or run(*given))
    stack("lstm", "model.recompute=auto")(torch.randn(10, 3, 5, dtype=torch.float64))
    assert asked == [3]


def test_each_sequence_has_a_locked_mask_of_its_own():
    overrides = ("model.num_layers=2", "model.dropout=0.5", "model.locked_dropout=true")
    recurrent = stack("gru", *overrides, hidden_size=64).train()
    ((mask,),) = recurrent.draw_masks(3, torch.zeros(0))[-1:]
    assert mask.shape == (3, 64)
    assert not torch.equal(mask[0], mask[1])
