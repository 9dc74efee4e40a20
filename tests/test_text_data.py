"""Text streams: vocabulary, encoding, splits, lanes and windows."""

import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, composed

from unroll.building import build_data
from unroll.data import token_store
from unroll.data.encoding import Vocabulary, build_vocabulary
from unroll.data.text_stream import TextLanes, TextStream
from unroll.data.token_store import TokenStore, load_vocabulary
from unroll.errors import UserError


def stream(tmp_path: Path, *overrides: str) -> TextStream:
    config = composed(f"data.cache_dir={tmp_path}/cache", "data.batch_size=2", "truncation.length=4", *overrides)
    data = build_data(config)
    data.prepare_data()
    return data


def text_of(data: TextStream, split: str) -> str:
    return data.spec.decode(data._store().tokens(split))


def test_vocabulary_is_sorted_code_points_and_an_unknown():
    vocabulary = build_vocabulary(["baab", "c"], "characters")
    assert vocabulary == Vocabulary("characters", (97, 98, 99))
    assert vocabulary.size == 4
    assert vocabulary.encode("cab☃").tolist() == [3, 1, 2, 0]
    assert vocabulary.decode([3, 1, 2, 0]) == "cab\ufffd"
    assert vocabulary.unknown("☃a☃z") == ["z", "☃"]


def test_bytes_decode_as_they_become_whole_characters():
    vocabulary = build_vocabulary(["é€😀".encode()], "bytes")
    decode = vocabulary.decoder()
    pieces = [decode(int(token)) for token in vocabulary.encode("é€😀")]
    assert [piece for piece in pieces if piece] == ["é", "€", "😀"]
    assert vocabulary.decode(vocabulary.encode("é€😀")[:-1]) == "é€\ufffd"
    # Every text has all 256 in common, whatever was trained on.
    assert (vocabulary.size, vocabulary.unknown("☃ \x00")) == (257, [])


def test_vocabulary_survives_its_file(tmp_path):
    vocabulary = Vocabulary("characters", (10, 97, 0x1F600))
    vocabulary.save(tmp_path / "v.json")
    assert load_vocabulary(tmp_path / "v.json") == vocabulary
    for broken in ("[1, 2", '{"unit": "characters", "symbols": [1e999]}', "[" * 100_000):
        (tmp_path / "v.json").write_text(broken)
        with pytest.raises(UserError, match="not a vocabulary"):
            load_vocabulary(tmp_path / "v.json")


@pytest.mark.parametrize("size", [3, 300, 70_000])
def test_token_types_hold_their_vocabulary(tmp_path, size):
    text = "".join(chr(0x100 + code) for code in range(size) if not 0xD800 <= 0x100 + code < 0xE000)
    vocabulary = build_vocabulary([text], "characters")
    token_store._write_tokens(tmp_path / "t.npy", [text[:100], text[100:]], vocabulary)
    tokens = np.load(tmp_path / "t.npy", mmap_mode="r")
    assert tokens.tolist() == list(range(1, len(text) + 1))
    assert tokens.dtype == {3: np.uint8, 300: np.uint16, 70_000: np.uint32}[size]


def test_splits_are_contiguous_and_the_vocabulary_is_trains(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("ab" * 450 + "bc" * 25 + "cd" * 25)
    data = stream(tmp_path, "data=text_files", f"data.path={path}")
    assert [len(data._store().tokens(split)) for split in ("train", "validation", "test")] == [900, 50, 50]
    assert data.spec.symbols == (97, 98)
    assert text_of(data, "validation") == "b\ufffd" * 25
    assert any("25 characters of validation are not in the vocabulary" in line for line in data.describe())


def test_chunks_do_not_show(tmp_path, monkeypatch):
    """Borders of chunks cut neither characters nor CRLF, and splits fall in the same place."""
    path = tmp_path / "t.txt"
    path.write_bytes("\ufeffé€😀\r\nab\rc\n".encode() * 50)
    whole = stream(tmp_path, "data=text_files", f"data.path={path}")
    expected = {split: text_of(whole, split) for split in ("train", "validation", "test")}
    assert "".join(expected.values()).count("\r") == 0
    assert expected["train"].startswith("é€😀\nab\nc\n\ufeffé")  # a mark is one only at the start of a file
    monkeypatch.setattr("unroll.data.text_files._CHUNK", 3)
    shutil.rmtree(tmp_path / "cache")
    again = stream(tmp_path, "data=text_files", f"data.path={path}")
    assert {split: text_of(again, split) for split in expected} == expected


def test_files_of_a_glob_in_sorted_order_and_given_splits(tmp_path):
    for name, text in {"b": "second ", "a": "first ", "v": "validation", "t": "test"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    data = stream(
        tmp_path,
        "data=text_files",
        f"data.path='{tmp_path}/[ab].txt'",
        f"data.validation_path={tmp_path}/v.txt",
        f"data.test_path={tmp_path}/t.txt",
    )
    assert text_of(data, "train") == "first second "
    assert data._store().tokens("test").size == 4


def test_a_file_that_goes_to_another_split_is_noticed(tmp_path):
    for name in "1234":
        (tmp_path / f"{name}.txt").write_text(name * 2000)
    rest = f"data.test_path={tmp_path}/4.txt"
    before = stream(
        tmp_path, "data=text_files", f"data.path='{tmp_path}/[12].txt'", f"data.validation_path={tmp_path}/3.txt", rest
    )
    after = stream(
        tmp_path, "data=text_files", f"data.path={tmp_path}/1.txt", f"data.validation_path='{tmp_path}/[23].txt'", rest
    )
    assert before.fingerprint != after.fingerprint
    assert [len(before.tokens(split)) for split in ("train", "validation")] == [4000, 2000]
    assert [len(after.tokens(split)) for split in ("train", "validation")] == [2000, 4000]


def test_what_is_scored_is_not_trained_on_by_a_glob(tmp_path):
    for name in "1234":
        (tmp_path / f"{name}.txt").write_text(name * 2000)
    given = [f"data.validation_path={tmp_path}/3.txt", f"data.test_path={tmp_path}/../{tmp_path.name}/4.txt"]
    data = stream(tmp_path, "data=text_files", f"data.path='{tmp_path}/*.txt'", *given)
    assert text_of(data, "train") == "1" * 2000 + "2" * 2000
    assert data.describe()[-1].startswith("note: 2 of the files that data.path matches are of validation or test")
    alone = stream(tmp_path, "data=text_files", f"data.path='{tmp_path}/[12].txt'", *given)
    assert alone.fingerprint == data.fingerprint
    assert "note" not in alone.describe()[-1]
    same = stream(tmp_path, "data=text_files", f"data.path={tmp_path}/3.txt", *given)  # it was named: so be it
    assert text_of(same, "train") == "3" * 2000
    assert "scores will look too good" in same.describe()[-1]
    with pytest.raises(UserError, match="matches no file but those of data"):
        stream(tmp_path, "data=text_files", f"data.path='{tmp_path}/[34].txt'", *given)


def test_bytes_take_any_file(tmp_path):
    content = bytes(range(256)) * 10 + b"\r\n\xff"
    (tmp_path / "any").write_bytes(content)
    data = stream(tmp_path, "data=text_files", "data.unit=bytes", f"data.path={tmp_path}/any")
    tokens = np.concatenate([data._store().tokens(split) for split in ("train", "validation", "test")])
    assert bytes(data.spec.symbols[token - 1] for token in tokens) == content


def test_changed_text_is_encoded_anew_and_unchanged_text_is_not(tmp_path, capsys):
    path = tmp_path / "t.txt"
    path.write_text("abc" * 400)
    arguments = (tmp_path, "data=text_files", f"data.path={path}")
    stream(*arguments)
    assert "encoding" in capsys.readouterr().out
    stream(*arguments)
    assert "encoding" not in capsys.readouterr().out
    path.write_text("abd" * 400)
    assert text_of(stream(*arguments), "train") == ("abd" * 400)[:1080]


def test_of_several_that_want_the_same_text_one_encodes_it(tmp_path):
    texts = {"train": "abcabc", "test": "axbyxc"}
    fitted = []

    def fit(chunks):
        fitted.append(build_vocabulary(chunks, "characters"))
        time.sleep(0.3)
        return fitted[-1]

    def opened(_):
        return TokenStore.open(tmp_path, "text", lambda split: iter([texts[split]]), texts, fit, "characters")

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(opened, range(4)))
    assert len(fitted) == 1
    for store in stores:
        assert store.unknown == {"train": 0, "test": 3}
        assert store.vocabulary.decode(store.tokens("train")) == "abcabc"
    assert [path.name for path in tmp_path.iterdir()] == [stores[0]._folder.name]  # nothing unfinished is left


def test_a_killed_encoding_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    path = tmp_path / "t.txt"
    path.write_text("abc" * 400)
    write = token_store._write_tokens

    def killed(target, *arguments):
        if target.stem == "test":
            raise KeyboardInterrupt
        return write(target, *arguments)

    monkeypatch.setattr(token_store, "_write_tokens", killed)
    arguments = (tmp_path, "data=text_files", f"data.path={path}")
    with pytest.raises(KeyboardInterrupt):
        stream(*arguments)
    monkeypatch.undo()
    assert list((tmp_path / "cache").iterdir()) == []
    assert text_of(stream(*arguments), "test") == ("abc" * 400)[-60:]


def pairs(lanes: TextLanes) -> list[list[tuple[int, int]]]:
    """(token, target) in order, a list for each lane."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(lanes.lanes)]
    for window in lanes:
        scored = window.tokens[-len(window.targets) :]
        for column in range(scored.shape[1]):
            for token, target in zip(scored[:, column].tolist(), window.targets[:, column].tolist(), strict=True):
                if target >= 0:
                    found[window.first_lane + column].append((token, target))
    return found


@pytest.mark.parametrize("history", [0, 3, 9])
@pytest.mark.parametrize(("count", "lanes", "length"), [(100, 4, 7), (101, 4, 5), (30, 7, 50), (9, 8, 4), (5, 8, 4)])
def test_evaluation_scores_every_token_but_the_first_exactly_once(count, lanes, length, history):
    tokens = np.arange(count, dtype=np.uint8)
    found = pairs(TextLanes(tokens, lanes, length, history))
    assert [pair for lane in found for pair in lane] == [(i, i + 1) for i in range(count - 1)]


def test_training_lanes_are_equal_and_drop_less_than_a_token_a_lane():
    found = pairs(TextLanes(np.arange(103, dtype=np.uint8), 4, 7, drop_tail=True))
    assert found == [[(i, i + 1) for i in range(lane * 25, lane * 25 + 25)] for lane in range(4)]


def test_history_is_what_lies_before_the_window_and_advance_leads_to_the_next():
    begin = 0
    for window in TextLanes(np.arange(50, dtype=np.uint8), 1, 4, history=6, drop_tail=True):
        assert window.tokens[:, 0].tolist() == list(range(begin, begin + len(window.tokens)))
        assert window.targets[:, 0].tolist() == [
            token + 1 for token in window.tokens[-len(window.targets) :, 0].tolist()
        ]
        begin += window.advance


def test_processes_share_the_lanes():
    tokens = np.arange(97, dtype=np.uint8)
    for arguments in ({"drop_tail": True}, {}):
        whole = list(TextLanes(tokens, 4, 6, history=2, **arguments))
        parts = [list(TextLanes(tokens, 4, 6, history=2, rank=rank, world_size=2, **arguments)) for rank in (0, 1)]
        for window, first, second in zip(whole, *parts, strict=True):
            assert torch.equal(window.tokens, torch.cat([first.tokens, second.tokens], dim=1))
            assert torch.equal(window.targets, torch.cat([first.targets, second.targets], dim=1))
            assert (second.first_lane, second.lanes) == (2, 4)


def test_windows_of_differing_lengths_are_the_same_text_cut_elsewhere_in_every_pass():
    def lanes(**more):
        return TextLanes(np.arange(4001, dtype=np.int64), 2, 40, history=7, drop_tail=True, vary=3, **more)

    passes, one = [], lanes()
    for _ in range(2):
        windows = list(one)
        assert len(windows) == len(one)
        passes.append([len(window.targets) for window in windows])
        for lane in (0, 1):
            assert torch.cat([window.targets[:, lane] for window in windows]).tolist() == list(
                range(2000 * lane + 1, 2000 * lane + 2001)
            )
        assert [window.rate * 40 for window in windows] == pytest.approx(passes[-1])
    first, second = passes
    assert first != second and sorted(first) == sorted(second)
    # Of the paper: about the length, one in twenty about half, deviations of 5; here of 50 windows.
    usual = [length for length in first if length > 30]
    assert 0.85 < len(usual) / len(first) < 1
    assert np.mean(usual) == pytest.approx(40, abs=2) and 3 < np.std(usual) < 7
    # Every process cuts alike; and a state leads into the same pass.
    assert [len(window.targets) for window in lanes(rank=1, world_size=2)] == first
    other = lanes()
    other.load_state_dict({"epoch": 1, "position": sum(second[:9])})
    assert [len(window.targets) for window in other] == second[9:]
    other.load_state_dict({"epoch": 1, "position": sum(second[:9]) + 1})  # of other windows: within one of these
    assert [len(window.targets) for window in other] == [second[9] - 1, *second[10:]]


def test_a_pass_goes_on_where_its_state_says_and_the_next_begins_anew():
    lanes = TextLanes(np.arange(100, dtype=np.uint8), 3, 5, history=4, drop_tail=True)
    windows = list(lanes)
    assert len(windows) == len(lanes) == 7
    for taken in range(1, 8):
        iterator = iter(lanes)
        for _ in range(taken):
            next(iterator)
        other = TextLanes(np.arange(100, dtype=np.uint8), 3, 5, history=4, drop_tail=True)
        other.load_state_dict(lanes.state_dict())
        rest = list(other)
        expected = windows[taken:] if taken < 7 else windows
        for window, reference in zip(rest, expected, strict=True):
            assert torch.equal(window.tokens, reference.tokens)
            assert window.begins == reference.begins
        assert len(list(other)) == 7
        iterator.close()
        lanes.load_state_dict({"epoch": 0, "position": 0})


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no data in {SHARED}")
class TestHubLayout:
    def test_tiny_shakespeare_is_the_files_text(self, tmp_path):
        data = stream(tmp_path, "data=tiny_shakespeare", f"data.path={SHARED}/tinyshakespeare")
        for split in ("train", "validation", "test"):
            assert text_of(data, split) == (SHARED / f"tinyshakespeare/{split}.txt").read_text()
        assert data.spec.size == 66

    def test_ptb_char_has_the_published_counts(self, tmp_path):
        data = stream(tmp_path, "data=ptb_char", f"data.path={SHARED}/ptb")
        counts = [len(data._store().tokens(split)) for split in ("train", "validation", "test")]
        # Mikolov et al. 2012: 5017k, 393k and 442k characters; 49 symbols and the newline. Exactly: the word version's
        # characters less the space at either end of each line.
        assert counts == [5_101_618 - 2 * 42_068, 399_782 - 2 * 3_370, 449_945 - 2 * 3_761]
        assert data.spec.size - 1 == 50
        assert text_of(data, "train").startswith("aer_banknote_berlitz_")

    def test_another_column_is_answered_with_those_there_are(self, tmp_path):
        with pytest.raises(UserError, match=r"no column body; name another by data\.column: Valid: text"):
            stream(tmp_path, "data=state_union", f"data.path={SHARED}/state_union", "data.column=body")


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        stream(tmp_path, "data=tiny_shakespeare", "data.path=nowhere/at_all")


def test_a_byte_order_mark_is_taken_off_hub_text(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_bytes("\ufeffline one\r\nline two\n".encode() * (1 if split != "train" else 2))
    data = stream(tmp_path, "data=tiny_shakespeare", f"data.path={folder}")
    assert text_of(data, "test") == "line one\nline two"


def test_what_is_trained_without_a_state_is_scored_in_windows_of_training(tmp_path):
    data = stream(tmp_path, "truncation.carry_state=false", "truncation.horizon=6")
    first, second = list(data.eval_dataloader("validation"))[:2]
    assert len(first.targets) == len(second.targets) == 4
    assert len(second.tokens) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="only there a process can look at what is in its memory")
def test_a_pass_over_a_text_leaves_none_of_it_in_memory(tmp_path):
    path = tmp_path / "train.npy"
    np.save(path, np.zeros(4_000_000, np.uint16))

    def resident() -> int:
        found = re.search(
            rf"{re.escape(str(path))}\n.*?Rss: +(\d+) kB", Path("/proc/self/smaps").read_text(), re.DOTALL
        )
        return int(found[1])

    tokens = np.load(path, mmap_mode="r")
    windows = iter(TextLanes(tokens, 2, 1000))
    next(windows)
    assert resident() > 0
    assert sum(1 for _ in windows) == 1999
    assert resident() == 0
    assert tokens[-1] == 0  # is read again
