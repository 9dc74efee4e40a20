"""Word language models: what a word is, what the next one costs, and what is completed."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SHARED, composed, door

from unroll.building import build_data, build_task
from unroll.cache import Cache
from unroll.data.text_stream import Window
from unroll.data.words import WordVocabulary, fit_words, whole_lines
from unroll.dropout import Locked
from unroll.errors import UsageError
from unroll.job import run
from unroll.models.seq_to_seq import SeqToSeq
from unroll.predicting.word_lm import NextWords
from unroll.state import detach
from unroll.tasks.word_lm import WordLM

TEXT = "I eat rice .\nyou eat rice and I don't .\n\nwe (you and I) eat rice\n"


def vocabulary(text: str = TEXT, **settings) -> WordVocabulary:
    given = {"unit": "words", "vocab_size": 100, "min_count": 1, "lowercase": False, "boundaries": "spaces", **settings}
    return fit_words([text], **given)


def untrained(words: WordVocabulary, *overrides: str) -> WordLM:
    config = composed("task=word_lm", "model.hidden_size=5", *overrides)
    torch.manual_seed(3)
    return build_task(config, words).double().eval()


def window(words: WordVocabulary, text: str) -> Window:
    tokens = torch.from_numpy(words.encode(text).astype("int64"))[:, None]
    return Window(tokens[:-1], tokens[1:], advance=0, begins=True, first_lane=0, lanes=1)


def test_i_eat_rice():
    """Three words and a recurrence of five units, by hand: p(w_t | w_<t) = softmax(E h_t + c)."""
    words = vocabulary("I eat rice")
    assert sorted(words.words) == ["I", "[UNK]", "eat", "rice"]
    task = untrained(words, "model=rnn")
    cell, E = task.model.recurrent.layers[0], task.model.embedding.weight.detach()
    c = task.model.output.bias.detach()
    h, cost = torch.zeros(5, dtype=torch.float64), 0.0
    read = words.encode("I eat rice").tolist()
    for token, following in pairwise(read):
        h = torch.tanh(cell.W @ E[token] + cell.b_W + cell.U @ h + cell.b_U).detach()
        p = (E @ h + c).softmax(0)
        cost -= math.log(p[following])
    found = task.loss(window(words, "I eat rice"), None)
    assert found.scored == 2
    assert found.value.item() == pytest.approx(cost / 2, rel=1e-12)
    assert task.metrics(cost / 2)["perplexity"] == pytest.approx(math.exp(cost / 2))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_chunks_do_not_show(size, monkeypatch):
    monkeypatch.setattr("unroll.data.words._AT_ONCE", 5)
    chunks = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
    for unit in ("words", "bpe"):
        words = vocabulary(unit=unit, vocab_size=400)
        pieces = list(words.pieces(chunks))
        assert "".join(pieces) == TEXT
        assert np.concatenate([words.encode(piece) for piece in pieces]).tolist() == words.encode(TEXT).tolist()
    long = "word " * 100
    assert all(len(piece.split("word")[0]) < 2 for piece in whole_lines([long[:203], long[203:]]))


def test_words_come_back_as_they_were():
    spaces = vocabulary()
    assert spaces.decode(spaces.encode(TEXT)) == TEXT
    marks = vocabulary(boundaries="punctuation")
    assert "don't" in marks.words and "(" in marks.words
    assert marks.decode(marks.encode("we (you and I) eat rice.\nI don't.")) == "we (you and I) eat rice.\nI don't."
    pieces = vocabulary(unit="bpe", vocab_size=400)
    for text in (TEXT, "  é€😀\tx\n\n  y ", "[UNK]"):
        assert pieces.decode(pieces.encode(text)) == text
    assert pieces.unknown("é€😀") == []


def test_what_is_not_in_the_vocabulary_is_unknown():
    words = vocabulary(vocab_size=4, lowercase=True)
    assert words.words[0] == "[UNK]" and set(words.words[1:]) == {"\n", "eat", "rice"}  # the most frequent
    assert words.encode("EAT zebra rice [UNK]").tolist() == [words.words.index("eat"), 0, words.words.index("rice"), 0]
    assert words.unknown("eat zebras and rice") == ["and", "zebras"]
    assert words.decode([0]) == "\ufffd"


@pytest.mark.skipif(not (SHARED / "ptb").exists(), reason="needs ../shared/data/ptb")
def test_penn_treebank_has_the_counts_that_papers_have(tmp_path):
    config = composed("task=word_lm", "data=ptb", f"data.path={SHARED}/ptb", f"data.cache_dir={tmp_path}")
    data = build_data(config)
    data.prepare_data()
    assert [len(data.tokens(split)) for split in ("train", "validation", "test")] == [929_589, 73_760, 82_430]
    assert data.spec.size == 10_001  # the unknown one never occurs: `<unk>` is a word of this text
    assert not any("not in the vocabulary" in line for line in data.describe())


def test_the_loss_is_cross_entropy_whatever_the_chunks_and_without_what_is_past_the_end(monkeypatch):
    words = vocabulary()
    task = untrained(words)
    batch = window(words, TEXT)
    targets = batch.targets.clone()
    targets[-4:] = -1
    batch = batch._replace(targets=targets)
    monkeypatch.setattr("unroll.cross_entropy._MOST", 3 * words.size)
    found = task.loss(batch, None)
    logits, _ = task.model(batch.tokens)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
    torch.testing.assert_close(found.value, expected)
    assert found.scored == len(targets) - 4
    nothing = task.loss(batch._replace(targets=torch.full_like(targets, -1)), None)
    assert nothing.scored == 0 and nothing.value == 0


def test_penalties_are_added_in_training_only():
    words = vocabulary()
    still = ["task.input_dropout=0", "task.output_dropout=0"]
    plain = untrained(words, *still)
    task = untrained(words, *still, "task.activation_penalty=2", "task.change_penalty=3")
    batch = window(words, TEXT)
    assert task.loss(batch, None).value == plain.loss(batch, None).value
    y, _ = task.model.hidden(batch.tokens)
    task.train()
    expected = plain.loss(batch, None).value + 2 * (y**2).mean() + 3 * ((y[1:] - y[:-1]) ** 2).mean()
    torch.testing.assert_close(task.loss(batch, None).value, expected)


def test_dropout_of_words_and_of_features():
    torch.manual_seed(1)
    x = torch.ones(6, 4, 50)
    locked = Locked(0.4)
    dropped = locked(x)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))  # at every step the same
    assert not torch.equal(dropped[:, 0], dropped[:, 1])  # in each sequence others
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.6], rel=2e-5)  # 0.4 is met within 2**-17
    assert torch.equal(locked.eval()(x), x)
    words = vocabulary()
    stack = build_task(composed("task=word_lm", "model.hidden_size=5"), words).model.recurrent
    model = SeqToSeq(words.size, lambda input_size: stack, 5, embedding_dropout=0.5)
    tokens = torch.arange(words.size).repeat(2)[:, None]
    once, twice = model._embedded(tokens)[:, 0].chunk(2)
    assert torch.equal(once, twice)
    gone = (once == 0).all(-1)
    assert 0 < gone.sum() < words.size
    torch.testing.assert_close(once[~gone], 2 * model.embedding.weight[~gone])


def test_completions_are_the_models_most_probable_words():
    words = vocabulary()
    task = untrained(words)
    logits, _ = task.model(torch.from_numpy(words.encode("\nyou eat").astype("int64"))[:, None])
    p = logits[-1, 0].clone()
    p[0] = -torch.inf  # the unknown one is no completion
    p = p.softmax(-1)
    found = task.complete("you eat", top=3, words=2)
    best = p.topk(3)
    assert [one.probability for one in found] == pytest.approx(best.values.tolist(), rel=1e-6)
    assert [one.word for one in found] == [words.words[token] for token in best.indices]
    for one, token in zip(found, best.indices.tolist(), strict=True):
        text = [token]
        for _ in range(2):
            logits, _ = task.model(torch.tensor([*words.encode("\nyou eat").tolist(), *text])[:, None])
            logits[-1, 0, 0] = -torch.inf
            text.append(int(logits[-1, 0].argmax()))
        assert one.goes_on == " ".join(words.decode([text[0], *text[1:]]).split()[1:])


def test_a_word_that_is_begun_is_completed():
    words = vocabulary()
    task = untrained(words)
    whole = {one.word: one.probability for one in task.complete("you ", top=100)}
    found = task.complete("you a", top=5)
    assert [one.word for one in found] == ["and"] and found[0].probability == pytest.approx(1)
    begun = {one.word: one.probability for one in task.complete("you eat r", top=5)}
    assert set(begun) == {"rice"}
    assert sum(whole.values()) == pytest.approx(1)
    with pytest.raises(UsageError, match=r"^no word that the model knows begins with 'xyz'$"):
        task.complete("you xyz")


def test_a_word_begins_where_marks_end():
    task = untrained(vocabulary(boundaries="punctuation"))
    for before in ("you (", 'you "', "xyz-"):
        assert [one.word for one in task.complete(f"{before}ric")] == ["rice"]
        assert len(task.complete(f"{before}rice", top=100)) == task.words.size - 1


def test_what_is_typed_is_completed():
    from prompt_toolkit.document import Document

    completer = NextWords(untrained(vocabulary(boundaries="punctuation")), top=3)

    def offered(text: str) -> list[tuple[str, int]]:
        return [(one.text, one.start_position) for one in completer.get_completions(Document(text), None)]

    assert offered("you a") == [("and ", -1)]
    assert offered("you (a") == [("and ", -1)]
    assert all(start == 0 and not text.startswith(" ") for text, start in offered("you "))
    assert all(start == 0 and text.startswith(" ") for text, start in offered("you eat"))
    assert offered("you xyz") == []


def test_each_reads_its_own_unit():
    config = composed("task=word_lm", "data.unit=characters")
    spec = build_data(config).spec
    with pytest.raises(UsageError, match=r"^data.unit=characters: task=word_lm reads words"):
        build_task(config, spec)
    with pytest.raises(UsageError, match=r"^data.unit=words: task=char_lm reads characters or bytes"):
        build_task(composed("task=char_lm"), vocabulary())


def test_a_run_completes_through_the_door(tmp_path):
    folder = tmp_path / "run"
    (tmp_path / "text.txt").write_text("I eat rice and you eat bread .\n" * 400)
    small = ["logger=none", "model.hidden_size=24", "trainer.max_steps=300", "optimizer.lr=0.01", "truncation=k8"]
    text = ["data=text_files", f"data.path={tmp_path}/text.txt", "data.batch_size=8", f"data.cache_dir={tmp_path}/c"]
    composed("task=word_lm", *small, *text, "data.boundaries=spaces", folder=folder)
    run(folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["metrics"]["test/perplexity"] < 1.3  # "I" or "you" is all there is to know
    result = door("predict.py", str(folder), "--complete", "I eat", "--top", "2")
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.split()[1:] == ["rice", "and", "you", "eat", "bread"]
    assert float(first.split("%")[0]) > 60 > float(second.split("%")[0])
    result = door("predict.py", str(folder), "--prompt", "I eat", "--length", "3", "--temperature", "0")
    assert result.stdout == "I eat rice and you\n"
    for settings in (["task.cache_size=20", "task.cache_weight=0.2"], ["task.dynamic_rate=5"]):
        result = door("evaluate.py", str(folder), *settings)
        assert result.returncode == 0, result.stderr
        found = json.loads((folder / "evaluation/test.json").read_text())
        assert found["settings"] == settings
        assert 1 < found["metrics"]["perplexity"] != summary["metrics"]["test/perplexity"]
    result = door("predict.py", str(folder), "--complete", "I", "--interactive")
    assert result.returncode == 2 and "give one of them" in result.stderr


def test_the_cache_is_its_equation_whatever_the_windows():
    torch.manual_seed(2)
    time, size, weight, sharpness = 11, 4, 0.3, 0.7
    h, wanted = torch.randn(time, 2, 3, dtype=torch.float64), torch.randint(3, (time, 2))
    of_model = torch.rand(time, 2, dtype=torch.float64).log()
    expected = torch.zeros(time, 2, dtype=torch.float64)
    for lane in range(2):
        for t in range(time):
            p = of_model[t, lane].exp()
            before = range(max(0, t - size), t)
            if before:
                scores = torch.stack([torch.exp(sharpness * h[t, lane] @ h[i, lane]) for i in before])
                again = torch.tensor([wanted[i, lane] == wanted[t, lane] for i in before])
                p = (1 - weight) * p + weight * scores[again].sum() / scores.sum()
            expected[t, lane] = -p.log()
    cache = Cache(size, weight, sharpness)
    for length in (time, 3, 1):
        seen, found = None, []
        for start in range(0, time, length):
            some = slice(start, start + length)
            costs, seen = cache.costs(of_model[some], h[some], wanted[some], seen)
            found.append(costs)
        torch.testing.assert_close(torch.cat(found), expected)


def test_evaluation_with_a_cache_of_no_weight_is_evaluation_without(tmp_path):
    words = vocabulary()
    plain = untrained(words)
    cached = untrained(words, "task.cache_size=5", "task.cache_weight=0")
    batch = window(words, TEXT)
    torch.testing.assert_close(cached.loss(batch, None).value, plain.loss(batch, None).value, rtol=1e-5, atol=0)
    eager = untrained(words, "task.cache_size=5", "task.cache_weight=0.5", "task.cache_sharpness=0")
    assert eager.loss(batch, None).value != plain.loss(batch, None).value
    first = eager.loss(window(words, TEXT[:30]), None)
    assert eager.loss(window(words, TEXT[30:]), first.state).value > 0


def test_weights_follow_what_is_read_by_their_equation_and_come_back():
    words = vocabulary()
    task = untrained(words, "task.dynamic_rate=0.5", "task.dynamic_decay=0.1", "task.dynamic_steps=4")
    plain = untrained(words)
    before = {name: weight.clone() for name, weight in task.named_parameters()}
    text = window(words, TEXT)
    expected, count, state = 0.0, 0, None
    for start in range(0, len(text.tokens), 4):
        tokens, targets = text.tokens[start : start + 4], text.targets[start : start + 4]
        logits, state = plain.model(tokens, None if state is None else detach(state))
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        gradients = torch.autograd.grad(loss, list(plain.parameters()))
        with torch.no_grad():
            for (name, weight), gradient in zip(plain.named_parameters(), gradients, strict=True):
                weight += 0.1 * (before[name] - weight) - 0.5 * gradient
        expected, count = expected + loss.item() * len(targets), count + len(targets)
    task.start_observing()
    with torch.no_grad():
        found = task.loss(text, None)
    assert found.scored == count
    assert found.value.item() == pytest.approx(expected / count, rel=1e-9)
    for name, weight in task.named_parameters():
        torch.testing.assert_close(weight, dict(plain.named_parameters())[name])
    assert task.observed() == {}
    assert all(torch.equal(weight, before[name]) for name, weight in task.named_parameters())
    with pytest.raises(UsageError, match=r"^task.dynamic_rate: is for evaluate.py"):
        task.check(None)
