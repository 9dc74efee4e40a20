"""Summarization: what copying and coverage compute, ROUGE, the built-in reports, a run and its doors."""

import json
from pathlib import Path

import hydra.utils
import pytest
import torch
from conftest import MODELS, SHARED, composed, door

from unroll.building import build_data
from unroll.data.builtin.reports import Reports
from unroll.data.parallel_text import begun
from unroll.data.subwords import BEGIN, END, UNWRITTEN
from unroll.decoding import beam_search
from unroll.errors import UsageError
from unroll.insight.summaries import Summaries, lead
from unroll.job import run
from unroll.models.pointer_generator import PointerGenerator

VOCABULARY = 11


def network(cell: str = "gru", **options) -> PointerGenerator:
    torch.manual_seed(0)
    both = [] if cell == "mlstm" else ["model.bidirectional=true"]  # whose state is not mapped
    short = ["model.cell.distance=3"] if "distance" in composed(f"model={cell}")["model"]["cell"] else []
    config = composed(f"model={cell}", "model.hidden_size=8", *both, *short)
    recurrent = hydra.utils.instantiate(config["model"], _convert_="all")
    made = PointerGenerator(VOCABULARY, recurrent, **{"embedding_size": 6, **options}).double()
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made.eval()


def batch(lengths=(7, 3, 5), target_lengths=(4, 6, 2)):
    source = torch.zeros(max(lengths), len(lengths), dtype=torch.int64)
    target = torch.zeros(max(target_lengths) + 1, len(target_lengths), dtype=torch.int64)
    for column, (one, other) in enumerate(zip(lengths, target_lengths, strict=True)):
        source[:one, column] = torch.randint(4, VOCABULARY, (one,))
        target[:other, column] = torch.randint(4, VOCABULARY, (other,))
        target[other, column] = END
    return source, torch.tensor(lengths), target


# The model


@pytest.mark.parametrize("feeding", [True, False])
@pytest.mark.parametrize("coverage", [True, False])
def test_each_step_is_the_papers_equations(coverage, feeding):
    model = network(coverage=coverage, input_feeding=feeding)
    source, lengths, target = batch()
    memory, first = model.encode(source, lengths)
    found = model.steps(begun(target), first, memory)
    log_p = model.log_probabilities(found.o, found.a, found.g, memory[-1][None])
    attention = model.attention
    for column, length in enumerate(lengths.tolist()):  # each by itself, a step after the other
        (_, outputs, _, _), (state, o, _) = model.encode(source[:length, column : column + 1], None)
        m, seen, fed = outputs[0], torch.zeros(length, dtype=torch.float64), o
        for t, token in enumerate(begun(target)[:, column].tolist()):
            x = model.target_embedding.weight[token]
            given = torch.cat([x[None], fed], -1) if feeding else x[None]
            h, state = model.decoder(given[None], state)
            h = h[0, 0]
            inside = h @ attention.W.weight.T + m @ attention.U.weight.T + attention.U.bias
            scores = torch.tanh(inside + (seen[:, None] * model.w_c if coverage else 0)) @ attention.v
            a = torch.softmax(scores, 0)
            c = a @ m
            o = torch.tanh(model.combine(torch.cat([h, c])))
            p_gen = torch.sigmoid(model.gate(torch.cat([h, c, x])))
            P = p_gen * torch.softmax(model.output(o), 0)
            for i, word in enumerate(source[:length, column].tolist()):
                P[word] = P[word] + (1 - p_gen[0]) * a[i]
            torch.testing.assert_close(log_p[t, column].exp(), P)
            torch.testing.assert_close(found.repeated[t, column], torch.minimum(a, seen).sum())
            assert P.sum().item() == pytest.approx(1)
            seen = seen + a
            fed = o[None] if feeding else fed


def test_what_is_asked_for_is_what_the_whole_distribution_says():
    model = network()
    source, lengths, target = batch()
    memory, first = model.encode(source, lengths)
    o, a, g, _ = model.steps(begun(target), first, memory)
    rows = memory[-1][None].expand_as(a)
    whole = model.log_probabilities(o, a, g, memory[-1][None]).gather(-1, target[..., None])[..., 0]
    asked = model.log_probability(
        o.flatten(0, 1), a.flatten(0, 1), g.flatten(), rows.flatten(0, 1), target.flatten()
    ).view_as(target)
    torch.testing.assert_close(asked, whole)
    plain = network(copy=False)
    memory, first = plain.encode(source, lengths)
    o, a, g, _ = plain.steps(begun(target), first, memory)
    torch.testing.assert_close(
        plain.log_probabilities(o, a, g, memory[-1][None]), torch.log_softmax(plain.readout(o), -1)
    )


@pytest.mark.parametrize("cell", MODELS)
def test_searching_is_what_teacher_forcing_says_of_the_same_tokens(cell):
    model = network(cell)
    source, lengths, _ = batch()
    with torch.no_grad():
        memory, first = model.encode(source, lengths)
        found = beam_search(model.advance, first, memory, torch.full((3,), 7), 3, BEGIN, END, UNWRITTEN, 0.0, 2)
        for column, hypotheses in enumerate(found):
            for one in hypotheses:
                written = [*one.tokens, END][:7]
                tokens = torch.tensor([BEGIN, *written[:-1]])[:, None].expand(-1, 3)
                steps = model.steps(tokens, first, memory)
                log_p = model.log_probabilities(steps.o, steps.a, steps.g, memory[-1][None])[:, column]
                own = sum(log_p[t, token].item() for t, token in enumerate(written))
                assert own == pytest.approx(one.log_probability)


def test_gradients_reach_everything_and_windows_cut_the_decoder():
    model = network()
    source, lengths, target = batch()

    def cost() -> torch.Tensor:
        memory, first = model.encode(source, lengths)
        found = model.steps(begun(target), first, memory)
        log_p = model.log_probabilities(found.o, found.a, found.g, memory[-1][None])
        return found.repeated.sum() - log_p.gather(-1, target[..., None]).sum()

    whole = cost()
    whole.backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    full = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    model.horizon = 2
    cut = cost()
    torch.testing.assert_close(cut, whole)
    cut.backward()
    assert any(not torch.allclose(weight.grad, full[name]) for name, weight in model.named_parameters())


# ROUGE


def test_rouge_by_hand():
    # Words 5 and 4, 3 of them in common; pairs 4 and 3, 1 in common; "the cat the mat" is a common subsequence of 3.
    found = Summaries(["The cat sat the mat."], ["the cat, on mat"]).scores()
    assert found["rouge1"] == pytest.approx(2 * 3 / (5 + 4))
    assert found["rouge2"] == pytest.approx(2 * 1 / (4 + 3))
    assert found["rougeL"] == pytest.approx(2 * 3 / (5 + 4))
    several = Summaries(["a b", "c"], ["a b", "d"])
    assert several.scores() == {"rouge1": 0.5, "rouge2": 0.5, "rougeL": 0.5, "exact_match": 0.5}
    assert Summaries([""], ["a b"]).scores()["rougeL"] == 0


def test_the_first_sentence():
    assert lead("It rains. It pours! Really?") == "It rains."
    assert lead(" no end ") == "no end"


# The built-in reports


def test_reports_say_what_their_summaries_say():
    data = build_data(composed("task=summarization", "data.sizes=[300,40,40]"))
    assert isinstance(data, Reports)
    seen = set()
    for split, pairs in data.pairs.items():
        assert len(pairs.sources) == {"train": 300, "validation": 40, "test": 40}[split]
        for report, summary in zip(pairs.sources, pairs.targets, strict=True):
            assert report not in seen
            seen.add(report)
            names = [word.strip(".,;") for word in summary.split() if word[0].isupper()]
            assert len(names) > 2
            assert all(name in report for name in names)
            assert all(word in report for word in summary.replace(";", "").split() if word.isdigit())
    scores = Summaries([lead(text) for text in data.pairs["test"].sources], data.pairs["test"].targets).scores()
    assert 0.05 < scores["rougeL"] < 0.4  # what counts seldom comes first


def test_scitldr_is_read():
    if not (SHARED / "scitldr").is_dir():
        pytest.skip("needs ../shared/data/scitldr")
    data = build_data(composed("task=summarization", "data=scitldr", f"data.path={SHARED / 'scitldr'}"))
    assert {split: len(pairs.sources) for split, pairs in data.pairs.items()} == {
        "train": 1992,
        "validation": 619,
        "test": 618,
    }


# A run, and its doors


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("summarization") / "run"
    some = ["data.sizes=[60,10,10]", "trainer.max_epochs=40", "schedule=constant", "data.batch_tokens=2000"]
    rest = ["model.hidden_size=48", "task.embedding_size=32", "task.output_dropout=0", "task.input_dropout=0"]
    more = ["optimizer.lr=0.01", "data.vocab_size=400", "trainer.check_val_every_n_epoch=20"]
    composed("task=summarization", "logger=none", "trainer.accelerator=cpu", *some, *rest, *more, folder=folder)
    run(folder)
    return folder


def test_some_reports_are_learnt_by_heart_and_the_door_says_the_same(finished, tmp_path):
    import unroll

    task = unroll.load(finished, "last")
    pairs = build_data(composed("task=summarization", "data.sizes=[60,10,10]")).pairs["train"]
    written = task.summarize(pairs.sources)
    assert Summaries(written, pairs.targets).scores()["rougeL"] > 0.6
    path = tmp_path / "reports.txt"
    path.write_text("\n".join([pairs.sources[0], "", pairs.sources[1]]) + "\n")
    result = door("predict.py", str(finished), "--checkpoint", "last", "--input", str(path), "--format", "jsonl")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["summaries"][0]["text"] for row in rows] == [written[0], "", written[1]]


def test_a_run_leaves_its_scores_and_pictures(finished):
    summary = json.loads((finished / "summary.json").read_text())
    lines = [
        (finished / f"evaluation/test_{name}.txt").read_text().splitlines() for name in ("hypotheses", "references")
    ]
    scores = Summaries(*lines).scores()
    assert scores == {name: pytest.approx(summary["metrics"][f"test/{name}"]) for name in scores}
    assert 0 < summary["baselines"]["first sentence"]["test/rougeL"] < 0.5
    assert "torchmetrics" in summary["definitions"]["rougeL"]
    for name in ("rouge-l_by_length_test.png", "alignment_test.png"):
        assert (finished / "figures" / name).stat().st_size > 5000


def test_a_vocabulary_a_side_is_refused(tmp_path):
    composed("task=summarization", "logger=none", "data.sizes=[60,10,10]", "data.joint=false", folder=tmp_path / "run")
    with pytest.raises(UsageError, match="what is copied has to be a token of both sides"):
        run(tmp_path / "run")
