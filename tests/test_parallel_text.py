"""Pairs of texts: what is read, what is refused, and how they lie in batches."""

import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import SHARED, composed

from unroll.building import build_data
from unroll.data.parallel_batches import PairBatches, begun
from unroll.data.subwords import BEGIN, END, decode, fit_subwords, words_of
from unroll.data.tokenizing import PAD, Sequences, encode, load_tokenizer
from unroll.errors import UserError

ENGLISH = [
    f"The {a} {n} sleeps {w}." for a in ("small", "old", "red") for n in ("cat", "dog", "tree") for w in ("now", "here")
]
FRENCH = [
    f"C'est {w} que dort {n}, {a} !" for a in ("petit", "vieux", "né") for n in ("le chat", "l'ours") for w in "abc"
]


def files(tmp_path, source=ENGLISH, target=FRENCH, **options):
    for name, lines in (("train.en", source), ("train.fr", target)):
        content = lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode()
        (tmp_path / name).write_bytes(content)
    settings = {"vocab_size": 300, "validation_fraction": 0.2, "test_fraction": 0.1, **options}
    return build_data(
        composed(
            "task=translation",
            "data=parallel_files",
            f"data.source_path={tmp_path}/train.en",
            f"data.target_path={tmp_path}/train.fr",
            *(f"data.{key}={value}" for key, value in settings.items()),
        )
    )


def table(path, *options: str):
    return build_data(composed("task=translation", "data=parallel_files", f"data.path={path}", *options))


def refusal(data) -> str:
    with pytest.raises(UserError) as caught:
        data.prepare_data()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Tokens


@pytest.mark.parametrize("unit", ["bpe", "unigram", "words"])
def test_text_comes_back_from_its_tokens(unit):
    texts = [*ENGLISH, *FRENCH, "Est-ce que l'œuvre (n° 3) coûte 12,50 € ?", "[END] is a text, [ END ] too"]
    tokenizer = load_tokenizer(fit_subwords(texts, unit, 400, 1, False).to_str())
    assert tokenizer.get_vocab_size() <= 400
    assert [tokenizer.token_to_id(name) for name in ("[ PAD ]", "[ UNK ]", "[ BEGIN ]", "[ END ]")] == [0, 1, 2, 3]
    sequences = encode(tokenizer, texts)
    assert not (sequences.tokens <= END).any()
    assert decode(tokenizer, [sequences[row].tolist() for row in range(len(texts))]) == texts
    ended = [*sequences[0].tolist(), END]
    assert decode(tokenizer, [ended]) == [texts[0]]
    words, places = words_of(tokenizer, ended)
    assert words == [*texts[0].split(), "</s>"]
    assert len(places) == len(ended)
    assert places == sorted(places)


def test_bytes_leave_nothing_unknown_and_capitals_can_be_left_out():
    tokenizer = fit_subwords(ENGLISH, "bpe", 300, 1, True)
    assert decode(tokenizer, [encode(tokenizer, ["Ünïcode 漢字"])[0].tolist()]) == ["ünïcode 漢字"]


def test_what_a_model_writes_is_one_line():
    tokenizer = fit_subwords(ENGLISH, "bpe", 300, 1, False)
    tokens = encode(tokenizer, ["The cat", "sleeps"])
    newline = encode(tokenizer, ["a\tb"])[0].tolist()
    assert decode(tokenizer, [[*tokens[0].tolist(), *newline]]) == ["The cat a b"]


def test_unknown_words_are_words_of_their_own():
    tokenizer = fit_subwords(ENGLISH, "words", 300, 1, False)
    tokens = encode(tokenizer, ["The zebra zebra sleeps now."])[0].tolist()
    assert words_of(tokenizer, [*tokens, END]) == (
        ["The", "<unk>", "<unk>", "sleeps", "now.", "</s>"],
        [0, 1, 2, 3, 4, 4, 5],
    )


def test_every_process_has_the_same_unigram_pieces():
    program = (
        "import hashlib; from unroll.data.subwords import fit_subwords; "
        f"written = fit_subwords({ENGLISH + FRENCH!r}, 'unigram', 90, 1, False).to_str(); "
        "print(hashlib.sha256(written.encode()).hexdigest())"
    )
    command = [sys.executable, "-c", program]
    found = {
        subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
        for _ in range(4)
    }
    assert len(found) == 1


# Reading


def test_two_files_are_pairs_and_what_they_lack_is_drawn(tmp_path):
    data = files(tmp_path)
    data.prepare_data()
    assert {split: len(pairs.sources) for split, pairs in data.pairs.items()} == {
        "train": 13,
        "validation": 3,
        "test": 2,
    }
    partner = dict(zip(ENGLISH, FRENCH, strict=True))
    for pairs in data.pairs.values():
        assert [partner[text] for text in pairs.sources] == pairs.targets
    assert sorted(text for pairs in data.pairs.values() for text in pairs.sources) == sorted(ENGLISH)
    again = files(tmp_path)
    assert again.pairs["test"].sources == data.pairs["test"].sources
    lines = data.describe()
    assert lines[0] == "train 13, validation 3, test 2 pairs, source -> target"


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_tables(tmp_path, kind):
    path = tmp_path / f"pairs.{kind}"
    rows = {"en": ENGLISH, "fr": FRENCH}
    if kind == "parquet":
        datasets.Dataset.from_dict(rows).to_parquet(path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"fr": b, "en": a}) + "\n" for a, b in zip(ENGLISH, FRENCH, strict=True)))
    else:
        mark = "\t" if kind == "tsv" else ";"
        path.write_text(
            "\ufeff" + "".join(f"{a}{mark}{b}\r\n" for a, b in zip(["en", *ENGLISH], ["fr", *FRENCH], strict=True))
        )
    data = table(path, "data.source=en", "data.target=fr")
    found = [pair for pairs in data.pairs.values() for pair in zip(pairs.sources, pairs.targets, strict=True)]
    assert sorted(found) == sorted(zip(ENGLISH, FRENCH, strict=True))


@pytest.mark.skipif(not (SHARED / "multi30k").exists(), reason="multi30k is not on this machine")
def test_a_folder_in_hub_layout():
    data = build_data(
        composed("task=translation", "data=multi30k", f"data.path={SHARED}/multi30k", "data.target_lang=fr")
    )
    assert {split: len(pairs.sources) for split, pairs in data.pairs.items()} == {
        "train": 29000,
        "validation": 1014,
        "test": 1000,
    }
    assert data.pairs["train"].sources[0].startswith("Zwei junge weiße Männer")
    assert data.pairs["train"].targets[0].startswith("Deux jeunes hommes blancs")
    wrong = build_data(
        composed("task=translation", "data=multi30k", f"data.path={SHARED}/multi30k", "data.target_lang=es")
    )
    assert "has no data.target_lang=es; did you mean de? Valid: de, en, fr" in refusal(wrong) or (
        "has no data.target_lang=es" in refusal(wrong) and "Valid: de, en, fr" in refusal(wrong)
    )


def test_the_hubs_own_format_of_translations(tmp_path):
    rows = [{"translation": {"de": f"wort {number}", "en": f"word {number}"}} for number in range(40)]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")
    options = ["task=translation", "data=wmt14", f"data.path={tmp_path}", "data.config_name=null"]
    data = build_data(composed(*options))
    data.prepare_data()
    assert set(data.pairs["train"].sources) <= {row["translation"]["en"] for row in rows}
    wrong = build_data(composed(*options, "data.source_lang=fr"))
    assert refusal(wrong).endswith("train: has no data.source_lang=fr; Valid: de, en")
    same = build_data(composed(*options, "data.source_lang=de"))
    assert refusal(same) == "data.source_lang and data.target_lang are the same, de"


def test_rows_without_translation_are_told(tmp_path):
    rows = [{"translation": {"de": f"wort {number}", "en": f"word {number}"}} for number in range(40)]
    rows[3] = {"translation": None}
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")
    data = build_data(composed("task=translation", "data=wmt14", f"data.path={tmp_path}", "data.config_name=null"))
    assert refusal(data).endswith("train, row 4: the source side is empty: take the pair out")


# What is refused


def test_files_of_different_length(tmp_path):
    message = refusal(files(tmp_path, ENGLISH, FRENCH[:-2]))
    assert message == (
        f"{tmp_path}/train.fr ends with line 16, and {tmp_path}/train.en goes on to line 18: the first one without a "
        f"partner is {ENGLISH[16]!r}"
    )


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([*ENGLISH[:3], "", *ENGLISH[4:]], FRENCH, "{0}/train.en, line 4: is empty: take the line out of both files"),
        (ENGLISH, [*FRENCH[:17], "   "], "{0}/train.fr ends with line 17, and {0}/train.en goes on to line 18"),
        (ENGLISH, b"", "{0}/train.fr: the file is empty (0 bytes)"),
        (ENGLISH, b"caf\xe9\n" * 18, "{0}/train.fr, line 1: byte 0xe9 is not utf-8; name the file's encoding"),
        (ENGLISH[:1], FRENCH[:1], "too few pairs to draw 10% of 1 for test"),
    ],
    ids=["empty line", "blank at the end", "empty file", "encoding", "one pair"],
)
def test_bad_files(tmp_path, source, target, expected):
    assert expected.format(tmp_path) in refusal(files(tmp_path, source, target))


def test_bad_tables(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("en,fr\nyes,oui\nno,\n")
    options = ("data.source=en", "data.target=fr")
    assert refusal(table(path, *options)) == f"{path}, line 3: the target side is empty: take the pair out"
    assert refusal(table(path, "data.source=en", "data.target=en")) == (
        "data.source and data.target are the same column, en"
    )
    assert "there is no column de" in refusal(table(path, "data.source=en", "data.target=de"))
    expected = "the train split: give either data.source_path and data.target_path, or data.path"
    assert refusal(table(path, "data.source_path=x")) == expected
    expected = "data=parallel_files: give data.source_path and data.target_path, or data.path for a table"
    assert refusal(build_data(composed("task=translation", "data=parallel_files"))) == expected


def test_the_same_file_twice(tmp_path):
    data = files(tmp_path)
    data.files["train"] = (data.files["train"][0],) * 2
    assert refusal(data) == f"{tmp_path}/train.en: is given for both sides"


def test_long_and_lopsided_pairs_are_counted_and_never_cut(tmp_path):
    source, target = list(ENGLISH) * 3, list(FRENCH) * 3
    source[5] = "dog " * 60
    target[5] = "ours " * 60
    target[7] = "chat " * 30
    data = files(tmp_path, source, target, max_length=50, max_ratio=2.5, validation_fraction=0.01, test_fraction=0.0)
    data.prepare_data()
    (told,) = [line for line in data.describe() if "left out" in line]
    assert told == (
        "2 training pairs are left out: 1 with a side of more than data.max_length=50 tokens, 1 with one more than "
        "data.max_ratio=2.5 times as long as the other"
    )
    assert len(data.kept) == len(data.pairs["train"].sources) - 2
    trained = [row for batch in data.train_dataloader() for row in batch.rows.tolist()]
    assert sorted(trained) == list(range(len(data.kept)))
    assert "no training pair is within data.max_length=1 tokens" in refusal_of_kept(tmp_path)


def refusal_of_kept(tmp_path):
    data = files(tmp_path, max_length=1)
    data.prepare_data()
    with pytest.raises(UserError) as caught:
        data.describe()
    return str(caught.value)


def test_another_pair_of_languages_is_not_taken_over(tmp_path):
    data = files(tmp_path, source_lang="en", target_lang="fr")
    other = files(tmp_path, source_lang="fr", target_lang="en")
    with pytest.raises(UserError, match="is fr -> en, and the run was trained on en -> fr"):
        other.adopt(data.spec)


def test_the_spec_comes_back_from_a_runs_folder(tmp_path):
    data = files(tmp_path, joint=False, source_lang="en", target_lang="fr")
    data.save(tmp_path)
    assert data.load_spec(tmp_path) == data.spec
    assert not data.spec.joint
    assert data.is_unchanged(tmp_path)
    (tmp_path / "target_tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"target_tokenizer\.json: is no tokenizer"):
        data.load_spec(tmp_path)


# Batches


def sequences(lengths) -> Sequences:
    tokens = [np.full(length, 10 + row, np.int32) for row, length in enumerate(lengths)]
    return Sequences(np.concatenate(tokens), np.concatenate([[0], np.cumsum(lengths)]))


def batches(seed=3, batch_tokens=200, count=300, **options) -> PairBatches:
    draw = np.random.default_rng(0)
    source = draw.integers(1, 40, count)
    target = np.maximum(1, source + draw.integers(-5, 6, count))
    return PairBatches(sequences(source), sequences(target), None, batch_tokens, seed, **options)


def test_every_pair_once_an_epoch_and_none_above_the_limit():
    loader = batches()
    orders = []
    for _ in range(3):
        rows = []
        found = list(loader)
        assert len(found) == len(loader)
        for batch in found:
            longest = max(len(batch.source), len(batch.target))
            assert len(batch.rows) * longest <= 200 or len(batch.rows) == 1
            rows += batch.rows.tolist()
            for column, row in enumerate(batch.rows.tolist()):
                source, target = batch.source[:, column], batch.target[:, column]
                assert source[source != PAD].tolist() == loader.sources[row].tolist()
                assert target[target != PAD].tolist() == [*loader.targets[row].tolist(), END]
                assert begun(batch.target)[0, column] == BEGIN
            assert batch.token_count == int((batch.target != PAD).sum())
        assert sorted(rows) == list(range(300))
        orders.append(rows)
    assert orders[0] != orders[1] != orders[2]
    padding = sum(int((side == PAD).sum()) for batch in found for side in (batch.source, batch.target))
    assert padding < 0.1 * sum(batch.source.numel() + batch.target.numel() for batch in found)


def test_a_longer_pair_than_a_batch_may_have_is_a_batch():
    loader = batches(batch_tokens=10)
    assert sorted(row for batch in loader for row in batch.rows.tolist()) == list(range(300))


def test_processes_share_a_batch_out():
    whole = list(batches())
    parts = [list(batches(rank=rank, world_size=3)) for rank in range(3)]
    for one, *shared in zip(whole, *parts, strict=True):
        counted = [part for part in shared if part.share]
        assert sorted(row for part in counted for row in part.rows.tolist()) == sorted(one.rows.tolist())
        assert sum(part.token_count for part in counted) == one.token_count
        # The mean of the processes' means, weighted so, is the mean over all tokens.
        assert sum(part.share for part in shared) == pytest.approx(3)
        for part in counted:
            assert part.share == pytest.approx(3 * part.token_count / one.token_count)


def test_a_pass_goes_on_where_it_stopped():
    loader, other = batches(), batches()
    whole = [batch.rows.tolist() for _ in range(2) for batch in loader]
    rest = []
    for number, batch in enumerate(other, start=1):
        rest.append(batch.rows.tolist())
        if number == 5:
            break
    resumed = batches()
    resumed.load_state_dict(other.state_dict())
    rest += [batch.rows.tolist() for _ in range(2) for batch in resumed]
    assert rest == whole


def test_evaluation_has_every_pair_and_its_reference(tmp_path):
    data = files(tmp_path)
    data.prepare_data()
    found = {}
    for batch in data.eval_dataloader("validation+test"):
        assert batch.target.dtype == torch.int64
        found |= dict(zip(batch.rows.tolist(), batch.references, strict=True))
    assert [found[row] for row in range(len(found))] == data.pairs["validation"].targets + data.pairs["test"].targets
