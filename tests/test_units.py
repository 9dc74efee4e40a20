"""What units do: the states that are shown are the network's, properties are what they say, and the page can be read."""

import base64
import csv
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, composed, door
from sklearn.linear_model import LinearRegression

from unroll.building import build_data, build_task
from unroll.composing import groups
from unroll.errors import UsageError
from unroll.insight.flow_pictures import draw_flow_over_training
from unroll.insight.reading import Reading, cut_by_tokens, enough
from unroll.insight.units import Units, explain_units, look_at_units, saliency, text_properties
from unroll.insight.units_page import write_units_page
from unroll.insight.units_pictures import draw_trajectories
from unroll.job import run
from unroll.recurrent import Recurrent

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
TEXT = 'a (b c)\n  d "e1" F\n\n"g'


def small(task: str, *overrides: str):
    """An untrained task and its data."""
    sized = ["data.sizes=[600,60,60]"] if "sizes" in composed(f"task={task}")["data"] else []
    config = composed(f"task={task}", "model.hidden_size=6", *sized, *overrides)
    data = build_data(config)
    data.prepare_data()
    torch.manual_seed(1)
    return build_task(config, data.spec).eval(), data


def test_properties_of_a_text_are_what_they_say():
    found = {name: values[:, 0].tolist() for name, values in text_properties([list(TEXT)]).items()}
    inside = {name: "".join("*" if value else " " for value in values) for name, values in found.items()}
    #                                    a (b c)N  d "e1" FNN"g
    assert inside["inside brackets"] == "  ****                "
    assert inside["inside quotes"] == "            ***     **"
    assert inside["capital"] == "                 *    "
    assert inside["digit"] == "              *       "
    assert found["place in the line"] == [*range(1, 8), 0, *range(1, 11), 0, 0, 1, 2]
    assert found["indentation"] == [0] * 8 + [1] + [2] * 9 + [0] * 4
    assert [found["place in the word"][place] for place in (0, 1, 13, 14)] == [1, 0, 1, 2]
    assert "place in the sequence" not in found
    assert text_properties([["a ", "b "], ["c "]])["place in the sequence"][:, 0].tolist() == [0, 1, 0]


def test_what_is_explained_is_the_regressions_share():
    draw = np.random.default_rng(1)
    words = [list("some words, (and more)\nof them"), list('to "read" here')]
    count = sum(map(len, words))
    states = draw.normal(size=(count, 3))
    states[:, 1] = 5.0  # never changes
    reading = Reading(None, {"": words}, {"class": ["good", "bad"]})
    found = explain_units(states, words, reading)
    properties = text_properties(words)
    for name, explained in found.items():
        x = properties[name] if name != "class" else np.repeat([[1.0], [0.0]], list(map(len, words)), axis=0)
        for unit in (0, 2):
            r2 = LinearRegression().fit(x, states[:, unit]).score(x, states[:, unit])
            assert explained[unit] == pytest.approx(r2, abs=1e-9), name
        assert explained[1] == 0
    assert {"class", "inside quotes", "inside brackets", "place in the sequence"} <= set(found)
    states[:, 0] = properties["place in the line"][:, 0] * -2 + 7
    assert explain_units(states, words, reading)["place in the line"][0] == pytest.approx(1)


def test_tokens_cut_a_text_without_losing_any_of_it():
    task, data = small("sentiment")
    for text in data.examples["test"].texts[:20]:
        assert "".join(cut_by_tokens(task.spec.tokenizer, text)) == text
    assert enough(np.array([3, 4, 5]), 7).tolist() == [0, 1]
    assert enough(np.array([30, 4]), 7).tolist() == [0]


@pytest.mark.parametrize("model", ["lstm", "gru", "skip"])
def test_the_states_that_are_shown_are_those_of_the_fast_path(model):
    task, data = small("sentiment", f"model={model}", "model.num_layers=2", "model.bidirectional=true")
    reading = task.read_aloud(data, "validation", 150)
    found = {part.cell: part for part in look_at_units(task, lambda: task.last_losses(reading.batch), reading)}
    assert len(found) == (8 if model == "lstm" else 4)
    batch = reading.batch
    assert len(reading.words[""]) > 2
    with torch.no_grad():
        y, _ = task.model.recurrent(task.model.embedding(batch.tokens), None, batch.lengths)
    for row, words in enumerate(reading.words[""]):
        ours = np.concatenate([found[name].states[row] for name in ("layer 2", "layer 2 reverse")], axis=1)
        np.testing.assert_allclose(ours, y[: len(words), row].numpy(), atol=1e-6)
        assert "".join(words) == data.examples["validation"].texts[row]


def test_what_a_prediction_hangs_on_is_its_gradient():
    task, _ = small("char_lm", "truncation=k8", "model.num_layers=2")
    tokens = torch.randint(1, 40, (12, 1))
    batch = type("Batch", (), {"tokens": tokens})
    predictions, tables = saliency(task, lambda: task.predictions(batch))
    (table,) = tables.values()
    assert table.shape == (12, 12) and len(predictions) == 12
    assert not np.triu(table, 1).any() and (np.diag(table) > 0).all()
    x = task.model.embedding(tokens).detach().requires_grad_()
    task.model.recurrent.backend = "loop"
    for place in (0, 5, 11):
        scores = torch.log_softmax(task.model.readout(task.model.recurrent(x)[0]), -1)[place, 0]
        (gradient,) = torch.autograd.grad(scores.max(), x)
        np.testing.assert_allclose(table[place], gradient[:, 0].norm(dim=-1).numpy(), rtol=1e-4, atol=1e-9)
        assert task.vocabulary.decode([int(scores.argmax())]) == predictions[place]


def test_the_letters_of_all_words_are_shown():
    made, data = small("tagging")
    reading = made.read_aloud(data, "validation", 200)
    found = look_at_units(made, lambda: made.last_losses(reading.batch), reading)
    letters = [part for part in found if "letters" in part.cell]
    assert max(len(word) for word in letters[0].words) > 8 and len(letters[0].states) == len(letters[0].words)


@pytest.mark.parametrize("task", groups()["task"])
def test_every_task_reads_aloud(task, tmp_path):
    made, data = small(task)
    reading = made.read_aloud(data, "validation", 80)
    found = look_at_units(made, lambda: made.last_losses(reading.batch), reading)
    stacks = [name for name, part in made.named_modules() if isinstance(part, Recurrent)]
    assert len({part.cell.split("layer")[0] for part in found}) == len(stacks)
    for part in found:
        assert part.words == reading.words_of(part.cell)
        assert [len(words) for words in part.words] == [len(states) for states in part.states]
        assert all(((values >= 0) & (values <= 1)).all() for values in part.explained.values())
    predictions, tables = saliency(made, lambda: made.predictions(reading.batch))
    assert predictions and tables
    for table in tables.values():
        assert len(table) == len(predictions) and np.isfinite(table).all() and (table > 0).any()


def test_a_page_holds_what_there_is_room_for(tmp_path):
    draw = np.random.default_rng(0)
    words = [list("abcd" * 5000)]
    states = draw.normal(size=(20_000, 300))
    explained = {"capital": np.linspace(0, 1, 300)}
    left = write_units_page([Units("layer 1", words, [states], explained)], "</script>", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 1_500_000 < (tmp_path / "page.html").stat().st_size < 2_000_000
    data = json.loads(re.search(r'<script id="data".*?>(.*?)</script>', page, re.S).group(1))
    assert data["title"] == "</script>" and data["texts"] == [words]
    (part,) = data["parts"]
    shown = [unit["unit"] for unit in part["units"]]
    assert shown == list(range(299, left - 1, -1)) and left == 300 - len(shown) > 0  # what tells most comes first
    unit = part["units"][0]
    packed = np.frombuffer(zlib.decompress(base64.b64decode(unit["states"])), np.uint8)
    levels = np.stack([packed >> 4, packed & 15], axis=1).flatten().astype(int) - 7
    inside = np.abs(states[:, 299]) < unit["full"]
    np.testing.assert_allclose(
        levels[inside] / 7 * unit["full"], states[inside, 299], atol=unit["full"] / 14 + unit["full"] / 100
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "char_lm"
    composed(*SMALL, "trainer.max_steps=20", folder=folder)
    run(folder)
    result = door("evaluate.py", str(folder), "--insight", "units", "--split", "validation", "--steps", "1500")
    assert result.returncode == 0, result.stderr
    assert re.search(r"part +property +unit +R²", result.stdout)
    return folder


def test_the_door_writes_page_table_and_pictures(shown):
    with (shown / "evaluation/validation_units.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["unit"] for row in rows] == [str(unit) for unit in range(16)] * 2
    assert {row["part"] for row in rows} == {"layer 1", "layer 1 inner state"}
    for picture in ("trajectories", "saliency"):
        assert (shown / f"figures/{picture}_validation.png").stat().st_size > 10_000


@pytest.mark.parametrize(("task", "model"), [("char_lm", "lstm"), ("word_lm", "gru"), ("recall", "skip")])
def test_words_stand_beside_the_state_after_they_were_read(task, model):
    made, data = small(task, f"model={model}")
    reading = made.read_aloud(data, "validation", 60)
    (words, *_), batch = reading.words[""], reading.batch
    tokens = batch.tokens if hasattr(batch, "tokens") else batch.steps
    part = look_at_units(made, lambda: made.last_losses(batch), reading)[0]
    with torch.no_grad():  # as far as the seventh word, and no further
        y, _ = made.model.recurrent(made.model.embedding(tokens[:7]))
    np.testing.assert_allclose(part.states[0][6], y[6, 0].numpy(), atol=1e-6)
    if task != "recall":
        assert "".join(words[:7]) == made.vocabulary.decode(tokens[:7, 0].tolist())


@pytest.mark.parametrize("form", ["autoregressive", "segments"])
def test_a_forecaster_has_read_the_values_beside_its_states(form):
    made, data = small("forecasting", f"task.form={form}", "model=gru")
    reading = made.read_aloud(data, "validation", 200)
    (words,) = reading.words[""]
    values = [float(value) for value in "".join(words).split()]
    shown = reading.batch.targets[:, 0, 0] * made.scale[0, 0] + made.centre[0, 0]
    assert values == pytest.approx(shown[: len(values)].tolist(), rel=1e-3)
    assert len(words) == (191 if form == "autoregressive" else 7)
    part = look_at_units(made, lambda: made.last_losses(reading.batch), reading)[0]
    other = reading.batch.targets.clone()
    other[96:120] += 3.0  # the fifth segment; none of the context's level is taken into account here
    made.model.normalization = "none"
    before = look_at_units(made, lambda: made.last_losses(reading.batch), reading)[0].states[0]
    changed = reading.batch._replace(targets=other)
    after = look_at_units(made, lambda: made.last_losses(changed), reading)[0].states[0]
    first = 96 if form == "autoregressive" else 4
    assert np.array_equal(before[:first], after[:first]) and not np.array_equal(before[first], after[first])
    assert len(part.states[0]) == len(words)


def test_what_cannot_be_shown_is_said(shown):
    result = door("evaluate.py", str(shown), "--insight", "units", "--split", "validation+test")
    assert (result.returncode, result.stderr) == (2, "error: --split validation+test: units are shown on one split\n")
    words = [["x" * 100] * 20_000]
    page = [Units("layer 1", words, [np.zeros((20_000, 2))], {})]
    assert page[0].best.tolist() == [0, 0]
    with pytest.raises(UsageError, match=r"^--steps: the text alone fills the page; give less$"):
        write_units_page(page, "", shown / "none.html")
    assert not (shown / "none.html").exists()


@pytest.mark.skipif(BROWSER is None, reason="there is no browser here")
def test_a_browser_colours_the_text(shown, tmp_path):
    page = (shown / "evaluation/validation_units.html").read_text()
    # Chooses another part and another unit, as a person would.
    acts = """<script>setTimeout(() => { of("part").value = "1"; of("part").onchange();
        of("property").value = "blank"; of("property").onchange();
        of("units").children[2].click(); }, 300)</script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", acts))
    found = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=8000",
            "--dump-dom",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    data = json.loads(re.search(r'<script id="data".*?>(.*?)</script>', page, re.S).group(1))
    ordered = sorted(data["parts"][1]["units"], key=lambda unit: -unit["told"]["blank"])
    name = f"{data['parts'][1]['name']} {ordered[2]['unit']}"
    assert f'data-shown="{name}"' in found
    spans = re.findall(r"<span [^>]*>", found)
    colours = [re.search(r"rgba\((\d+), (\d+), (\d+)", span) for span in spans]
    values = [re.search(r'title="(-?[0-9.]+)"', span) for span in spans]
    coloured = [(*colour.groups(), value[1]) for colour, value in zip(colours, values, strict=True) if colour and value]
    assert len(coloured) > 300
    for red, _, blue, value in coloured:
        assert (float(value) > 0) == (int(red) > int(blue))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_pictures_of_any_number_of_parts(tmp_path, count):
    """A grid of two columns has a place too many for an odd number."""
    states = np.random.default_rng(1).normal(size=(9, 3))
    found = [Units(f"layer {layer}", [list("some text")], [states], {}) for layer in range(count)]
    draw_trajectories(found, tmp_path / "trajectories.png")
    assert (tmp_path / "trajectories.png").stat().st_size > 5_000
    curves = {f"layer {layer}": [1.0, 0.1, 0.001] for layer in range(count)}
    draw_flow_over_training([(0, curves), (5, curves)], tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 5_000
