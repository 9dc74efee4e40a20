"""Doors at odd moments and on odd terminals."""

import io
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SEARCHED, SMALL
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from unroll.composing import CONF, readable, write_config, write_config_anew
from unroll.errors import UserError, door
from unroll.predicting.streaming import check_output
from unroll.writing import write_csv

LOADING = """
import time
from unroll.errors import door
from unroll.loading import until_loaded
until_loaded("interrupted while loading")
def main():
    print("loaded", flush=True)
    time.sleep(60)
print("loading", flush=True)
time.sleep(60 * LOADING)
door(main)
"""


@pytest.mark.parametrize(("loading", "said"), [(1, "error: interrupted while loading"), (0, "error: interrupted")])
def test_ctrl_c_is_one_line_while_libraries_are_loaded_and_later(loading, said):
    script = [sys.executable, "-c", LOADING.replace("LOADING", str(loading))]
    with subprocess.Popen(
        script,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # not ignored, whoever runs this
    ) as process:
        awaited = "loading" if loading else "loaded"
        while process.stdout.readline().strip() != awaited:
            pass
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (errors, process.returncode) == (f"{said}\n", 130)


def test_a_terminal_without_a_letter_shows_its_number(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", shown)
    door(lambda: print("a \u2014 \u00fc", flush=True))
    assert shown.buffer.getvalue() == b"a \\u2014 \xfc\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")])
def test_where_memory_ends_it_is_said_what_takes_less(capsys, error):
    def work():
        raise error

    with pytest.raises(SystemExit) as ended:
        door(work)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: there is not enough memory")
    assert ("for another 2.00 GiB: a smaller data.batch_size" in told) is isinstance(error, RuntimeError)
    error = RuntimeError("a defect of ours")
    with pytest.raises(RuntimeError, match="of ours"):
        door(work)


def test_runs_begun_in_the_same_second_have_folders_of_their_own(tmp_path):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        configs = [compose("train", [*SMALL, f"seed={seed}", *SEARCHED]) for seed in range(8)]
    folder = tmp_path / "12-00-00_char_lm_lstm"
    folder.mkdir()
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda config: write_config_anew(config, folder, {}), configs))
    names = [folder.name, *(f"{folder.name}_{number}" for number in range(2, 9))]
    assert sorted(one.name for one in folders) == names
    assert [OmegaConf.load(one / "config.yaml").seed for one in folders] == list(range(8))
    with pytest.raises(UserError, match=r"holds a run already: go on with it by resume="):
        write_config(configs[0], folder, {})


@pytest.mark.parametrize("link", [False, True])
def test_an_input_is_not_written_over(tmp_path, link):
    source = tmp_path / "texts.csv"
    source.write_text("text\ngood\n")
    output = tmp_path / "answers.csv"
    check_output(output, source, None)
    if link:
        output.symlink_to(source)
    with pytest.raises(UserError, match=r"is the input; name another file"):
        check_output(output if link else source, None, source)


def test_names_of_files_that_are_no_text_stand_in_a_table(tmp_path):
    write_csv(tmp_path / "runs.csv", ["path"], [[b"caf\xe9.txt".decode("utf-8", "surrogateescape")]])
    assert (tmp_path / "runs.csv").read_text() == "path\ncaf\\udce9.txt\n"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("data.path=n\u00f6tes/*.txt", "data.path='n\u00f6tes/*.txt'"),
        ("data.path=notes/*.txt", "data.path=notes/*.txt"),
        ("data.path='n\u00f6tes'", "data.path='n\u00f6tes'"),
        ("data.path=a,\u00f6", "data.path=a,\u00f6"),  # a sweep
        ("--help", "--help"),
        ("--config-dir=\u00f6", "--config-dir=\u00f6"),
    ],
)
def test_paths_of_any_letters_are_read(argument, expected):
    assert readable([argument]) == [expected]
