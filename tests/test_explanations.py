"""Which words decided: scores of a text's words, and how they are shown."""

import html
import io
import re

import pytest
import torch
from conftest import composed
from rich.console import Console

from unroll.building import build_task
from unroll.data.labelled_text import LabelledTextSpec
from unroll.data.tokenizing import fit_tokenizer
from unroll.insight.words import explain, page

TOKENIZER = fit_tokenizer(["good bad dull moving film plot not but"], "words", 100, 1, True, "spaces")


def test_explanations_are_the_slope_of_the_score():
    torch.manual_seed(1)
    small = ["task=sentiment", "model.hidden_size=16", "task.embedding_size=8", "task.pooling=attention"]
    task = build_task(composed(*small), LabelledTextSpec(TOKENIZER.to_str(), ("neg", "pos"), (30, 10))).double().eval()
    text = "Good plot, not dull film"
    explanation = task.explain(text)
    assert [text[start:end] for start, end in explanation.spans] == ["Good", "plot,", "not", "dull", "film"]
    ids = task.spec.tokenizer.encode(text, add_special_tokens=False).ids
    x = task.model.embedding(torch.tensor(ids)[:, None]).detach()
    for t, score in enumerate(explanation.scores):
        more, less = x.clone(), x.clone()
        more[t] *= 1 + 1e-6
        less[t] *= 1 - 1e-6
        slope = (task._margin(more) - task._margin(less)).detach() / 2e-6
        assert score == pytest.approx(float(slope), rel=1e-5, abs=1e-8)


def test_explanations_of_a_linear_score_are_its_terms():
    """Of score = sum_t w . x_t each token's part is w . x_t, and the parts add up to the score."""
    embedding = torch.nn.Embedding(10, 4).double()
    w = torch.randn(4, dtype=torch.float64)
    explanation = explain(TOKENIZER, embedding, lambda x: (x @ w).sum(), "good film bad")
    ids = TOKENIZER.encode("good film bad").ids
    assert explanation.scores == pytest.approx((embedding.weight[ids] @ w).tolist())


def test_pages_and_terminals_show_the_text_as_it_is():
    embedding = torch.nn.Embedding(10, 4).double()
    text = "good <b>film</b> & [red]plot[/red] <script>alert(1)</script>"
    explanation = explain(TOKENIZER, embedding, lambda x: x.sum(), text)
    assert "<script>" not in explanation.html()
    assert html.unescape(re.sub(r"<[^>]*>", "", explanation.html())) == text
    assert explanation.rich().plain == text
    shown = page("a & b", [("neg <x>", explanation)])
    assert "<h2>neg &lt;x&gt;</h2>" in shown and "<title>a &amp; b</title>" in shown
    long = explain(TOKENIZER, embedding, lambda x: x[150].sum(), "film " * 300)
    assert len(long.rich().plain.split()) < 70
    console = Console(file=io.StringIO(), width=40)
    console.print(long.rich())
    assert max(map(len, console.file.getvalue().splitlines())) <= 40


def test_bytes_of_one_character_are_explained_together():
    tokenizer = fit_tokenizer(["good film"], "bpe", 300, 2, True, "spaces")
    embedding = torch.nn.Embedding(300, 4).double()
    for text in ("good 😀 film", "שלום", "a"):
        explanation = explain(tokenizer, embedding, lambda x: x.sum(), text)
        assert explanation.rich().plain == text
        assert html.unescape(re.sub(r"<[^>]*>", "", explanation.html())) == text
        total = embedding.weight[tokenizer.encode(text).ids].sum()
        assert sum(explanation.scores) == pytest.approx(float(total.detach()))
