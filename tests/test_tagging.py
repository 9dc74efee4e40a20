"""Tagging: the task, its report, and the texts that it marks."""

import csv
import dataclasses
import html.parser
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import composed, door
from seqeval.metrics import f1_score

from unroll.building import build_data, build_task
from unroll.data.tagged_batches import TaggedBatches, encode_sentences
from unroll.data.tagged_spec import TaggedTextSpec
from unroll.data.tokenizing import UNKNOWN
from unroll.entities import Entity, entities
from unroll.job import run

SMALL = [
    "task=tagging",
    "logger=none",
    "model.hidden_size=16",
    "task.embedding_size=12",
    "task.character_embedding_size=6",
    "task.character_hidden_size=5",
    "trainer.accelerator=cpu",
]
WORDS = ("the", "kelm", "ann", "of", "bank", "rose")
TAGS = ("O", "B-org", "I-org", "B-person", "I-person")


def spec(tags: tuple[str, ...] = TAGS) -> TaggedTextSpec:
    return TaggedTextSpec(WORDS, 2, tuple("abcdefghijklmnopqrstuvwxyzAK"), tags, True, "punctuation")


def task_of(*overrides: str, tags: tuple[str, ...] = TAGS):
    torch.manual_seed(1)
    task = build_task(composed(*SMALL, *overrides), spec(tags)).double()
    with torch.no_grad():
        for weight in task.parameters():
            weight.normal_(std=0.5)
    return task


def batch_of(sentences: list[list[str]], tags: list[list[str]], names: tuple[str, ...] = TAGS):
    numbers = np.array([names.index(tag) for one in tags for tag in one], np.int64)
    encoded = encode_sentences(spec(names), sentences, numbers)
    rows = np.arange(len(sentences))
    return TaggedBatches(encoded, 100, 10_000).collate(rows, rows)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# The model and its loss

SENTENCES = [["Ann", "rose", "of", "Kelm"], ["the", "bank"], ["unheard"]]
TAGGED = [["B-person", "O", "B-org", "I-org"], ["O", "B-org"], ["O"]]


@pytest.mark.parametrize("crf", ["true", "false"])
def test_the_loss_is_minus_the_log_probability_a_word(crf):
    task = task_of(f"task.crf={crf}").eval()
    batch = batch_of(SENTENCES, TAGGED)
    total = 0.0
    for sentence, tags in zip(SENTENCES, TAGGED, strict=True):
        alone = batch_of([sentence], [tags])
        emissions = task._emissions(alone)
        if crf == "true":
            total += (task.crf.log_partition(emissions) - task.crf.score(emissions, alone.tags)).item()
        else:
            scores = torch.log_softmax(emissions[:, 0], -1)
            total -= sum(scores[t, TAGS.index(tag)].item() for t, tag in enumerate(tags))
    task.trainer = None
    task._observe = lambda *_: None
    assert task.loss(batch, None).value.item() == pytest.approx(total / 7)


def test_long_words_are_spelled_apart():
    """Each word's scores are those that it has in a sentence alone, in whichever group its letters are read."""
    task = task_of().eval()
    sentence = ["Ann", "A" * 17, "of", "n" * 16, "A" * 40, "o" * 8, "o" * 9, "Ann"]
    batch = batch_of([sentence], [["O"] * len(sentence)])
    assert [words.shape for words, _ in batch.spellings] == [(8, 3), (16, 2), (40, 2)]
    assert [None if lengths is None else lengths.tolist() for _, lengths in batch.spellings] == [
        [3, 2, 8],
        [16, 9],
        [17, 40],
    ]
    c = torch.cat([task.model._spelled(task.model.letters, *group) for group in batch.spellings])[batch.places[:, 0]]
    for word, found in zip(sentence, c, strict=True):
        (alone,) = batch_of([[word]], [["O"]]).spellings
        torch.testing.assert_close(found, task.model._spelled(task.model.letters, *alone)[0])


def test_letters_are_read_in_both_directions_and_once_for_each_word():
    task = task_of().eval()
    model = task.model
    batch = batch_of([["Ann", "Ann", "of"]], [["O", "O", "O"]])
    size = model.letters.top_size
    (spellings,) = batch.spellings
    c = model._spelled(model.letters, *spellings)
    assert len(c) == 2
    x = model.character_embedding(torch.tensor(spec().spelled("of")))[:, None]
    y, _ = model.letters(x)
    torch.testing.assert_close(c[1], torch.cat([y[-1, 0, :size], y[0, 0, size:]]))
    emissions = task._emissions(batch)
    assert emissions.shape == (3, 1, len(TAGS))
    without = task_of("task.character_hidden_size=null").eval()
    assert without.model.letters is None
    unheard, other = (without._emissions(batch_of([[word]], [["O"]])) for word in ("unheard", "other"))
    torch.testing.assert_close(unheard, other)  # both unknown, and nothing else is read of them
    unheard, other = (task._emissions(batch_of([[word]], [["O"]])) for word in ("unheard", "other"))
    assert not torch.allclose(unheard, other)


def test_words_start_from_given_vectors(tmp_path):
    path = written(
        tmp_path / "vectors.txt", "kelm " + " ".join(["0.5"] * 12) + "\nother " + " ".join(["9"] * 12) + "\n"
    )
    train = written(tmp_path / "train.conll", "Kelm B-x\nrose O\nkelm B-x\nrose O\n\n" * 12)
    data = build_data(composed("task=tagging", "data=tagged_files", f"data.path={train}", "data.test_fraction=0"))
    data.prepare_data()
    torch.manual_seed(1)
    task = build_task(composed(*SMALL, f"task.vectors={path}"), data.spec)
    assert task.begin(data) == [f"vectors: 1 of 2 words found in {path}, 50.0% of the running text of train"]
    assert (task.model.embedding.weight[data.spec.token("KELM")] == 0.5).all()


def test_words_that_stand_once_are_dropped_and_others_not():
    task = task_of("task.once_dropout=0.999999", "task.input_dropout=0", "task.output_dropout=0")
    task.train()
    twice, once = (batch_of([[word] * 50], [["O"] * 50]) for word in ("the", "rose"))  # the last two words stand once
    unknown = once._replace(tokens=torch.full_like(once.tokens, UNKNOWN))
    torch.testing.assert_close(task._emissions(once), task._emissions(unknown))
    trained = task._emissions(twice)
    torch.testing.assert_close(trained, task.eval()._emissions(twice))
    task.model.once_dropout, task.model.word_dropout = 0.1, 0.999999
    for batch in (once, twice):  # the rarer words no less than the others
        unknown = batch._replace(tokens=torch.full_like(batch.tokens, UNKNOWN))
        torch.testing.assert_close(task.train()._emissions(batch), task._emissions(unknown))


def test_windows_leave_the_scores_and_cut_the_gradients():
    whole, cut = (
        task_of("model.bidirectional=false", *more) for more in ([], ["truncation=k8", "truncation.length=2"])
    )
    batch = batch_of(SENTENCES, TAGGED)
    for task in (whole, cut):
        task.eval()
    for row, sentence in enumerate(SENTENCES):
        ours, theirs = (task._emissions(batch)[: len(sentence), row] for task in (cut, whole))
        torch.testing.assert_close(ours, theirs)
    reached = []
    for task in (whole, cut):
        task.model.embedding.weight.grad = None
        task._emissions(batch)[3, 0].sum().backward()
        reached.append(int((task.model.embedding.weight.grad.abs().sum(1) > 0).sum()))
    assert reached == [4, 2]


def test_the_ends_hang_on_what_was_read_on_the_way_there():
    task = task_of("task.crf=false").eval()
    batch = batch_of(SENTENCES, TAGGED)
    y = task.model.read(batch.tokens, batch.lengths, batch.spellings, batch.places)
    last, first = task.model.ends_apart(y, batch.lengths)
    emissions = task._emissions(batch)
    torch.testing.assert_close(first, emissions[0])
    torch.testing.assert_close(last, torch.stack([emissions[3, 0], emissions[1, 1], emissions[0, 2]]))
    (gradient,) = torch.autograd.grad(last.sum(), y, retain_graph=True)
    assert gradient[..., 16:].abs().sum() == 0
    (gradient,) = torch.autograd.grad(first.sum(), y)
    assert gradient[..., :16].abs().sum() == 0


# Marks


@pytest.mark.parametrize("crf", ["true", "false"])
@pytest.mark.parametrize("tags", [TAGS, ("NOUN", "VERB", "DET")])
def test_marks_have_places_and_exact_probabilities(tags, crf):
    import itertools

    task = task_of(f"task.crf={crf}", tags=tags)
    texts = ["the Bank  of Kelm rose", "", "Ann's", "unheard of", "of the rose", "bank bank bank"]
    found = task.tag(texts)
    assert found[1] == []
    alone = [task.tag([text])[0] for text in texts]
    for ours, theirs in zip(found, alone, strict=True):  # each as if it were alone
        assert [one[:3] for one in ours] == [one[:3] for one in theirs]
        assert [one.probability for one in ours] == pytest.approx([one.probability for one in theirs])
    seen = 0
    for text, marks in zip(texts, found, strict=True):
        spans = task.spec.cut(text)
        if not spans:
            continue
        words = [text[start:end] for start, end in spans]
        emissions = task.eval()._emissions(batch_of([words], [[tags[0]] * len(words)], tags))
        scores = {}
        for y in itertools.product(range(len(tags)), repeat=len(words)):
            way = torch.tensor(y)[:, None]
            each = emissions.gather(2, way[..., None]).sum() if crf == "false" else task.crf.score(emissions, way)[0]
            scores[tuple(tags[tag] for tag in y)] = float(each.detach().exp())
        read = entities if tags is TAGS else lambda tags: [Entity(t, t + 1, tag) for t, tag in enumerate(tags)]
        if crf == "true":
            best = read(max(scores, key=scores.__getitem__))
            assert [(spans[one.start][0], spans[one.end - 1][1], one.kind) for one in best] == [
                one[:3] for one in marks
            ]
        for mark in marks:
            place = [start for start, _ in spans].index(mark.start), [end for _, end in spans].index(mark.end) + 1
            have = sum(score for y, score in scores.items() if Entity(*place, mark.label) in read(y))
            assert mark.probability == pytest.approx(have / sum(scores.values()))
            assert 0 < mark.probability <= 1
            seen += 1
    assert seen > 2


# A run, and its doors


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tagging") / "run"
    sizes = ["data.sizes=[3000,120,120]", "trainer.max_epochs=5"]
    composed("task=tagging", "logger=none", "trainer.accelerator=cpu", *sizes, folder=folder)
    run(folder)
    return folder


def test_the_built_in_names_are_found(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["metrics"]["test/f1"] > 0.8
    assert summary["baselines"]["most frequent tags"]["test/f1"] < 0.5
    assert "conlleval" in summary["definitions"]["f1"]


def test_the_report_is_what_was_answered(finished):
    lines = (finished / "evaluation/test_tags.conll").read_text(encoding="utf-8").split("\n\n")
    sentences = [[line.split("\t") for line in sentence.split("\n")] for sentence in lines if sentence]
    assert len(sentences) == 120
    wanted, answered = ([[word[column] for word in one] for one in sentences] for column in (1, 2))
    metrics = json.loads((finished / "summary.json").read_text())["metrics"]
    assert metrics["test/f1"] == pytest.approx(f1_score(wanted, answered))
    same = [a == b for one, other in zip(wanted, answered, strict=True) for a, b in zip(one, other, strict=True)]
    assert metrics["test/accuracy"] == pytest.approx(np.mean(same))
    kinds = list(csv.DictReader((finished / "evaluation/test_kinds.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["kind"] for row in kinds] == ["all", "organization", "person", "place"]
    assert (
        sum(int(row["entities"]) for row in kinds[1:])
        == int(kinds[0]["entities"])
        == sum(len(entities(tags)) for tags in wanted)
    )
    known = list(csv.DictReader((finished / "evaluation/test_known.csv").read_text(encoding="utf-8").splitlines()))
    assert sum(int(row["entities"]) for row in known) == int(kinds[0]["entities"])
    page = (finished / "evaluation/test_worst.html").read_text(encoding="utf-8")
    html.parser.HTMLParser().feed(page)
    worst = list(csv.DictReader((finished / "evaluation/test_worst.csv").read_text(encoding="utf-8").splitlines()))
    assert page.count("<th>right</th>") == min(len(worst), 40)
    for name in ("kinds_test.png", "difficulty_test.png"):
        assert (finished / "figures" / name).stat().st_size > 5000


def test_texts_are_marked_in_json_and_in_colours(finished, tmp_path):
    texts = ["Klara Brenova flew to Toulmford on Monday.", "", "In May the price of tin doubled again."]
    path = written(tmp_path / "texts.txt", "\n".join(texts) + "\n")
    result = door("predict.py", str(finished), "--input", str(path))
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in io.StringIO(result.stdout)]
    assert [row["text"] for row in rows] == texts
    for row in rows:
        for mark in row["entities"]:
            assert row["text"][mark["start"] : mark["end"]] == mark["text"]
            assert 0 < mark["probability"] <= 1
    assert [mark["text"] for mark in rows[0]["entities"]] == ["Klara Brenova", "Toulmford"]
    assert rows[1]["entities"] == rows[2]["entities"] == []
    result = door("predict.py", str(finished), "--text", texts[0], "--format", "colour", COLUMNS="120")
    assert result.stdout == "[Klara Brenova person] flew to [Toulmford place] on Monday.\n"
    marked = door(
        "predict.py", str(finished), "--text", texts[0].replace("day.", "day ."), "--format", "jsonl", "--pretokenized"
    )
    assert [mark["text"] for mark in json.loads(marked.stdout)["entities"]] == ["Klara Brenova", "Toulmford"]
    output = tmp_path / "marks.jsonl"
    result = door("predict.py", str(finished), "--input", str(path), "--output", str(output), "--format", "colour")
    assert result.returncode == 2
    assert not output.exists()
    assert door("predict.py", str(finished), "--input", str(path), "--output", str(output)).returncode == 0
    assert [json.loads(line)["text"] for line in output.read_text(encoding="utf-8").splitlines()] == texts


def test_pretokenized_texts_are_cut_at_spaces_alone():
    of_treebank = dataclasses.replace(spec(), boundaries="punctuation")
    text = "do n't , 3.5-fold"
    assert [text[start:end] for start, end in of_treebank.cut(text)] == ["do", "n't", ",", "3.5", "-", "fold"]
    assert [text[start:end] for start, end in of_treebank.cut(text, at_spaces=True)] == ["do", "n't", ",", "3.5-fold"]


def test_other_data_with_other_tags_is_refused(finished, tmp_path):
    path = written(tmp_path / "a.conll", "Ann B-ship\nrose O\n\n" * 12)
    result = door("evaluate.py", str(finished), "--data", str(path))
    assert result.returncode in (1, 2)
    assert result.stderr.count("\n") == 1
