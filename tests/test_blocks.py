"""Cells within residual blocks: against the published ones, with the same weights. What every cell proves they prove too."""

import importlib

import pytest
import torch
from stacks import assert_same, stack
from torch import Tensor, nn

from unroll.cells.base import Cell


def test_xlstm_blocks_equal_the_published_implementation():
    xlstm = pytest.importorskip("xlstm", reason="xlstm is not installed")
    blocks = importlib.import_module("xlstm.blocks.xlstm_block")
    inputs = torch.randn(
        3, 6, 48, dtype=torch.float64
    )  # (batch, time, features); 48 * 4/3 = 64, which theirs rounds to

    ours = stack("mlstm_block", "model.output_norm=false", input_size=48, hidden_size=48).layers[0]
    settings = xlstm.mLSTMLayerConfig(
        num_heads=ours.heads, embedding_dim=48, context_length=6, round_proj_up_to_multiple_of=1
    )
    theirs = blocks.xLSTMBlock(blocks.xLSTMBlockConfig(mlstm=settings, _num_blocks=1)).double()
    layer, within = theirs.xlstm, ours.cell
    pairs = [(layer.proj_up.weight, ours.branches.weight), (layer.proj_down.weight, ours.join.weight)]
    pairs += [(layer.learnable_skip, ours.s), (layer.mlstm_cell.outnorm.weight, ours.head_weight - 1)]
    pairs += [(layer.q_proj.weight, within.q.W), (layer.k_proj.weight, within.k.W), (layer.v_proj.weight, within.v.W)]
    for gate, weight, bias in zip("if", within.w.chunk(2), within.b.chunk(2), strict=True):
        pairs += [(getattr(layer.mlstm_cell, f"{gate}gate").weight, weight)]
        pairs += [(getattr(layer.mlstm_cell, f"{gate}gate").bias, bias)]
    assert_block_equals(ours, theirs, pairs, inputs)

    ours = stack("slstm_block", "model.output_norm=false", input_size=48, hidden_size=48).layers[0]
    settings = xlstm.sLSTMLayerConfig(num_heads=ours.heads, embedding_dim=48, backend="vanilla", dtype="float32")
    mlp = xlstm.FeedForwardConfig(proj_factor=1.3, embedding_dim=48, _num_blocks=1)
    theirs = blocks.xLSTMBlock(blocks.xLSTMBlockConfig(slstm=settings, feedforward=mlp, _num_blocks=1)).double()
    layer, within = theirs.xlstm, ours.cell
    recurrent, bias = layer.slstm_cell, within.b.view(4, ours.heads, -1).transpose(0, 1)
    pairs = [(recurrent._recurrent_kernel, recurrent._recurrent_kernel_ext2int(within.R.view(ours.heads, 4, 4, 4)))]
    pairs += [(recurrent._bias, recurrent._bias_ext2int(bias)), (layer.group_norm.weight, ours.head_weight - 1)]
    # Theirs names the first gate f and the second i, and gives them to the cell as i and f.
    pairs += [(layer.fgate.weight, within.i.W), (layer.igate.weight, within.f.W)]
    pairs += [(layer.zgate.weight, within.z.W), (layer.ogate.weight, within.o.W)]
    pairs += [(theirs.ffn_norm.weight, ours.mlp[0].weight - 1), (theirs.ffn.proj_up.weight, ours.mlp[1].enter.weight)]
    pairs += [(theirs.ffn.proj_down.weight, ours.mlp[1].leave.weight)]
    assert_block_equals(ours, theirs, pairs, inputs)


def test_griffin_equals_the_published_implementation():
    published = pytest.importorskip(
        "transformers.models.recurrent_gemma.modeling_recurrent_gemma", reason="transformers is not installed"
    )
    ours = stack("griffin", "model.output_norm=false", "model.cell.width=64", input_size=48, hidden_size=48).layers[0]
    # Theirs names the MLP's width twice, and takes the gates' matrices a head at a time, transposed.
    settings = {"hidden_size": 48, "lru_width": 64, "intermediate_size": 2 * 3 * 48, "hidden_activation": "gelu"}
    config = published.RecurrentGemmaConfig(num_attention_heads=1, layers_block_types=["recurrent"], **settings)
    theirs = published.RecurrentGemmaDecoderLayer(config, layer_idx=0).double()
    layer, mlp, within = theirs.temporal_block, theirs.mlp_block, ours.cell
    pairs = [(theirs.temporal_pre_norm.weight, ours.norm.weight - 1)]
    pairs += [(theirs.channel_pre_norm.weight, ours.mlp[0].weight - 1)]
    for linear, weight in [
        *zip((layer.linear_x, layer.linear_y), ours.branches.weight.chunk(2), strict=True),
        *zip((mlp.gate_proj, mlp.up_proj), ours.mlp[1].enter.weight.chunk(2), strict=True),
        (layer.linear_out, ours.join.weight),
        (mlp.down_proj, ours.mlp[1].leave.weight),
    ]:
        pairs += [(linear.weight, weight), (linear.bias, torch.zeros(len(weight), dtype=torch.float64))]
    pairs += [(layer.conv_1d.weight, ours.w.T[:, None]), (layer.conv_1d.bias, ours.b)]
    lru = layer.rg_lru
    pairs += [(lru.recurrent_param, within.Lambda)]
    for weight, bias, W, b in [
        (lru.recurrent_gate_weight, lru.recurrent_gate_bias, within.W[:64], within.b[:64]),
        (lru.input_gate_weight, lru.input_gate_bias, within.W[64:], within.b[64:]),
    ]:
        pairs += [(weight, W.T[None]), (bias, b[None])]
    take_weights(theirs, pairs)
    inputs = torch.randn(3, 6, 48, dtype=torch.float64)  # (batch, time, features)
    # At position 0 theirs lets the input in whole, which the paper does not: so these are positions of a later piece.
    positions = torch.arange(1, 7).expand(3, 6)
    expected = theirs(inputs, position_ids=positions, attention_mask=None, use_cache=False)
    x = inputs.transpose(0, 1)
    y, _ = ours(x, ours.initial_state(3, x))
    # Theirs keeps its state in float32.
    assert_same([y], [expected.transpose(0, 1)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", ["griffin", "mlstm_block", "slstm_block"])
def test_a_block_answers_a_last_input_of_zeros_from_its_state(model):
    """As sequential MNIST asks it: its last pixel is black."""
    recurrent = stack(model, "model.num_layers=2", input_size=1)
    x = torch.randn(6, 2, 1, dtype=torch.float64)
    x[-1] = 0
    x.requires_grad_()
    recurrent(x)[0][-1].pow(2).sum().backward()
    assert (x.grad[:-1].abs() > 1e-6).all()


def assert_block_equals(ours: Cell, theirs: nn.Module, pairs: list[tuple[Tensor, Tensor]], inputs: Tensor) -> None:
    """pairs: a weight of theirs, and what it is in ours."""
    convolution = theirs.xlstm.conv1d.conv
    pairs = [*pairs, (theirs.xlstm_norm.weight, ours.norm.weight - 1)]
    pairs += [(convolution.weight, ours.w.T[:, None]), (convolution.bias, ours.b)]
    take_weights(theirs, pairs)
    x = inputs.transpose(0, 1)
    y, _ = ours(x, ours.initial_state(x.shape[1], x))
    # Theirs adds 1e-6 to a normalizer.
    assert_same([y], [theirs(inputs).transpose(0, 1)], rtol=1e-5, atol=1e-5)


def take_weights(theirs: nn.Module, pairs: list[tuple[Tensor, Tensor]]) -> None:
    """pairs: a weight of theirs, and what it is in ours. None is left out."""
    assert len(pairs) == len(list(theirs.parameters()))
    for weight, ours in pairs:
        assert weight.shape == ours.shape
        weight.data = ours.detach().clone()
