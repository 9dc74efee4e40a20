"""Every command that README and docs show is one that works: it is run, in a folder with the files that it names.

Training is cut short by the switch that the README gives for that, and of a sweep the first job is run. What reads a data set
that is not at hand is composed and checked.
"""

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, composed
from doors import door
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from unroll.building import check
from unroll.composing import groups

PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))
BRIEF = "trainer.max_steps=2 trainer.limit_val_batches=1 trainer.limit_test_batches=1"
DOORS = ("train.py", "evaluate.py", "predict.py", "compare.py", "export.py")


def commands_of(text: str) -> list[str]:
    """The command lines of a page, in its blocks and within its prose; without what is said beside them."""
    text = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(r"^(?:    |#   )?((?:[A-Z]+=\S+ |srun )?(?:python|pytest) .*)$", text, re.MULTILINE)
    lines += [" ".join(found.split()) for found in re.findall(r"`(python [^`]+)`", text)]
    parts = [part.strip() for line in lines for part in re.split(r"\s+#\s", line)[0].split("&&")]
    return list(dict.fromkeys(part for part in parts if "..." not in part))


COMMANDS = [(page, command) for page in PAGES for command in commands_of((ROOT / page).read_text())]
OF_DOORS = list(
    dict.fromkeys(command for _, command in COMMANDS if re.match(rf"python ({'|'.join(DOORS)})\b", command))
)
TRAINING = [command for command in OF_DOORS if command.startswith("python train.py")]
"""Those of a user's own cell, in another folder, are run in test_own_cell.py."""

MADE_BY = {  # what a command is said to be done to: the run of this command
    "--complete|--interactive|task.cache_size|task.dynamic_rate": "task=word_lm data=text_files 'data.path=notes/*.txt'",
    "--explain|reviews.csv": "task=sentiment",
    "--format colour|names.jsonl": "task=tagging",
    "sentences.txt|--nbest": "task=translation model=gru",
    "summaries.txt": "task=summarization",
    "scans/": "task=pixels",
    "--image": "task=captioning",
    "sales.csv": "task=forecasting data=series_files data.path=sales.csv 'data.target=[units]' data.prediction_length=28",
    "task.stride": "task=forecasting 'data.sizes=[4000,100,100]'",
    "C a b": "task=recall",
    "": "task=char_lm",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that a command names."""
    folder = tmp_path_factory.mktemp("place")
    text = "The old dog sleeps under the tree. We see a red house, and recurrent neural networks.\n"
    for name in ("notes/a.txt", "notes/more/b.txt", "train.txt", "valid.txt", "test.txt", "dump.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text * 200)
    for name in ("train.en", "train.fr", "sentences.txt", "reports.txt", "notes.txt"):
        (folder / name).write_text("".join(f"The dog number {row} sleeps .\n" for row in range(100)))
    named = "Klara B-PER\nlives O\nin O\nKelm B-LOC\n. O\n\n"
    for name in ("train.conll", "dev.conll", "test.conll"):
        (folder / name).write_text(named * 20)
    reviews = {"body": [f"a film that is {word}" for word in ("good", "bad") * 30], "stars": [5, 1] * 30}
    pd.DataFrame(reviews).to_csv(folder / "reviews.csv", index=False)
    days = pd.date_range("2024-01-01", periods=400)
    sales = pd.DataFrame({"date": days, "units": 10.0 + days.dayofweek, "promo": days.dayofweek == 5})
    sales.loc[372:, "units"] = np.nan  # the future, whose promotions are known
    sales.assign(promo=sales["promo"].astype(int)).to_csv(folder / "sales.csv", index=False)
    rows = [{"article": text * 3, "highlights": text, "file": f"holiday/{row}.jpg", "text": text} for row in range(40)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    vectors = [{"image": number, "caption": row["text"]} for number, row in enumerate(rows)]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in vectors))
    np.save(folder / "vectors.npy", np.random.default_rng(1).normal(size=(40, 8)).astype("float32"))
    (folder / "holiday").mkdir()
    for number, name in enumerate([*["my_pictures/cat"] * 20, *["my_pictures/dog"] * 20, "scans"]):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), number).save(folder / f"{name}/{number}.png")
    for row in rows:
        Image.new("RGB", (32, 32), (200, 30, 40)).save(folder / row["file"])
    captions = pd.DataFrame(rows)[["file", "text"]]
    captions.assign(image=captions["file"], caption=captions["text"]).to_csv(folder / "captions.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def made(place):
    """The folder of the run that a command is done to; it is trained when it is first asked for."""

    def run_for(command: str) -> str:
        settings = next(settings for pattern, settings in MADE_BY.items() if re.search(pattern, command))
        folder = f"outputs/{list(MADE_BY.values()).index(settings)}"
        if not (place / folder).exists():
            result = door("train.py", *brief(shlex.split(settings)), f"hydra.run.dir={folder}", cwd=place)
            assert result.returncode == 0, result.stderr
        return folder

    return run_for


def brief(arguments: list[str]) -> list[str]:
    """A command that trains, cut short; where its corpus is generated, of little of it."""
    config = composed(*arguments)
    more = BRIEF.split()
    if "sizes" in config["data"] and "prediction_length" not in config["data"]:  # of a series they are its parts
        more.append("data.sizes=[400,40,40]")
    if "max_output_ratio" in config["task"]:
        more.append("task.max_output_ratio=0.1")
    said = " ".join(arguments)
    if "samples" in config["callbacks"] and "samples" not in said:
        more.append("callbacks.samples.length=20")
    if "logger" not in said:  # W&B's process takes longer than the rest: test_wandb.py
        more.append("logger=none")
    return [*arguments, *more]


def split(command: str, folder: Path) -> list[str]:
    """As a shell does it, patterns of files included."""
    line = f"printf '%s\\0' {command.removeprefix('python ')}"
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True).stdout.split("\0")[:-1]


def test_the_readme_tells_how_to_try_a_command_quickly():
    assert f"`{BRIEF}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("group", "options"), groups().items())
def test_the_readme_names_every_option(group, options):
    text = (ROOT / "README.md").read_text()
    if group == "model":
        assert f"| {len(options)} cells and blocks" in text
        listed = text[text.index("## Cells") :]
    else:
        choices = text[text.index("## Choices") : text.index("**Truncated back")]
        (listed,) = re.findall(rf"^\| `{group}` \|.*\n(?:\| \|.*\n)*", choices, re.MULTILINE)
    for option in options:
        assert re.search(rf"(?<![\w]){option}(?![\w])", listed), f"README.md: {group}={option} is in no list"


def test_every_shell_takes_the_commands():
    for page, command in COMMANDS:
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
        assert not re.search(r"=\S*[\[*(]", bare), f"{page}: {command}: a pattern to zsh, which refuses it: quote it"


@pytest.mark.parametrize("command", TRAINING)
def test_training_commands(command, place, made, tmp_path):
    arguments = [argument for argument in split(command, place)[1:] if argument not in ("-m", "...")]
    if any(argument.startswith("resume=") for argument in arguments):
        if "multirun" in command:
            pytest.skip("sweeps that go on: test_sweep.py")
        arguments = [f"resume={made('')}", "trainer.max_steps=3"]
    elif "--config-dir" in command:
        pytest.skip("a cell of one's own: test_own_cell.py")
    else:
        keys = ("hydra.", "launcher=", "sweep")
        taken = OverridesParser.create().parse_overrides([one for one in arguments if not one.startswith(keys)])
        arguments = [
            f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
            if override.is_sweep_override() and override.is_discrete_sweep()
            else str(override.input_line).replace("=interval(1e-4,1e-2)", "=0.001")
            for override in taken
        ]
        if "FOLDER" in command or "UD_English-EWT" in command or "data=tiny_shakespeare" in command:
            check(composed(*(one for one in arguments if not one.endswith("RUN"))))
            return
        arguments = [*brief(arguments), f"hydra.run.dir={tmp_path}/run"]
    result = door("train.py", *arguments, cwd=place)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [command for command in OF_DOORS if command not in TRAINING])
def test_commands_upon_a_run(command, place, made):
    if "wandb:" in command:
        pytest.skip("needs an account: test_wandb.py")
    run = made(command)
    arguments = split(re.sub(r"\bRUN\b|\bSWEEP\b|outputs/\S+", run, command), place)
    if "--insight units" in command:
        arguments += ["--steps", "2000"]
    result = door(*arguments, cwd=place)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_files_that_commands_name_are_there():
    for page, command in COMMANDS:
        for path in re.findall(r"\b(?:tests|benchmarks)/[\w/]+\.py", command):
            assert (ROOT / path).is_file(), f"{page}: {command}"
            for option in re.findall(r" (--[\w-]+)", command):
                known = (ROOT / path).read_text() + (ROOT / "tests/conftest.py").read_text()
                assert f'"{option}"' in known, f"{page}: {command}: no {option}"


def test_links_and_places_are_there():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
        for path in re.findall(r"`((?:src|conf|tests|docs|benchmarks|examples)/[\w/.]+)`", text):
            assert "NAME" in path or (ROOT / path).exists(), f"{page}: {path}"
        for name in re.findall(r"`(\w+\.py)`", text):
            assert name == "my_cells.py" or any(ROOT.glob(f"**/{name}")), f"{page}: {name}"


@pytest.mark.parametrize("page", ["README.md", "docs/library.md"])
def test_python_of_a_page_runs(page, place, made, capsys, monkeypatch):
    def run_of(found: re.Match[str]) -> str:
        pattern = next(
            pattern for pattern, settings in MADE_BY.items() if f"{settings} ".startswith(f"task={found[1]} ")
        )
        return repr(str(place / made(pattern.partition("|")[0])))

    monkeypatch.chdir(place)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    code = "".join(block for block in blocks if "import unroll\n" in block or page != "README.md")
    assert "unroll.load" in code
    exec(re.sub(r'"outputs/DATE/TIME_([a-z_]+)_[a-z]+"', run_of, code), {})
    assert len(capsys.readouterr().out) > 200
