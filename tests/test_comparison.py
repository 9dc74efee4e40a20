"""Runs side by side: what is read of them, what is counted together, and the page in a browser."""

import csv
import io
import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import composed, door
from rich.console import Console

from unroll.comparison.page import write_review_page
from unroll.comparison.pictures import _sensible, frontier
from unroll.comparison.review import review
from unroll.comparison.rows import differences, differing, of_each_task, rows_of
from unroll.comparison.run import read_history, read_runs
from unroll.comparison.tables import comparison_table
from unroll.errors import UserError
from unroll.insight.flow_pictures import read_flow
from unroll.writing import write_csv

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


def run(folder: Path, *overrides: str, value: float | None = 1.0, points=5, failure="", **summary) -> Path:
    """The folder of a run that never ran."""
    if not folder.exists():
        composed("logger=none", *overrides, folder=folder)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["logger=none", *overrides]))
    if failure:
        (folder / "failure.txt").write_text(failure + "\n")
        return folder
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "train/loss", "train_seconds", "val/bpc"])
        for index in range(1, points + 1):
            writer.writerow([index * 10, 2 / index, index * 0.5, ""])
            writer.writerow([index * 10, "", "", (value or 9) + 1 / index])
    told = {
        "parameters": 1000,
        "steps": 50,
        "epochs": 1.0,
        "train_seconds": 2.5,
        "device": "cpu",
        "precision": "32-true",
    }
    told |= {"throughput": {"value": 10.0, "unit": "characters/s"}, "metrics": {"val/bpc": value, "val/loss": 0.5}}
    (folder / "summary.json").write_text(json.dumps({**told, **summary}))
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells, two truncations, two seeds; one job failed, one did not come to its end."""
    folder = tmp_path_factory.mktemp("runs") / "sweep"
    values = {
        ("rnn", "k8"): (2.0, 2.2),
        ("rnn", "k64"): (1.9, 2.1),
        ("gru", "k8"): (1.7, 1.9),
        ("gru", "k64"): (1.5, None),
    }
    number = 0
    for (model, truncation), found in values.items():
        for seed, value in enumerate(found, 1):
            run(folder / str(number), f"model={model}", f"truncation={truncation}", f"seed={seed}", value=value or 1.0)
            number += 1
    (folder / "7/summary.json").unlink()
    run(folder / "8", "model=gru", "truncation=full", "seed=1", failure="truncation=full needs sequences that end")
    return folder


def test_seeds_stand_together_and_the_best_first(sweep):
    runs = read_runs([sweep])
    assert [one.name for one in runs] == [str(number) for number in range(9)]
    assert differing(runs) == ["model", "truncation", "seed"]
    rows = rows_of(runs)
    assert [row.title for row in rows] == [
        "model=gru truncation=k64",
        "model=gru truncation=k8",
        "model=rnn truncation=k64",
        "model=rnn truncation=k8",
        "model=gru truncation=full",
    ]
    assert rows[1].mean == pytest.approx(1.8)
    assert rows[1].spread == pytest.approx(math.sqrt(0.02))  # of a sample: two values 0.2 apart
    assert math.isnan(rows[0].spread) and rows[0].mean == 1.5
    assert [one.state for one in runs[-3:]] == ["finished", "unfinished", "failed"]


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_numbers_are_whole_on_a_narrow_terminal(sweep, width):
    console = Console(width=width, file=io.StringIO())
    runs = read_runs([sweep])
    console.print(comparison_table(runs, console))
    written = console.file.getvalue()
    assert max(map(len, written.splitlines())) <= width
    for row in rows_of(runs):
        if row.values:
            assert f"{row.mean:.4f} ± {row.spread:.4f}".removesuffix(" ± nan") in written
        assert all(f"{key}={value}" in written or value in written for key, value in row.settings.items())


@pytest.mark.parametrize("less_is_better", [True, False])
def test_one_run_that_is_better_than_all_others_is_inside_the_picture(less_is_better):
    usual, better, worse = [[0.3, 0.31]] * 9, [0.1, 0.95][not less_is_better], [5.0, -5.0][not less_is_better]
    low, high = _sensible([*usual, [0.3, better]], less_is_better)
    assert low < better < high
    low, high = _sensible([*usual, [0.3, worse]], less_is_better)
    assert not low < worse < high


def test_damage_is_told_with_its_file(sweep, tmp_path):
    for name in "04":
        shutil.copytree(sweep / name, tmp_path / name)
        (tmp_path / name / "evaluation").mkdir(exist_ok=True)
        (tmp_path / name / "evaluation/validation_difficulty.json").write_text('{"label": "le')
    with pytest.raises(UserError, match=r"validation_difficulty\.json: is not whole"):
        review([tmp_path], tmp_path / "out")


def test_the_direction_is_the_tasks_own(tmp_path):
    scores = {"0": 0.7, "1": 0.9, "2": None}
    for name, value in scores.items():
        run(tmp_path / name, "task=sentiment", f"seed={int(name) + 1}", f"model.hidden_size={int(name) + 4}")
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        summary["metrics"] = {"val/accuracy": value}
        (tmp_path / name / "summary.json").write_text(json.dumps(summary))
    runs = read_runs([tmp_path])
    assert not runs[0].less_is_better
    assert [row.runs[0].name for row in rows_of(runs)] == ["1", "0", "2"]


def test_runs_that_differ_in_more_than_their_seed_are_not_averaged(tmp_path):
    """However it came about: a budget that was raised on resuming, a YAML that was edited."""
    for name, seed, change in (("a", 1, {}), ("b", 2, {}), ("c", 3, {"max_steps": 400})):
        run(tmp_path / name, f"seed={seed}")
        config = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        config["trainer"].update(change)
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
    runs = read_runs([tmp_path])
    assert differing(runs) == ["trainer.max_steps", "seed"]
    assert sorted([run.name for run in row.runs] for row in rows_of(runs)) == [["a", "b"], ["c"]]
    assert runs[2].setting("trainer.max_steps") == "400"
    # Written in another way it is the same.
    run(tmp_path / "d", "optimizer.lr=0.001", "seed=1")
    run(tmp_path / "e", "optimizer.lr=1e-3", "seed=2")
    assert len(rows_of(read_runs([tmp_path / "d", tmp_path / "e"]))) == 1


def test_what_watches_other_metrics_has_a_folder_of_its_own(tmp_path):
    for name, metric in (("0", "bpc"), ("1", "loss")):
        run(tmp_path / "runs" / name, f"watch.metric=val/{metric}")
    review([tmp_path / "runs"], tmp_path / "out")
    for metric in ("bpc", "loss"):
        with (tmp_path / f"out/char_lm_{metric}/runs.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == 1


def test_the_door_writes_table_pictures_and_page(sweep, tmp_path):
    result = door("compare.py", str(sweep), "--output", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    header = next(line.split() for line in result.stdout.splitlines() if "parameters" in line)
    assert header == [
        "model",
        "truncation",
        "val/bpc",
        "parameters",
        "characters/s",
        "training",
        "run",
    ]  # all, in a pipe
    assert "1.8000 ± 0.1414" in result.stdout and "failed" in result.stdout and "unfinished" in result.stdout
    for name in ("heat_map.png", "curves.png", "frontier.png"):
        assert (tmp_path / "out" / name).stat().st_size > 5_000
    with (tmp_path / "out/runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["val/bpc"] for row in rows] == ["2.0", "2.2", "1.9", "2.1", "1.7", "1.9", "1.5", "", ""]
    assert rows[-1]["failure"] == "truncation=full needs sequences that end"


def test_two_runs_are_told_apart_key_by_key(sweep):
    result = door("compare.py", str(sweep / "0"), str(sweep / "5"))
    assert result.returncode == 0, result.stderr
    one, two = read_runs([sweep / "0", sweep / "5"])
    found = {key: (ours, theirs) for key, ours, theirs in differences(one.config, two.config)}
    assert found["seed"] == ("1", "2")
    assert found["choices.model"] == ("rnn", "gru")
    assert set(found) >= {"model.cell._target_", "choices.model", "seed"}
    assert not any(key.startswith(("data.", "trainer.")) for key in found)
    for told in ("model.cell._target_", "val/bpc", "2.0000", "1.9000"):
        assert told in result.stdout


def test_tasks_are_compared_among_themselves(sweep, tmp_path):
    other = run(tmp_path / "other", "task=sentiment")
    runs = read_runs([sweep, other])
    assert [len(some) for some in of_each_task(runs).values()] == [9, 1]
    result = door("compare.py", str(sweep), str(other), "--output", str(tmp_path / "out"))
    assert "9 runs, compared with none of the others" in result.stdout
    assert (tmp_path / "out/char_lm/runs.csv").exists() and (tmp_path / "out/sentiment/runs.csv").exists()


def test_a_cut_off_history_is_used_as_far_as_it_goes(sweep, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(sweep / "0", folder)
    text = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(text[: text.rindex(",") - 3])
    rows, wrong = read_history(folder / "metrics.csv")
    assert len(rows) == 9
    assert wrong == f"{folder / 'metrics.csv'}: line 11 is cut off: used as far as it goes"
    result = door("compare.py", str(folder))
    assert result.returncode == 0 and "line 11 is cut off" in result.stdout


@pytest.mark.parametrize(
    ("what", "told"), [("nowhere", "there is no such folder"), (".", "there is no run in it; runs lie in outputs/")]
)
def test_folders_without_runs_are_told(tmp_path, what, told):
    result = door("compare.py", str(tmp_path / what))
    assert result.returncode == 1
    assert told in result.stderr and result.stderr.count("\n") == 1


def test_the_frontier_is_what_nothing_beats_in_both():
    points = [(3.0, 1.0), (1.0, 3.0), (2.0, 3.5), (2.5, 1.5), (4.0, 2.0), (1.0, 2.9)]
    assert frontier(points, less_is_better=True) == [(1.0, 2.9), (2.5, 1.5), (3.0, 1.0)]
    assert frontier(points, less_is_better=False) == [(1.0, 3.0), (2.0, 3.5)]


def test_time_is_known_before_the_first_log(sweep):
    (one,) = read_runs([sweep / "0"])
    assert one.curve("step")[0] == (10.0, 3.0)
    assert one.curve("seconds") == [(index * 0.5, 2.0 + 1 / index) for index in range(1, 6)]


def page_of(runs, path: Path, script: str = "") -> Path:
    write_review_page(runs, "a <sweep>", "told", path)
    if script:
        path.write_text(path.read_text().replace("</body>", f"<script>{script}</script></body>"))
    return path


SCRIPT = """
const rows = () => [...document.querySelectorAll("#runs tbody tr")].map(row => row.cells[0].textContent);
const found = {};
found.first = rows();
const head = [...document.querySelectorAll("#runs th")];
head.find(cell => cell.textContent === "truncation").click();
found.sorted = [...document.querySelectorAll("#runs tbody tr")].map(row => row.cells[2].textContent);
found.lines = document.querySelectorAll("#curves path").length;
document.querySelector("#runs tbody .key").click();
found.hidden = document.querySelectorAll("#curves path").length;
document.getElementById("search").value = "gru k64"; document.getElementById("search").oninput();
found.filtered = rows();
document.getElementById("search").value = ""; document.getElementById("search").oninput();
const open = name => [...document.querySelectorAll("#runs tbody tr")].find(row => row.cells[0].textContent === name).click();
open("0"); open("5");
found.detail = document.getElementById("detail").textContent;
document.getElementById("against").value = "1"; document.getElementById("against").onchange();
found.axis = document.querySelector("#curves svg").textContent;
document.body.replaceChildren(Object.assign(document.createElement("pre"), {textContent: JSON.stringify(found)}));
"""


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome")
def test_the_page_works_in_a_browser(sweep, tmp_path):
    path = page_of(read_runs([sweep]), tmp_path / "index.html", SCRIPT)
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    dumped = subprocess.run([*command, "--dump-dom", f"file://{path}"], capture_output=True, text=True, timeout=120)
    text = dumped.stdout[dumped.stdout.rindex("<pre>") + 5 : dumped.stdout.rindex("</pre>")]
    found = json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["first"] == ["6", "4", "2", "5", "0", "3", "1", "7", "8"]  # by the watched metric; without one last
    assert found["sorted"] == ["full", *4 * ["k8"], *4 * ["k64"]]
    assert (found["lines"], found["hidden"]) == (8, 8 if found["sorted"][0] == "full" else 7)
    assert sorted(found["filtered"]) == ["6", "7"]
    for told in ("0 and 5: what differs", "model.cell._target_", "its whole config"):
        assert told in found["detail"]
    assert "seconds of training" in found["axis"]


def test_nothing_in_a_run_is_taken_for_the_pages_own_code(sweep, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(sweep, folder)
    (folder / "0/samples").mkdir()
    (folder / "0/samples/step_1.txt").write_text("</script><script>alert(1)</script><!--")
    page = page_of(read_runs([folder]), tmp_path / "index.html").read_text()
    assert "alert(1)" in page
    assert page.lower().count("</script") == 2  # those of the page itself
    assert "<!--" not in page


def test_the_page_of_two_hundred_runs_is_small(sweep, tmp_path):
    for number in range(200):
        shutil.copytree(sweep / "0", tmp_path / "many" / str(number))
        run(tmp_path / "many" / str(number), "model=rnn", f"seed={number}", value=1 + number / 100, points=500)
    runs = read_runs([tmp_path / "many"])
    assert comparison_table(runs, Console()).row_count == 1
    assert page_of(runs, tmp_path / "index.html").stat().st_size < 5_000_000


def test_how_far_gradients_reach_is_drawn_side_by_side(tmp_path):
    for number, (model, rate) in enumerate((("rnn", 0.5), ("lstm", 0.9))):
        memory = {"layer 1": {"steps": 6, "told": "6 steps"}}
        folder = run(tmp_path / "runs" / str(number), f"model={model}", memory_horizon=memory)
        rows = [["layer 1", lag, rate**lag, 0.0, 1.0, 1.0] for lag in range(30)]
        write_csv(
            folder / "evaluation/validation_gradient_flow.csv", ["cell", "lag", "median", "low", "high", "growth"], rows
        )
        assert read_flow(folder / "evaluation/validation_gradient_flow.csv") == {
            "layer 1": [rate**lag for lag in range(30)]
        }
    review([tmp_path / "runs"])
    assert (tmp_path / "runs/comparison/memory.png").stat().st_size > 10_000
    with (tmp_path / "runs/comparison/runs.csv").open(newline="") as file:
        assert [row["memory_horizon"] for row in csv.DictReader(file)] == 2 * ["layer 1: 6 steps"]
    (folder / "evaluation/validation_gradient_flow.csv").write_text("cell,lag\nlayer 1,0\n")
    with pytest.raises(UserError, match=r"validation_gradient_flow.csv: cannot be read"):
        review([tmp_path / "runs"])
