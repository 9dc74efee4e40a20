"""The encoder-decoder, for every cell: cells are found by looking into conf/model."""

import hydra.utils
import pytest
import torch
from conftest import MODELS, composed
from stacks import DOUBLE, assert_same, leaves, results, some_state, stack

from unroll.data.parallel_batches import begun
from unroll.data.subwords import BEGIN, END, UNWRITTEN
from unroll.decoding import beam_search
from unroll.errors import UsageError
from unroll.models.encoder_decoder import EncoderDecoder
from unroll.state import detach

ATTENTIONS = ["none", "additive", "dot", "general"]


def network(cell="gru", *overrides: str, attention="additive", seed=0, **options) -> EncoderDecoder:
    torch.manual_seed(seed)
    short = ["model.cell.distance=3"] if "distance" in composed(f"model={cell}")["model"]["cell"] else []
    config = composed(f"model={cell}", "model.hidden_size=8", "model.bidirectional=true", *short, *overrides)
    made = EncoderDecoder(
        11,
        13,
        hydra.utils.instantiate(config["model"], _convert_="all"),
        **{"embedding_size": 6, "attention": attention, "tie_embeddings": "target", **options},
    ).double()
    for parameter in made.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return made.eval()


def batch(source_lengths=(7, 3, 5), target_lengths=(4, 6, 2)):
    source = torch.zeros(max(source_lengths), len(source_lengths), dtype=torch.int64)
    target = torch.zeros(max(target_lengths) + 1, len(target_lengths), dtype=torch.int64)
    for column, (one, other) in enumerate(zip(source_lengths, target_lengths, strict=True)):
        source[:one, column] = torch.randint(4, 11, (one,))
        target[:other, column] = torch.randint(4, 13, (other,))
        target[other, column] = END
    return source, torch.tensor(source_lengths), target


@pytest.mark.parametrize("overrides", [[], ["model.num_layers=2", "model.residual=true"]], ids=["one", "two"])
@pytest.mark.parametrize("model", MODELS)
def test_stepping_equals_the_whole_sequence(model, overrides):
    """What is hoisted out of the loop, and gradients that come after it, change nothing."""
    recurrent = stack(model, *overrides).eval()
    x = torch.randn(6, 3, 5, dtype=torch.float64, requires_grad=True)
    state = some_state(recurrent, 3)
    inputs = [x, *leaves(state), *recurrent.parameters()]
    expected = results(*recurrent(x, state), inputs)
    for known in (5, 2):
        step, now, outputs = recurrent.stepper(x[..., :known], recurrent.draw_masks(3, x)), state, []
        for t in range(6):
            y, now = step(t, x[t, :, known:], now)
            outputs.append(y)
        assert_same(results(torch.stack(outputs), now, inputs), expected)


@pytest.mark.parametrize("model", MODELS)
def test_stepping_drops_what_the_whole_sequence_drops(model):
    recurrent = stack(model, "model.num_layers=2", "model.dropout=0.5", "model.locked_dropout=true").train()
    if hasattr(recurrent.layers[0], "probabilities"):
        pytest.skip("draws anew at every step")
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    masks = recurrent.draw_masks(3, x)
    expected, _ = recurrent(x, None, None, masks)
    step, now, outputs = recurrent.stepper(x, masks), recurrent.initial_state(3, x), []
    for t in range(6):
        y, now = step(t, x[t, :, 5:], now)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs), expected, **DOUBLE)


@pytest.mark.parametrize("feeding", [True, False])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn", "slstm"])
def test_the_loss_is_that_of_writing_step_by_step(cell, attention, feeding):
    model = network(cell, attention=attention, input_feeding=feeding)
    source, lengths, target = batch()
    logits = model.readout(model(source, lengths, begun(target)))
    for row in range(3):
        memory, state = model.encode(source[: lengths[row], row : row + 1], None)
        read = torch.tensor([[BEGIN]])
        for t in range(int((target[:, row] != 0).sum())):
            found, state = model.advance(read, state, memory)
            torch.testing.assert_close(found[0, 0], logits[t, row], **DOUBLE)
            read = target[t, row].view(1, 1)


@pytest.mark.parametrize("model", MODELS)
def test_every_cell_translates_and_a_batch_is_its_sentences_one_by_one(model):
    made = network(model)
    source, lengths, target = batch()
    together = made(source, lengths, begun(target))
    for row in range(3):
        alone = made(source[: lengths[row], row : row + 1], None, begun(target[:, row : row + 1]))
        torch.testing.assert_close(alone[:, 0], together[:, row], **DOUBLE)
    memory, state = made.encode(source, lengths)
    limits = torch.tensor([9, 4, 6])
    found = beam_search(made.advance, state, memory, limits, 3, BEGIN, END, UNWRITTEN, 1.0, 3)
    for row in range(3):
        memory, state = made.encode(source[: lengths[row], row : row + 1], None)
        (alone,) = beam_search(made.advance, state, memory, limits[row : row + 1], 3, BEGIN, END, UNWRITTEN, 1.0, 3)
        assert [item.tokens for item in alone] == [item.tokens for item in found[row]]


def test_beam_scores_are_the_teacher_forced_ones():
    made = network("lstm")
    source, lengths, _ = batch()
    memory, state = made.encode(source, lengths)
    found = beam_search(made.advance, state, memory, torch.tensor([30] * 3), 4, BEGIN, END, UNWRITTEN, 1.0, 4)
    for row, hypotheses in enumerate(found):
        for item in hypotheses:
            ended = torch.tensor([*item.tokens, END] if len(item.tokens) < 30 else item.tokens)[:, None]
            o = made(source[: lengths[row], row : row + 1], None, begun(ended))
            log_p = torch.log_softmax(made.readout(o), -1).gather(2, ended[..., None]).sum()
            assert item.log_probability == pytest.approx(log_p.item(), rel=1e-6)


@pytest.mark.parametrize("horizon", [2, 3, 100])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("attention", ["none", "additive"])
def test_truncation_changes_gradients_only(cell, attention, horizon):
    overrides = ["model.bidirectional=false", "model.num_layers=2"]
    source, lengths, target = batch()
    whole = network(cell, *overrides, attention=attention)
    cut = network(cell, *overrides, attention=attention, horizon=horizon)
    found, expected = (model(source, lengths, begun(target)) for model in (cut, whole))
    torch.testing.assert_close(found, expected, **DOUBLE)
    gradients = [
        torch.autograd.grad(o.square().sum(), list(m.parameters()), allow_unused=True)
        for o, m in ((found, cut), (expected, whole))
    ]
    same = all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(*gradients, strict=True) if a is not None)
    assert same == (horizon == 100)


@pytest.mark.parametrize("attention", ["none", "general"])
def test_gradients_are_those_of_windows_cut_by_hand(attention):
    """Sentence by sentence: the encoder's state detached 3, 6, ... steps before its end, the decoder's from its beginning."""
    model = network("lstm", "model.bidirectional=false", attention=attention, input_feeding=True, horizon=3)
    source, lengths, target = batch()
    within = target != 0
    o = model(source, lengths, begun(target))
    parameters = list(model.parameters())
    ours = torch.autograd.grad(o[within].square().sum(), parameters, allow_unused=True, materialize_grads=True)
    theirs = [torch.zeros_like(parameter) for parameter in parameters]
    for row in range(3):
        x = model.source_embedding(source[: lengths[row], row : row + 1])
        first = (len(x) - 1) % 3 + 1
        y, state = model.encoder(x[:first])
        outputs = [y]
        for start in range(first, len(x), 3):
            y, state = model.encoder(x[start : start + 3], detach(state))
            outputs.append(y)
        memory = ()
        if model.attention is not None:
            values = torch.cat(outputs).transpose(0, 1)
            memory = (model.attention.keys(values), values, torch.tensor([len(x)]))
        state = (model.bridge(state), torch.zeros(1, 6 if model.feeds else 0, dtype=torch.float64))
        reads = begun(target[:, row : row + 1])[: int(within[:, row].sum())]
        total = torch.zeros((), dtype=torch.float64)
        for t, read in enumerate(reads):
            if t and t % 3 == 0:
                state = detach(state)
            h, recurrent_state = model.decoder(torch.cat([model.target_embedding(read), state[1]], -1)[None], state[0])
            if model.attention is None:
                seen = h[0]
            else:
                context, _ = model.attention.over(*memory)(h.transpose(0, 1))
                seen = torch.cat([h[0], context[:, 0]], -1)
            found = torch.tanh(model.combine(seen))
            state = (recurrent_state, found if model.feeds else state[1])
            total = total + found.square().sum()
        for sum_, gradient in zip(
            theirs,
            torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True),
            strict=True,
        ):
            sum_ += gradient
    assert_same(list(ours), theirs)


def test_right_tokens_always_is_teacher_forcing():
    model = network("gru")
    source, lengths, target = batch()
    memory, state = model.encode(source, lengths)
    expected, _ = model.decode(begun(target), state, memory)
    for feed in ("token", "distribution"):
        found = model.decode_sampled(begun(target), state, memory, 1.0, feed)
        torch.testing.assert_close(found, expected, **DOUBLE)


def test_own_tokens_always_is_sampling_from_the_model():
    """With truth 0 the right tokens are never looked at; the distribution that is fed back has gradients."""
    model = network("gru")
    source, lengths, target = batch()
    memory, state = model.encode(source, lengths)
    other = target.roll(1, 1)
    for feed in ("token", "distribution"):
        torch.manual_seed(1)
        found = model.decode_sampled(begun(target), state, memory, 0.0, feed)
        torch.manual_seed(1)
        torch.testing.assert_close(model.decode_sampled(begun(other), state, memory, 0.0, feed), found)
    # A step by hand: the mean of all embeddings under what was said of the place.
    p = torch.softmax(model.readout(found[0]), -1)
    step = model.decoder.stepper((p @ model.target_embedding.weight)[None], model.decoder.draw_masks(3, p))
    first = model.decoder.stepper(model.target_embedding(torch.full((1, 3), BEGIN)), model.decoder.draw_masks(3, p))
    _, s = first(0, state[1], state[0])
    h, _ = step(0, found[0], s)
    context, _ = model.attention.over(*memory)(h[:, None])
    torch.testing.assert_close(found[1], torch.tanh(model.combine(torch.cat([h, context[:, 0]], -1))), **DOUBLE)


def test_sizes_that_do_not_fit_are_told():
    with pytest.raises(UsageError, match=r"task\.tie_embeddings=all needs one vocabulary"):
        network(tie_embeddings="all")
    with pytest.raises(UsageError, match=r"model\.hidden_size=7 \(or top_size\): is odd"):
        network("gru", "model.hidden_size=7")
    with pytest.raises(UsageError, match=r"take model\.bidirectional=false"):
        network("mlstm", "model.hidden_size=16", attention="none")
    assert network("gru", encoder_hidden_size=5).encoder.output_size == 10


def test_tied_weights_are_one():
    model = network(tie_embeddings="target")
    assert model.output.weight is model.target_embedding.weight
    assert model.source_embedding is not model.target_embedding


@pytest.mark.parametrize("feed", ["token", "distribution"])
def test_what_is_fed_back_does_not_reach_over_the_horizon(feed):
    model = network("gru", attention="none", horizon=2)
    source, lengths, target = batch()
    memory, state = model.encode(source, lengths)
    first = state[0][0].detach().requires_grad_()
    o = model.decode_sampled(begun(target), ((first,), state[1]), memory, 0.0, feed)
    reached = [torch.autograd.grad(o_t.sum(), first, retain_graph=True, allow_unused=True)[0] for o_t in o]
    assert [gradient is not None and bool(gradient.any()) for gradient in reached] == [True] * 2 + [False] * (
        len(o) - 2
    )
