"""Summarization: what copying and coverage compute, ROUGE, the built-in reports, a run and its doors."""

import json
from pathlib import Path

import hydra.utils
import numpy as np
import pytest
import torch
from conftest import MODELS, SHARED, composed, door
from torchmetrics.functional.text import rouge_score

from unroll.building import build_data, build_task
from unroll.data.builtin.reports import Reports
from unroll.data.parallel_batches import begun
from unroll.data.subwords import BEGIN, END, UNWRITTEN
from unroll.data.tokenizing import PAD
from unroll.decoding import beam_search
from unroll.errors import UsageError
from unroll.insight.summaries import Summaries, lead
from unroll.job import run
from unroll.models.pointer_generator import PointerGenerator

VOCABULARY = 11


def network(cell: str = "gru", **options) -> PointerGenerator:
    torch.manual_seed(0)
    both = [] if cell in ("mlstm", "mlstm_block") else ["model.bidirectional=true"]  # whose state is not mapped
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


def test_what_a_later_window_looks_at_again_is_no_business_of_an_earlier_one():
    model = network()
    source, lengths, target = batch(target_lengths=(4, 4, 4))
    model.horizon = 2
    memory, first = model.encode(source, lengths)
    state = tuple(part.detach().requires_grad_() if isinstance(part, torch.Tensor) else part for part in first)
    found = model.steps(begun(target), state, memory)
    assert torch.autograd.grad(found.repeated[:2].sum(), state[2], retain_graph=True)[0].abs().sum() > 0
    assert not torch.autograd.grad(found.repeated[2:].sum(), state[2])[0].any()


def test_what_cannot_be_copied_teaches_the_words_and_the_gate_all_the_same():
    """log P = log p_gen + log P_vocab where nothing is copied, however small that is: against float64."""
    found = {}
    for kind in (torch.float32, torch.float64):
        model = network().to(kind)
        model.output.bias.data[5] = -300
        o, a, g = (
            value.to(kind).requires_grad_() for value in (torch.ones(1, 6), torch.tensor([[0.5, 0.5]]), torch.zeros(1))
        )
        cost = -model.log_probability(o, a, g, torch.tensor([[7, 8]]), torch.tensor([5]))
        assert cost > 200
        found[kind] = [cost.detach(), *torch.autograd.grad(cost.sum(), (g, model.output.bias))]
        (whole,) = torch.autograd.grad(-model.log_probabilities(o, a, g, torch.tensor([[7, 8]]))[0, 5], g)
        torch.testing.assert_close(whole, found[kind][1])
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


def test_a_batch_costs_what_its_texts_cost_one_by_one_and_looking_again_costs_in_training():
    overrides = ["task=summarization", "data.sizes=[40,10,10]", "task.input_dropout=0", "task.output_dropout=0"]
    config = composed(*overrides, "task.coverage_weight=0.7", "model.hidden_size=12", "task.embedding_size=10")
    data = build_data(config)
    task = build_task(config, data.spec).double()
    loader = data.eval_dataloader("test")
    rows = np.arange(6)
    batch = loader.collate(rows, rows)
    assert len(set((batch.target != PAD).sum(0).tolist())) > 1
    costs, again, count = 0.0, 0.0, 0
    for row in rows:
        one = loader.collate(rows[[row]], rows[[row]])
        memory, first = task.model.encode(one.source, None)
        found = task.model.steps(begun(one.target), first, memory)
        log_p = task.model.log_probabilities(found.o, found.a, found.g, memory[-1][None])
        costs -= log_p.gather(-1, one.target[..., None]).sum().item()
        covered = found.a.cumsum(0) - found.a
        again += torch.minimum(found.a, covered).sum().item()
        count += len(one.target)
    memory, first = task.model.encode(batch.source, batch.lengths)
    assert task.train()._cost(batch, first, memory).item() == pytest.approx((costs + 0.7 * again) / count, rel=1e-9)
    assert task.eval()._cost(batch, first, memory).item() == pytest.approx(costs / count, rel=1e-9)


def test_your_own_texts_are_not_taken_for_translations(tmp_path):
    rows = [{"article": "word " * 300, "highlights": "one two three"} for _ in range(40)]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["data.source=article", "data.target=highlights", "data.min_count=1"]
    data = build_data(composed("task=summarization", "data=summary_files", f"data.path={path}", *columns))
    assert len(data.kept) == len(data.pairs["train"].sources)


def test_copying_words_is_told_what_it_cannot_do():
    config = composed("task=summarization", "data.sizes=[40,10,10]", "data.unit=words")
    data = build_data(config)
    assert any("unknown word" in line for line in build_task(config, data.spec).check(data))


def test_a_summary_has_an_end():
    config = composed("task=summarization", "data.sizes=[40,10,10]", "task.max_output=50")
    task = build_task(config, build_data(config).spec)
    assert task._max_lengths(torch.tensor([10, 30, 9000])).tolist() == [36, 46, 51]


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
    assert lead("Dr. A. Smith of the U.S. team, e.g., won. He left.") == "Dr. A. Smith of the U.S. team, e.g., won."
    assert lead("A headline\n\nThe text. More.") == "A headline"
    assert lead('He said "No." Then he left.') == 'He said "No."'
    assert lead("これは本です。それは。") == "これは本です。"


def test_rouge_counts_the_words_of_any_alphabet():
    assert Summaries(["Привет, мир"], ["привет мир"]).scores()["rougeL"] == 1
    assert Summaries(["Für alle"], ["fur alle"]).scores()["rouge1"] == pytest.approx(0.5)
    assert Summaries(["我爱北京"], ["我爱上海"]).scores()["rouge1"] == pytest.approx(0.5)
    one, other = "The U.S. team (2-1) won_it; 3.5 times", "a team of 2 won it 3 times, 5"
    assert Summaries([one], [other]).scores()["rougeL"] == pytest.approx(
        float(rouge_score(one, other, rouge_keys="rougeL")["rougeL_fmeasure"])
    )


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
    some = ["data.sizes=[40,10,10]", "trainer.max_epochs=30", "schedule=constant", "data.batch_tokens=1000"]
    rest = ["model.hidden_size=48", "task.embedding_size=32", "task.output_dropout=0", "task.input_dropout=0"]
    more = ["optimizer.lr=0.01", "data.vocab_size=400", "trainer.check_val_every_n_epoch=20"]
    composed("task=summarization", "logger=none", "trainer.accelerator=cpu", *some, *rest, *more, folder=folder)
    run(folder)
    return folder


def test_some_reports_are_learnt_by_heart_and_the_door_says_the_same(finished, tmp_path):
    import unroll

    task = unroll.load(finished, "last")
    pairs = build_data(composed("task=summarization", "data.sizes=[40,10,10]")).pairs["train"]
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
    sources = (finished / "evaluation/test_sources.txt").read_text().splitlines()
    first = Summaries([lead(source) for source in sources], lines[1]).scores()["rougeL"]
    assert summary["baselines"]["first sentence"]["test/rougeL"] == pytest.approx(first)
    assert 0 < first < 0.5
    assert "no stemming" in summary["definitions"]["rougeL"]
    for name in ("rouge-l_by_length_test.png", "alignment_test.png"):
        assert (finished / "figures" / name).stat().st_size > 5000


def test_a_vocabulary_a_side_is_refused(tmp_path):
    composed("task=summarization", "logger=none", "data.sizes=[40,10,10]", "data.joint=false", folder=tmp_path / "run")
    with pytest.raises(UsageError, match="both sides share an embedding, and what is copied"):
        run(tmp_path / "run")
