"""Proofs that every cell must pass: cells are found by looking into conf/model."""

import hydra.utils
import pytest
import torch
from conftest import MODELS, composed
from torch import Tensor, nn

from unroll.recurrent import Recurrent
from unroll.state import State, concatenate, detach, map_state, reset, select


def stack(model: str, num_layers: int = 1, input_size: int = 5, hidden_size: int = 6) -> Recurrent:
    config = composed(f"model={model}", f"model.num_layers={num_layers}", f"model.hidden_size={hidden_size}")
    made = hydra.utils.instantiate(config["model"])(input_size=input_size).double()
    # Weights away from their special start (zero biases, orthogonal matrices), where a mistake could hide.
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4)
    return made


def leaves(state: State) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [leaf for part in state for leaf in leaves(part)]


def some_state(recurrent: Recurrent, batch_size: int) -> State:
    like = torch.zeros(0, dtype=torch.float64)
    return map_state(lambda zeros: torch.randn_like(zeros).requires_grad_(), recurrent.initial_state(batch_size, like))


def by_loop(recurrent: Recurrent, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The stack's reference: every layer's plain loop over `step`."""
    final = []
    for layer, layer_state in zip(recurrent.layers, state, strict=True):
        x, layer_state = layer.loop(x, layer_state)
        final.append(layer_state)
    return x, tuple(final)


def gradients(outputs: Tensor, final: State, inputs: list[Tensor]) -> list[Tensor]:
    """Of a sum in which every output and every part of the final state has a weight of its own."""
    generator = torch.Generator().manual_seed(7)
    total = sum(
        (tensor * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)).sum()
        for tensor in [outputs, *leaves(final)]
    )
    assert isinstance(total, Tensor)
    return list(torch.autograd.grad(total, inputs))


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_fast_path_equals_the_loop(model, num_layers):
    recurrent = stack(model, num_layers)
    x = torch.randn(7, 4, 5, dtype=torch.float64, requires_grad=True)
    state = some_state(recurrent, 4)
    inputs = [x, *leaves(state), *recurrent.parameters()]
    y, final = recurrent(x, state)
    y_loop, final_loop = by_loop(recurrent, x, state)
    expected = [y_loop, *leaves(final_loop), *gradients(y_loop, final_loop, inputs)]
    for value, reference in zip([y, *leaves(final), *gradients(y, final, inputs)], expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_loop_passes_gradcheck(model):
    recurrent = stack(model, input_size=2, hidden_size=2)
    (cell,) = recurrent.layers
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    (state,) = some_state(recurrent, 2)

    def flat(x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        y, final = cell.loop(x, parts[0] if len(parts) == 1 else tuple(parts))
        return y, *leaves(final)

    assert torch.autograd.gradcheck(flat, (x, *leaves(state)))


@pytest.mark.parametrize("model", MODELS)
def test_whole_sequence_equals_its_windows_with_carried_state(model):
    recurrent = stack(model, num_layers=2)
    x = torch.randn(11, 4, 5, dtype=torch.float64)
    whole, final = recurrent(x)
    pieces, state = [], None
    for window in x.split(3):  # the last one is shorter
        y, state = recurrent(window, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-12, atol=1e-14)
    for part, reference in zip(leaves(state), leaves(final), strict=True):
        torch.testing.assert_close(part, reference, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("model", MODELS)
def test_batch_equals_one_by_one(model):
    recurrent = stack(model, num_layers=2)
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    state = some_state(recurrent, 3)
    y, final = recurrent(x, state)
    singles = [recurrent(x[:, [row]], select(state, slice(row, row + 1))) for row in range(3)]
    torch.testing.assert_close(torch.cat([single for single, _ in singles], dim=1), y, rtol=1e-12, atol=1e-14)
    joined = concatenate([single for _, single in singles])
    for part, reference in zip(leaves(joined), leaves(final), strict=True):
        torch.testing.assert_close(part, reference, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("model", MODELS)
def test_under_bf16_autocast_the_state_stays_float32_and_the_error_is_bf16s_own(model):
    recurrent = stack(model).float()
    x = torch.randn(8, 4, 5)
    y, state = recurrent(x)
    with torch.autocast("cpu", torch.bfloat16):
        y_half, state_half = recurrent(x)
        recurrent(x, state_half)
    assert {leaf.dtype for leaf in leaves(state_half)} == {torch.float32}
    recurrent(x, state_half)  # carried on outside of autocast
    # bf16 has 8 bits: each of 8 steps may err by 2^-8 of values around 1.
    for value, reference in zip([y_half.float(), *leaves(state_half)], [y, *leaves(state)], strict=True):
        torch.testing.assert_close(value, reference, rtol=8 * 2**-8, atol=8 * 2**-8)


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
    theirs = layer(5, 6).double()
    (ours,) = stack(model).layers
    ours.layer.load_state_dict(theirs.state_dict())
    x = torch.randn(7, 4, 5, dtype=torch.float64)
    y, _ = ours.loop(x, ours.initial_state(4, x))
    torch.testing.assert_close(y, theirs(x)[0], rtol=1e-10, atol=1e-12)


def test_dropout_between_layers_is_drawn_anew_each_step_and_never_on_the_outputs():
    torch.manual_seed(0)
    config = composed("model=rnn", "model.num_layers=2", "model.dropout=0.5", "model.hidden_size=64")
    recurrent = hydra.utils.instantiate(config["model"])(input_size=4)
    seen = []
    recurrent.layers[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    y, _ = recurrent(torch.randn(6, 2, 4))
    dropped = seen[0] == 0
    assert 0.4 < dropped.float().mean() < 0.6
    assert (dropped[0] != dropped[1]).any()
    assert (y != 0).all()
    recurrent.eval()
    first, second = recurrent(torch.ones(3, 1, 4))[0], recurrent(torch.ones(3, 1, 4))[0]
    assert torch.equal(first, second)


def test_reset_zeroes_rows_of_every_part():
    state = (torch.ones(3, 2), (torch.ones(3, 2), torch.ones(3, 4)))
    cleared = reset(detach(state), torch.tensor([False, True, False]))
    for leaf in leaves(cleared):
        assert leaf[1].sum() == 0
        assert (leaf[[0, 2]] == 1).all()
