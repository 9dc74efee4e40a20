"""Attention, against its equations written out for one query and one position at a time."""

import math

import pytest
import torch

from unroll.attention import make_attention
from unroll.errors import UsageError

SCORES = {
    "additive": lambda layer, q, m: layer.v @ torch.tanh(layer.W.weight @ q + layer.U.weight @ m + layer.U.bias),
    "dot": lambda layer, q, m: q @ m,
    "general": lambda layer, q, m: q @ (layer.W.weight @ m),
}


@pytest.mark.parametrize("score", SCORES)
def test_contexts_are_the_equations(score):
    layer = make_attention(score, 4, 4).double()
    for parameter in layer.parameters():
        parameter.data += torch.randn_like(parameter)
    query = torch.randn(3, 2, 4, dtype=torch.float64)
    memory = torch.randn(3, 5, 4, dtype=torch.float64)
    lengths = [5, 1, 3]
    contexts, weights = layer.over(layer.keys(memory), memory, torch.tensor(lengths))(query)
    for row, length in enumerate(lengths):
        for number in range(2):
            scores = [SCORES[score](layer, query[row, number], memory[row, j]).item() for j in range(length)]
            total = sum(math.exp(value) for value in scores)
            expected = [math.exp(value) / total for value in scores]
            assert weights[row, number].tolist() == pytest.approx(expected + [0.0] * (5 - length), abs=1e-12)
            context = sum(share * memory[row, j] for j, share in enumerate(expected))
            torch.testing.assert_close(contexts[row, number], context, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_weights_sum_to_one_over_what_is_no_padding(score):
    layer = make_attention(score, 6, 6)
    memory = 20 * torch.randn(4, 9, 6)
    lengths = torch.tensor([9, 2, 5, 1])
    _, weights = layer.over(layer.keys(memory), memory, lengths)(20 * torch.randn(4, 3, 6))
    padding = torch.arange(9) >= lengths[:, None, None]
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 3))
    assert weights.masked_select(padding.expand_as(weights)).eq(0).all()
    assert weights.ge(0).all()


def test_dot_products_need_one_size():
    with pytest.raises(UsageError, match="the decoder has 4 units and the encoder's outputs are 6 wide"):
        make_attention("dot", 4, 6)
