"""Tagged texts: what is read, what is refused, vocabularies and batches."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from conftest import SHARED, composed

from unroll.building import build_data
from unroll.data.tagged_batches import NO_TAG, TaggedBatches, encode_sentences
from unroll.data.tagged_spec import TaggedTextSpec
from unroll.data.tagged_text import TaggedText
from unroll.data.tokenizing import PAD, UNKNOWN
from unroll.entities import entities
from unroll.errors import UserError
from unroll.insight.tags import TagAnswers, most_frequent_tags

WORDS = ("the", "kelm", "ann", "of", "bank", "rose")
TAGS = ("O", "B-org", "I-org", "B-person", "I-person")
CONLL = """-DOCSTART- -X- O

Ann NNP B-person
of IN O
Kelm NNP B-place

the DT O
rose NN O
"""


def spec() -> TaggedTextSpec:
    return TaggedTextSpec(WORDS, 2, tuple("abcdefghijklmnopqrstuvwxyzAK"), TAGS, True, "punctuation")


def data_of(*overrides: str) -> TaggedText:
    data = build_data(composed("task=tagging", *overrides))
    assert isinstance(data, TaggedText)
    return data


def files(path: Path, *overrides: str) -> TaggedText:
    return data_of("data=tagged_files", f"data.path={path}", "data.test_fraction=0", *overrides)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(data: TaggedText) -> str:
    with pytest.raises(UserError) as error:
        data.prepare_data()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_columns_rows_and_lists_read_alike(tmp_path):
    rows = [(["Ann", "of", "Kelm"], ["B-person", "O", "B-place"]), (["the", "rose"], ["O", "O"])]
    columns = written(tmp_path / "a.conll", CONLL)
    tabs = written(tmp_path / "a.tsv", CONLL.replace(" ", "\t").replace("\n", "\r\n"))
    lines = written(
        tmp_path / "a.jsonl", "".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in rows)
    )
    parquet = tmp_path / "a.parquet"
    table = {"tokens": [words for words, _ in rows], "tags": [tags for _, tags in rows]}
    datasets.Dataset.from_dict(table).to_parquet(str(parquet))
    for path in (columns, tabs, lines, parquet):
        (found,) = files(path).read().values()
        assert [(found.words(row), found.tags(row)) for row in range(2)] == rows, path
    (found,) = files(columns).read().values()
    assert found.place(1) == f"{columns}, line 7"


def test_conllu_without_comments_and_without_what_is_part_of_others(tmp_path):
    text = """# sent_id = 1
# text = She won't.
1\tShe\tshe\tPRON
2-3\twon't\t_\t_
2\two\twill\tAUX
3\tn't\tnot\tPART
3.1\tgo\tgo\tVERB
4\t#\t#\tSYM

"""
    path = written(tmp_path / "a.conllu", text)
    (found,) = files(path, "data.word_column=2", "data.tag_column=4").read().values()
    assert found.words(0) == ["She", "wo", "n't", "#"]
    assert found.tags(0) == ["PRON", "AUX", "PART", "SYM"]


def test_a_hash_tag_is_a_word_elsewhere_and_a_named_comment_is_none(tmp_path):
    text = "# sent_id = 1\n#Kelm B-place\nrose O\n\n# O\n#x= O\n"
    (found,) = files(written(tmp_path / "a.conll", text)).read().values()
    assert [found.words(row) for row in range(2)] == [["#Kelm", "rose"], ["#", "#x="]]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.conll", "Ann B-x\nof\n", "a.conll, line 2: has 1 columns where line 1 has 2"),
        ("a.conll", "Ann\nof\n", "line 1: column 1 is taken for both words and tags"),
        ("a.conll", "Ann\t\nof\tO\n", "a.conll, line 1: the tag is empty"),
        ("a.conll", "\n\n", "a.conll: has no sentence"),
        ("a.conll", "", "a.conll: the file is empty (0 bytes)"),
        ("a.csv", "Ann,O\n", "a.csv: a list of words has no place in a CSV"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n', "a.jsonl, line 1: 2 words have 1 tags"),
        ("a.jsonl", '{"tokens": "a b", "tags": ["O"]}\n', "a.jsonl, line 1, column tokens: 'a b' is no list"),
        ("a.jsonl", '{"tokens": ["a", 3], "tags": ["O", "O"]}\n', "item 2, 3, is not a text"),
        ("a.jsonl", '{"tokens": [], "tags": []}\n', "a.jsonl, line 1: the list of words is empty"),
        ("a.jsonl", '{"tokens": ["a\\tb"], "tags": ["O"]}\n', "has a tab or the end of a line in it"),
        ("a.jsonl", '{"tokens": ["a"], "ner": ["O"]}\n', "there is no column tags; name another by data.tags"),
        ("a.jsonl", '{"tokens": ["a", " "], "tags": ["O", "O"]}\n', "the word at place 2 of the sentence is empty"),
        ("a.conll", "a O\n\n" * 20, "every word of train has the tag O: two tags are needed"),
        ("a.conll", "a B-x\n", "too few sentences to draw 10% of 1 for validation"),
    ],
)
def test_what_is_refused(tmp_path, name, text, said):
    assert said in refused(files(written(tmp_path / name, text)))


def test_more_that_is_refused(tmp_path):
    train = written(tmp_path / "train.conll", "a B-x\nb O\n\nc O\n")
    other = written(tmp_path / "dev.conll", "a B-x\n\nb B-y\n")
    said = refused(files(train, f"data.validation_path={other}"))
    assert (
        f"{other}, line 3: the word 'b' has the tag B-y, which no sentence of train has; train has: O, B-x, I-x" in said
    )
    assert "line 1: there is no column 3: it has 2; set data.tag_column" in refused(files(train, "data.tag_column=3"))
    assert "data.tag_column=0: columns are counted from 1" in refused(files(train, "data.tag_column=0"))
    assert "the sentence has 2 words, and data.max_length=1 are allowed" in refused(files(train, "data.max_length=1"))
    assert "no such file" in refused(files(tmp_path / "none.conll"))
    latin = tmp_path / "latin.conll"
    latin.write_bytes("né O\n".encode("latin-1"))
    assert "line 1: byte 0xe9 is not utf-8" in refused(files(latin))


def test_a_folder_of_the_hubs_layout_tells_tags_by_their_own_names(tmp_path):
    orders = {"train": ["O", "B-a", "I-a"], "validation": ["I-a", "O", "B-a"]}
    for split, names in orders.items():
        tags = [[names.index(tag) for tag in ("B-a", "I-a", "O")]] * 12
        features = datasets.Features(
            {
                "tokens": datasets.List(datasets.Value("string")),
                "ner_tags": datasets.List(datasets.ClassLabel(names=names)),
            }
        )
        table = datasets.Dataset.from_dict({"tokens": [["x", "y", "z"]] * 12, "ner_tags": tags}, features=features)
        table.to_parquet(str(tmp_path / f"{split}.parquet"))
    data = data_of("data=wnut17", f"data.path={tmp_path}", "data.test_fraction=0")
    for split in orders:
        assert data.sentences[split].tags(0) == ["B-a", "I-a", "O"]
    assert "there is no column words; name another by data.words" in refused(
        data_of("data=wnut17", f"data.path={tmp_path}", "data.words=words")
    )


def test_wnut17_has_the_entities_that_it_should():
    if not (SHARED / "wnut17").is_dir():
        pytest.skip("needs ../shared/data/wnut17")
    data = data_of("data=wnut17", f"data.path={SHARED / 'wnut17'}")
    counts = {
        split: sum(len(entities(rows.tags(row))) for row in range(len(rows.given)))
        for split, rows in data.sentences.items()
    }
    assert counts == {"train": 1975, "validation": 836, "test": 1079}


def test_iob1_is_read_into_iob2_and_said(tmp_path):
    path = written(tmp_path / "a.conll", "a I-x\nb I-x\nc O\n\nd O\n\ne I-x\n\n")
    data = files(path, "data.validation_fraction=0.34")
    tags = {tag for rows in data.sentences.values() for row in range(len(rows.given)) for tag in rows.tags(row)}
    assert tags == {"O", "B-x", "I-x"}
    assert any("2 tags of entities are read as IOB2 has them" in line for line in data.describe())


def test_a_tag_that_makes_entities_words_is_named(tmp_path):
    path = written(tmp_path / "a.conll", "a B-x\nb I-x\nc O\n\nd PLACE\n\ne O\n\n")
    assert any(
        "words are scored, not entities: the tags PLACE are" in line
        for line in files(path, "data.validation_fraction=0.34").describe()
    )


def test_a_kind_of_one_word_in_train_may_have_more_elsewhere(tmp_path):
    train = written(tmp_path / "train.conll", "Ann B-x\nrose O\n\nb O\n")
    other = written(tmp_path / "dev.conll", "Ann B-x\nKelm I-x\n")
    data = files(train, f"data.validation_path={other}")
    data.prepare_data()
    assert data.spec.tags == ("O", "B-x", "I-x")


def test_the_vocabulary_is_that_of_train_and_knows_what_stands_there_once(tmp_path):
    train = written(tmp_path / "train.conll", "The O\nthe O\nrose B-x\nAnn B-x\n")
    other = written(tmp_path / "dev.conll", "never O\n")
    data = files(train, f"data.validation_path={other}")
    assert data.spec.words == ("the", "ann", "rose")
    assert data.spec.once == 2
    assert data.spec.tags == ("O", "B-x", "I-x")
    assert data.spec.token("THE") == 2
    assert data.spec.token("never") == UNKNOWN
    assert data.spec.spelled("The!") == [data.spec.characters.index(letter) + 2 for letter in "The"] + [UNKNOWN]


def test_a_batch_holds_what_was_written():
    tags = np.array([TAGS.index(tag) for tag in ("B-person", "O", "O", "O")])
    sentences = encode_sentences(spec(), [["Ann", "of", "Ann"], ["the"]], tags)
    batch = TaggedBatches(sentences, 100, 10_000).collate(np.arange(2), np.arange(2))
    assert batch.tokens.t().tolist() == [[4, 5, 4], [2, PAD, PAD]]
    assert batch.tags.t().tolist() == [[3, 0, 0], [0, NO_TAG, NO_TAG]]
    assert batch.lengths.tolist() == [3, 1]
    letters = spec().characters
    ((spellings, spelling_lengths),) = batch.spellings
    words = ["".join(letters[number - 2] for number in word if number) for word in spellings.t().tolist()]
    assert words == ["Ann", "of", "the"]
    assert spelling_lengths.tolist() == [3, 2, 3]
    assert batch.places.t().tolist() == [[0, 1, 0], [2, 0, 0]]
    assert batch.token_count == 4


@pytest.mark.parametrize(
    ("boundaries", "words"),
    [
        ("spaces", ["She", "didn't,", "ran", "3.5", "km."]),
        ("punctuation", ["She", "did", "n't", ",", "ran", "3.5", "km", "."]),
    ],
)
def test_where_words_end_in_a_text(boundaries, words):
    text = "She didn't,  ran 3.5 km."
    cut = TaggedTextSpec(WORDS, 0, (), TAGS, True, boundaries).cut(text)
    assert [text[start:end] for start, end in cut] == words


def test_the_built_in_sentences_are_made_of_new_names():
    data = data_of("data.sizes=[800,150,150]")
    seen = set(data.sentences["train"].given)
    assert not any(text in seen for split in ("validation", "test") for text in data.sentences[split].given)
    wanted, answered = most_frequent_tags(data, "validation")
    assert 0.1 < TagAnswers(wanted, answered, True).scores()["f1"] < 0.5  # knowing words is not enough
    assert {tag for tags in wanted for tag in tags} == set(data.spec.tags)
