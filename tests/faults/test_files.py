"""Files as people have them: each is taken, or refused in one line that names it; never a traceback, never a hang.

`pytest tests/faults/test_files.py --long` changes bytes at random 400 times in each kind of file, and prints how it went.
"""

import argparse
import gzip
import json
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from outcomes import outcome, within
from PIL import Image

from unroll.errors import UserError
from unroll.predicting.streaming import texts_of

ROWS = 40
WORDS = ["north", "Größe", "tea", "sun", "it's", "42"]
SENTENCES = [" ".join(WORDS[(row + k) % 6] for k in range(2 + row % 5)) for row in range(ROWS)]
TAGS = ["O", "B-a", "B-b", "O", "O", "O"]
CSV = {
    "labelled_files": "text,label\n" + "".join(f'"{one}",{"ab"[row % 2]}\n' for row, one in enumerate(SENTENCES)),
    "parallel_files": "source,target\n" + "".join(f'"{one}","{one[::-1]}"\n' for one in SENTENCES),
    "summary_files": "text,summary\n" + "".join(f'"{one}","{one[:4]}"\n' for one in SENTENCES),
    "captioned_files": "image,caption\n" + "".join(f'{row % 20}.png,"{one}"\n' for row, one in enumerate(SENTENCES)),
    "series_files": "date,OT\n"
    + "".join(f"2024-01-{1 + row // 24:02} {row % 24:02}:00,{row % 7}.5\n" for row in range(200)),
}
JSON = {
    "labelled_files": [{"text": one, "label": "ab"[row % 2]} for row, one in enumerate(SENTENCES)],
    "parallel_files": [{"source": one, "target": one[::-1]} for one in SENTENCES],
    "captioned_files": [{"image": f"{row}.png", "caption": SENTENCES[row : row + 2]} for row in range(20)] * 2,
    "tagged_files": [
        {"tokens": one.split(), "tags": ["O", "B-a", "B-b", "O", "O", "O"][: len(one.split())]} for one in SENTENCES
    ],
    "series_files": [
        {"date": f"2024-01-{1 + row // 24:02} {row % 24:02}:00", "OT": row % 7 + 0.5} for row in range(200)
    ],
}
TAGGED = "".join(
    "".join(f"{word}\tX\tB-{'ab'[k % 2]}\n" for k, word in enumerate(one.split())) + "\n" for one in SENTENCES
)
CONLLU = "".join(
    f"# sent_id = {row}\n"
    + "".join(f"{k}\t{word}\t_\tNOUN\t_\t_\t_\t_\t_\t{'xy'[k % 2]}\n" for k, word in enumerate(one.split(), 1))
    + "\n"
    for row, one in enumerate(SENTENCES)
)
KINDS: dict[tuple[str, str], bytes] = {
    ("text_files", ".txt"): ("\n".join(SENTENCES) + "\n").encode() * 3,
    ("tagged_files", ".conll"): TAGGED.encode(),
    ("tagged_files", ".conllu"): CONLLU.encode(),
    **{(option, ".csv"): text.encode() for option, text in CSV.items()},
    **{(option, ".jsonl"): "".join(f"{json.dumps(row)}\n" for row in rows).encode() for option, rows in JSON.items()},
}


def changes() -> dict[str, Callable[[bytes], bytes]]:
    """What is done to a good file."""

    def line(number: int, new: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def change(good: bytes) -> bytes:
            lines = good.split(b"\n")
            lines[number] = new(lines[number])
            return b"\n".join(lines)

        return change

    return {
        "as it is": lambda good: good,
        "empty": lambda good: b"",
        "one newline": lambda good: b"\n",
        "spaces": lambda good: b"   \n \n",
        "the first line alone": lambda good: good.split(b"\n")[0] + b"\n",
        "a mark": lambda good: b"\xef\xbb\xbf" + good,
        "two marks": lambda good: b"\xef\xbb\xbf" * 2 + good,
        "utf-16": lambda good: good.decode().encode("utf-16"),
        "latin-1": lambda good: good.decode().encode("latin-1", "replace"),
        "NUL": lambda good: good.replace(b"tea", b"t\0a"),
        "a NUL line": line(5, lambda old: b"\0" * 40),
        "crlf": lambda good: good.replace(b"\n", b"\r\n"),
        "cr": lambda good: good.replace(b"\n", b"\r"),
        "mixed ends": lambda good: good.replace(b"\n", b"\r\n", 7),
        "no last newline": lambda good: good.rstrip(b"\n"),
        "blank lines": lambda good: good.replace(b"\n", b"\n\n"),
        "a line of 3 MB": line(4, lambda old: old[:1] + b"x" * 3_000_000 + old[1:]),
        "cut in half": lambda good: good[: len(good) // 2],
        "cut within a character": lambda good: (
            good[: good.rindex("ö".encode()) + 1] if "ö".encode() in good else good[:-3]
        ),
        "an open quote": line(6, lambda old: old.replace(b'"', b"", 1)),
        "a quote": line(6, lambda old: old + b'"'),
        "a ragged row": line(7, lambda old: old + b",1,2,3"),
        "a short row": line(7, lambda old: old.split(b",")[0].split(b"\t")[0]),
        "100,000 columns": line(3, lambda old: b"," * 100_000 + old),
        "100,000 columns named": line(0, lambda old: old + b"," + b",".join(b"c%d" % k for k in range(100_000))),
        "a name twice": line(0, lambda old: old + b"," + old),
        "no header": lambda good: good.split(b"\n", 1)[1],
        "half a character": lambda good: good.replace(b"tea", b"\\ud800"),
        "escapes": lambda good: good.replace(b"tea", b"<script>\x1b[31m\xe2\x80\xae"),
        "infinite": lambda good: good.replace(b"3.5", b"inf").replace(b"sun", b"inf"),
        "1e999": lambda good: good.replace(b"3.5", b"1e999"),
        "not a number": lambda good: good.replace(b"3.5", b"NaN"),
        "a word for a number": lambda good: good.replace(b"3.5", b"three"),
        "a date twice": lambda good: good.replace(b"2024-01-02 03:00", b"2024-01-02 02:00"),
        "no date": lambda good: good.replace(b"2024-01-02 03:00", b"tomorrow"),
        "a far date": lambda good: good.replace(b"2024-01-02 03:00", b"99999-01-01 00:00"),
        "a gap": lambda good: good.replace(b"2024-01-02", b"2025-07-02"),
        "null": lambda good: good.replace(b'"a"', b"null").replace(b'"north', b'"'),
        "numbers for texts": lambda good: good.replace(b'"tea', b'7, "tea'),
        "deep": line(3, lambda old: b"[" * 50_000 + b"]" * 50_000),
        "an array": lambda good: b"[" + good.strip().replace(b"\n", b",\n") + b"]",
        "no rows but text": lambda good: b"this is no such file, it is prose.\n" * 50,
        "bytes": lambda good: bytes(range(256)) * 20,
        "zeros": lambda good: b"\0" * 5000,
        "compressed": gzip.compress,
        "a picture": lambda good: PNG,
        "one label": lambda good: good.replace(b",b\n", b",a\n").replace(b'"b"', b'"a"').replace(b"B-b", b"B-a"),
        "no such picture": lambda good: good.replace(b"2.png", b"nowhere.png"),
        "no picture": lambda good: good.replace(b"2.png", b"broken.png"),
        "another folder's picture": lambda good: good.replace(b"2.png", b"../../../etc/passwd"),
        "a row of NaN": line(2, lambda old: b'{"text": NaN, "label": NaN, "OT": Infinity, "date": 1e400}'),
    }


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + struct.pack(">I", 13)
    + b"IHDR"
    + struct.pack(">II", 100_000, 100_000)
    + b"\x08\x02\0\0\0"
    + b"\0" * 40
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for number in range(20):
        Image.fromarray(np.full((20, 20, 3), 10 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(PNG)
    return folder


@pytest.mark.parametrize(("option", "suffix"), KINDS)
def test_what_is_wrong_with_a_file_is_said(option, suffix, pictures, request):
    good, found = KINDS[option, suffix], Counter()
    path = pictures / f"{option}{suffix}"
    for name, change in changes().items():
        path.write_bytes(change(good))
        try:
            found[outcome(option, path)] += 1
        except Exception as error:
            raise AssertionError(f"{option}{suffix}, {name}") from error
        if name == "as it is":
            assert found == {"handled": 1}
    if request.config.getoption("--long"):
        print(f"\n{option}{suffix}: tried {found.total()}, handled {found['handled']}, refused {found['refused']}")


@pytest.mark.parametrize(("option", "suffix"), [kind for kind in KINDS if kind[0] in ("text_files", "labelled_files")])
def test_what_is_wrong_with_an_input_of_predict_is_said(option, suffix, tmp_path, request):
    found = Counter()
    path = tmp_path / f"input{suffix}"
    options = argparse.Namespace(text=None, input=path, column=None, encoding="utf-8")
    for name, change in changes().items():
        path.write_bytes(change(KINDS[option, suffix]))
        try:
            with within(20):
                assert all(isinstance(text, str) for text in texts_of(options))
            found["handled"] += 1
        except UserError as error:
            told = str(error)
            assert "\n" not in told and len(told) <= 1000 and str(path) in told, f"{suffix}, {name}: {told}"
            found["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{suffix}, {name}") from error
        if name == "as it is":
            assert found == {"handled": 1}
    if request.config.getoption("--long"):
        print(f"\n{path.name}: tried {found.total()}, handled {found['handled']}, refused {found['refused']}")


@pytest.mark.parametrize(("option", "suffix"), KINDS)
def test_what_is_no_file_is_said(option, suffix, tmp_path):
    def refused(path: Path) -> None:
        assert outcome(option, path) == "refused"

    refused(tmp_path / f"missing{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(tmp_path / f"folder{suffix}")
    (tmp_path / f"dangling{suffix}").symlink_to(tmp_path / "nothing")
    refused(tmp_path / f"dangling{suffix}")
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    refused(tmp_path / f"loop{suffix}")


# Mostly what files are made of: other bytes are nearly always refused as another encoding.
COMMON = st.text(alphabet=",;\t\"'{}[]:\n\r 0123456789.-+eEaöN/", max_size=12).map(str.encode)
NEW = st.one_of(*[COMMON] * 5, st.binary(max_size=12))


@pytest.mark.parametrize(("option", "suffix"), KINDS)
def test_bytes_changed_at_random(option, suffix, pictures, request):
    good, found = KINDS[option, suffix], Counter()
    path = pictures / f"random_{option}{suffix}"
    long = request.config.getoption("--long")

    @settings(
        max_examples=400 if long else 12,
        deadline=None,
        database=None,
        derandomize=not long,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 30), NEW), min_size=1, max_size=6))
    def change(cuts: list[tuple[int, int, bytes]]) -> None:
        changed = good
        for place, length, new in cuts:
            changed = changed[:place] + new + changed[place + length :]
        path.write_bytes(changed)
        found[outcome(option, path)] += 1

    change()
    if long:
        print(f"\n{option}{suffix}: tried {found.total()}, handled {found['handled']}, refused {found['refused']}")


@pytest.mark.parametrize("option", sorted({option for option, _ in KINDS} - {"text_files"}))
def test_parquet_of_other_types_and_of_other_bytes(option, pictures):
    rows = JSON.get(option) or [dict(zip(("text", "summary"), (one, one[:3]), strict=True)) for one in SENTENCES]
    path = pictures / f"{option}.parquet"
    table = pandas.DataFrame(rows)
    table.to_parquet(path)
    assert outcome(option, path) == "handled"
    good = path.read_bytes()
    for changed in (b"", good[:100], good[:-20], b"PAR1" + b"\0" * 50 + b"PAR1", good.replace(b"PAR1", b"PAR2")):
        path.write_bytes(changed)
        assert outcome(option, path) == "refused"
    for column in table.columns:
        for strange in (7, 1.5, b"bytes", {"a": 1}, [[1, 2]], None, True):
            table.assign(**{column: [strange] * len(table)}).to_parquet(path)
            outcome(option, path)
    pandas.DataFrame({column: table[column][:0] for column in table}).to_parquet(path)
    assert outcome(option, path) == "refused"
