"""What forecasters promise: no look ahead, the same forecast alone or beside others, and with the scale of what they read."""

import math
from functools import partial

import hydra
import numpy as np
import pytest
import torch
from conftest import MODELS, composed
from scipy import stats

from unroll.cells.gru import GRU
from unroll.cells.lstm import LSTM
from unroll.data.series_lanes import SeriesLanes
from unroll.data.series_spec import Layout
from unroll.data.windows import StreamWindows, Windows
from unroll.distributions import Draws, Quantiles, make_output
from unroll.errors import UsageError
from unroll.models.autoregressive import Autoregressive
from unroll.models.forecaster import normalizers
from unroll.models.segments import Segments
from unroll.noise import uniform
from unroll.recurrent import Recurrent

OUTPUTS = ["gaussian", "student_t", "negative_binomial", "quantiles", "mse", "mae", "huber"]
CONTEXT, FUTURE = 12, 5


def made(
    form,
    output="student_t",
    normalization="centre",
    channels="joint",
    targets=2,
    known=3,
    observed=1,
    cell=LSTM,
    **more,
):
    recurrent = partial(Recurrent, hidden_size=7, cell=cell)
    settings = {
        "recurrent": recurrent,
        "embedding_size": 6,
        "output_dropout": 0.0,
        "horizon": None,
        "targets": targets,
        "known": known,
        "observed": observed,
        "context_length": CONTEXT,
        "prediction_length": FUTURE,
        "output": make_output(output),
        "normalization": normalization,
        "channels": channels,
        **more,
    }
    model = Segments(segment_length=4, **settings) if form == "segments" else Autoregressive(**settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def windows(batch=3, targets=2, known=3, observed=1, counts=False):
    values = torch.randn(CONTEXT + FUTURE, batch, targets)
    return Windows(
        torch.poisson(values.exp()) if counts else values,
        torch.randn(CONTEXT + FUTURE, batch, known),
        torch.randn(CONTEXT, batch, observed),
        torch.arange(batch) + 10,
        torch.zeros(batch, dtype=torch.long),
    )


FORMS = [(form, channels) for form in ("autoregressive", "segments") for channels in ("joint", "separate")]


@pytest.mark.parametrize(("form", "channels"), FORMS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_future_changes_no_forecast(form, channels, output):
    counts = output == "negative_binomial"
    model = made(form, output, "mean" if counts else "instance", channels)
    batch = windows(counts=counts)
    future = batch.targets.clone()
    future[CONTEXT:] = float("nan")
    torch.manual_seed(1)
    one = model.forecast(model.encode(batch), 6, 1)
    torch.manual_seed(1)
    two = model.forecast(model.encode(batch._replace(targets=future)), 6, 1)
    torch.testing.assert_close(one.mean, two.mean, rtol=0, atol=0)
    assert (one.paths is None) == (output in ("mse", "mae", "huber"))
    if one.paths is not None:
        torch.testing.assert_close(one.paths, two.paths, rtol=0, atol=0)
        assert one.paths.shape == (6, FUTURE, 3, 2)


@pytest.mark.parametrize(("form", "channels"), FORMS)
@pytest.mark.parametrize("output", [name for name in OUTPUTS if name != "negative_binomial"])
def test_a_window_is_forecast_the_same_beside_others(form, channels, output):
    model = made(form, output, channels=channels)
    batch = windows(batch=5)
    together = model.forecast(model.encode(batch), 7, 3)
    for row in range(5):
        some = slice(row, row + 1)
        one = Windows(
            batch.targets[:, some],
            batch.known[:, some],
            batch.observed[:, some],
            batch.rows[some],
            batch.series[some],
        )
        alone = model.forecast(model.encode(one), 7, 3)
        torch.testing.assert_close(alone.mean, together.mean[:, some])
        if alone.paths is not None:
            torch.testing.assert_close(alone.paths, together.paths[:, :, some])


def test_paths_that_are_rolled_out_in_pieces_are_the_same(monkeypatch):
    import unroll.models.autoregressive

    for channels in ("joint", "separate"):
        model, batch = made("autoregressive", channels=channels), windows(batch=5)
        whole = model.forecast(model.encode(batch), 7, 3)
        monkeypatch.setattr(unroll.models.autoregressive, "_ROWS_AT_ONCE", 15)
        pieces = model.forecast(model.encode(batch), 7, 3)
        monkeypatch.undo()
        torch.testing.assert_close(pieces.paths, whole.paths)
        torch.testing.assert_close(pieces.mean, whole.mean)


@pytest.mark.parametrize(("form", "channels"), FORMS)
@pytest.mark.parametrize(
    ("normalization", "output", "factor", "shift"),
    [
        ("instance", "student_t", 7.0, -3.0),
        ("instance", "quantiles", 0.1, 20.0),
        ("centre", "gaussian", 1.0, 5.0),
        ("last", "mae", 1.0, -4.0),
        ("mean", "student_t", 9.0, 0.0),
    ],
)
def test_a_forecast_goes_with_the_scale_of_what_is_read(form, channels, normalization, output, factor, shift):
    model = made(form, output, normalization, channels).double()
    batch = windows()
    batch = batch._replace(targets=batch.targets.double(), known=batch.known.double(), observed=batch.observed.double())
    plain = model.forecast(model.encode(batch), 5, 1)
    moved = model.forecast(model.encode(batch._replace(targets=factor * batch.targets + shift)), 5, 1)
    torch.testing.assert_close(moved.mean, factor * plain.mean + shift, rtol=1e-9, atol=1e-9)
    if plain.paths is not None:
        torch.testing.assert_close(moved.paths, factor * plain.paths + shift, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels", ["joint", "separate"])
@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_teacher_forced_statements_are_those_of_single_steps(channels, cell):
    model, batch = made("autoregressive", channels=channels, cell=cell), windows()
    parameters, y = model.statements(batch)
    ready = model.prepare(batch)
    state = None
    for t in range(1, CONTEXT + FUTURE):
        h, state = model.recurrent(model.inputs(ready, t, t + 1), state)
        raw = model.readout(h[0]).unflatten(-1, (model.width, model.output.size))
        for whole, single in zip(parameters, model.output.parameters(raw, ready.loc, ready.scale), strict=True):
            torch.testing.assert_close(whole[t - 1], single)
    assert torch.equal(model._unfolded(y), batch.targets[1:])


def test_a_point_forecast_is_fed_back_step_by_step():
    model, batch = made("autoregressive", "mse"), windows()
    forecast = model.forecast(model.encode(batch), 1, 1).mean
    filled = batch.targets.clone()
    for t in range(FUTURE):  # each step again, with what was forecast in the place of what came
        parameters, _ = model.statements(batch._replace(targets=filled))
        filled[CONTEXT + t] = parameters[0][CONTEXT + t - 1]
    torch.testing.assert_close(forecast, filled[CONTEXT:])


@pytest.mark.parametrize("normalization", ["none", "last", "centre", "mean", "instance"])
def test_what_is_missing_counts_for_nothing(normalization):
    context = torch.randn(9, 4, 2)
    holes = context.clone()
    holes[[0, 3, 8], 1] = float("nan")
    loc, scale = normalizers(holes, normalization)
    kept = torch.tensor([1, 2, 4, 5, 6, 7])
    expected = normalizers(context[kept][:, 1:2], normalization)
    torch.testing.assert_close(loc[1:2], expected[0])
    torch.testing.assert_close(scale[1:2], expected[1])
    whole = normalizers(context, normalization)
    torch.testing.assert_close(loc[[0, 2, 3]], whole[0][[0, 2, 3]])
    nothing = normalizers(torch.full((9, 1, 1), float("nan")), normalization)
    assert [part.item() for part in nothing] == [0, 1]
    still = normalizers(torch.full((9, 1, 1), 4.0), normalization)
    assert still[1].item() in (1.0, 4.0)


# A stream.


def stream(steps=150, missing=True):
    """A table of 2 targets, 3 known and 1 observed covariate, with gaps in the targets."""
    table = torch.randn(steps, 6)
    if missing:
        table[:, :2][torch.rand(steps, 2) < 0.1] = float("nan")
    return table, Layout(2, 3, 1)


def whole_history(table, layout, origin, row):
    """All before an origin, and the future, as one window."""
    targets, known, observed = layout.split(table[: origin + FUTURE, None])
    return Windows(targets, known, observed[:origin], torch.tensor([row]), torch.tensor([0]))


@pytest.mark.parametrize("channels", ["joint", "separate"])
@pytest.mark.parametrize("name", MODELS)
def test_a_forecast_of_a_stream_is_that_from_all_that_came_before(name, channels):
    config = composed(f"model={name}")["model"]
    cell = hydra.utils.instantiate(config["cell"], _partial_=True)
    recurrent = partial(Recurrent, hidden_size=8, cell=cell)
    model = made("autoregressive", "student_t", "none", channels, recurrent=recurrent)
    table, layout = stream()
    starts = np.array([30, 31, 33, 34, 35, 40, 41, 42, 43, 44, 45, 60])  # some windows are left out
    loaders = [
        StreamWindows(table, layout, starts, np.zeros(12, np.int64), CONTEXT, FUTURE, 5, None, rank, processes)
        for processes in (1, 2)
        for rank in range(processes)
    ]
    found = []
    for loader in loaders:
        state, parts = None, []
        for batch in loader:
            encoded = model.encode(batch, None if batch.begins else state)
            state = encoded.carried
            parts.append((batch.rows, model.forecast(encoded, 3, 1), model.future(encoded)[0]))
        found.append(parts)
    alone, shared = found[0], [part for pair in zip(*found[1:], strict=True) for part in pair]
    assert torch.cat([rows for rows, _, _ in alone]).tolist() == list(range(12))
    assert sorted(torch.cat([rows for rows, _, _ in shared]).tolist()) == list(range(12))
    for rows, forecast, future in [*alone, *shared]:
        for index, row in enumerate(rows.tolist()):
            window = whole_history(table, layout, int(starts[row]) + CONTEXT, row)
            encoded = model.encode(window)
            expected = model.forecast(encoded, 3, 1)
            torch.testing.assert_close(forecast.mean[:, index], expected.mean[:, 0], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(forecast.paths[:, :, index], expected.paths[:, :, 0], rtol=1e-4, atol=1e-4)
            width = len(encoded.h[0])
            for ours, theirs in zip(future, model.future(encoded)[0], strict=True):
                torch.testing.assert_close(ours[:, index * width : (index + 1) * width], theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", ["joint", "separate"])
@pytest.mark.parametrize("history", [0, 3, 9])
def test_pieces_of_a_stream_are_each_lane_in_one_go(channels, history):
    """What is said of every step of a lane, and every step is said once."""
    model, (table, layout) = made("autoregressive", "student_t", "none", channels), stream(158)
    lanes = SeriesLanes(table, layout, 3, 6, history, 0, 1)
    state, said, values = None, [], []
    for piece in lanes:
        parameters, y, state = model.follow(piece, None if piece.begins else state)
        said.append(parameters)
        values.append(y)
    for lane in range(3):
        bounds = slice(lane * 52, lane * 52 + 53)  # 157 pairs: one is left over
        targets, known, observed = layout.split(table[bounds, None])
        expected, y = model.statements(Windows(targets, known, observed, torch.tensor([lane]), torch.tensor([0])))
        width = expected[0].shape[1]
        rows = slice(lane * width, (lane + 1) * width)
        torch.testing.assert_close(torch.cat(values)[:, rows], y, equal_nan=True, rtol=0, atol=0)
        for index, whole in enumerate(expected):
            torch.testing.assert_close(torch.cat([part[index] for part in said])[:, rows], whole)


def test_a_stream_teaches_to_do_without_what_is_observed_for_as_long_as_a_forecast():
    model, (table, layout) = made("autoregressive", "student_t", "none", "joint").train(), stream(2401)
    piece = next(iter(SeriesLanes(table, layout, 80, 20, 0, 0, 1)))
    read = []
    model.recurrent.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    model.follow(piece, None)
    model.eval().follow(piece, None)
    trained, evaluated = (x[:, :, 3:5] for x in read)  # known; observed and its flag; target and its
    hidden = trained[..., 1] == 0
    assert (trained[hidden] == 0).all()
    assert torch.equal(trained[~hidden], evaluated[~hidden]) and (evaluated[..., 1] == 1).all()
    assert 0.25 < hidden.any(0).float().mean() < 0.75
    for row in hidden.t().tolist():
        stretch = [step for step, one in enumerate(row) if one]
        assert stretch == list(range(min(stretch, default=0), min(stretch, default=0) + len(stretch)))
        assert len(stretch) in (0, FUTURE - 1) or row[-1]


def test_a_bidirectional_stack_is_refused():
    for form in ("autoregressive", "segments"):
        with pytest.raises(UsageError, match="bidirectional"):
            made(form, recurrent=partial(Recurrent, hidden_size=7, cell=LSTM, bidirectional=True))


# What is said of a value.


def draws(paths=20_000):
    return Draws(3, torch.arange(paths)[:, None, None], torch.zeros(1, 1, 1, dtype=torch.long), 0, torch.arange(1))


RAW = {"gaussian": [0.3, -0.5], "student_t": [0.7, 0.4, -1.0], "negative_binomial": [1.2, -0.3]}


def reference(name, loc=1.5, scale=2.0):
    """The same distribution, by scipy."""
    softplus = lambda x: math.log1p(math.exp(x)) + 1e-4  # noqa: E731
    raw = RAW[name]
    if name == "gaussian":
        return stats.norm(loc + scale * raw[0], scale * softplus(raw[1]))
    if name == "student_t":
        return stats.t(2 + softplus(raw[0]), loc + scale * raw[1], scale * softplus(raw[2]))
    mu, alpha = scale * softplus(raw[0]), softplus(raw[1]) / math.sqrt(scale)
    return stats.nbinom(1 / alpha, 1 / (1 + mu * alpha))


@pytest.mark.parametrize("name", RAW)
def test_likelihood_mean_and_draws_are_those_of_the_distribution(name):
    output, expected = make_output(name), reference(name)
    loc, scale = torch.tensor([1.5], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    parameters = output.parameters(torch.tensor([RAW[name]], dtype=torch.float64), loc, scale)
    y = torch.arange(8, dtype=torch.float64)
    density = expected.logpmf if name == "negative_binomial" else expected.logpdf
    torch.testing.assert_close(output.loss(parameters, y), -torch.from_numpy(density(y.numpy())), rtol=1e-5, atol=0)
    torch.testing.assert_close(output.mean(parameters), torch.tensor([expected.mean()]).double(), rtol=1e-5, atol=0)
    drawn = output.draw(parameters, draws())[:, 0, 0].double().numpy()
    if name == "negative_binomial":
        for count in range(8):
            assert (drawn <= count).mean() == pytest.approx(expected.cdf(count), abs=0.012)
    else:
        assert stats.kstest(drawn, expected.cdf).pvalue > 0.001


@pytest.mark.parametrize(("scale", "raw", "count"), [(100, -7, 103), (1000, -9, 1010), (10_000, -8, 10_100)])
def test_counts_near_poisson_keep_their_likelihood_in_float32(scale, raw, count):
    found = []
    for kind in (torch.float32, torch.float64):
        given = torch.tensor([[0.55, raw]], dtype=kind, requires_grad=True)
        output, loc = make_output("negative_binomial"), torch.zeros(1, dtype=kind)
        parameters = output.parameters(given, loc, torch.tensor([float(scale)], dtype=kind))
        (loss,) = output.loss(parameters, torch.tensor([float(count)], dtype=kind))
        assert loss.dtype is kind
        found.append((loss.detach().double(), torch.autograd.grad(loss, given)[0].double()))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_quantiles_are_in_order_and_drawn_from():
    output = Quantiles()
    (q,) = output.parameters(torch.randn(1, output.size) * 3, torch.tensor([1.0]), torch.tensor([2.0]))
    assert (q.diff(dim=-1) > 0).all()
    drawn = output.draw((q,), draws())[:, 0, 0]
    for level, value in zip(output.levels[2:-2], q[0][2:-2], strict=True):
        assert (drawn <= value).float().mean().item() == pytest.approx(level, abs=0.012)
    assert output.mean((q,)).item() == pytest.approx(drawn.mean().item(), rel=0.05)


def test_noise_hangs_on_its_indices_only_and_is_uniform():
    rows, paths = torch.arange(300)[None, :], torch.arange(200)[:, None]
    u = uniform(1, rows, paths)
    assert torch.equal(u[7, 5], uniform(1, torch.tensor(5), torch.tensor(7)))
    assert not torch.equal(u, uniform(2, rows, paths))
    assert u.min() > 0 and u.max() < 1
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 0.001
    for one, two in ((u[:-1], u[1:]), (u[:, :-1], u[:, 1:])):  # neighbours know nothing of each other
        assert abs(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]) < 0.02
