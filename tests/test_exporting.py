"""What other programs read is what the model is."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import MODELS, SMALL, composed, door

import unroll
from unroll.building import build_task
from unroll.checkpoint import read_checkpoint
from unroll.data.encoding import Vocabulary
from unroll.data.words import fit_words
from unroll.errors import UserError
from unroll.evaluation import evaluate
from unroll.exporting import export_step, export_weights
from unroll.job import run


def spoken(path: Path, tokens: torch.Tensor) -> np.ndarray:
    """(time, batch, vocab_size): log-probabilities, a step at a time, from the state that the file says to begin with."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    begins = json.loads(session.get_modelmeta().custom_metadata_map["initial_state"])
    state = {
        given.name: np.full(given.shape, begins[given.name], np.float32)
        for given in session.get_inputs()
        if given.name != "token"
    }
    found = []
    for token in tokens:
        log_p, *after = session.run(None, {"token": token.numpy(), **state})
        state = dict(zip(state, after, strict=True))
        found.append(log_p)
    return np.stack(found)


@pytest.mark.parametrize("model", MODELS)
def test_a_step_says_what_the_model_says(model, tmp_path):
    heads = ["model.cell.heads=2"] if "heads" in composed(f"model={model}")["model"]["cell"] else []
    config = composed(f"model={model}", "model.hidden_size=8", "model.num_layers=2", "task.embedding_size=6", *heads)
    task = build_task(config, Vocabulary("characters", tuple(range(97, 120)))).eval()
    for parameter in task.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    export_step(task, tmp_path / "step.onnx", 3, '{"of": "this"}')
    tokens = torch.randint(1, 23, (6, 3))
    with torch.no_grad():
        expected = task.model(tokens)[0].log_softmax(-1)
    np.testing.assert_allclose(spoken(tmp_path / "step.onnx", tokens), expected.numpy(), rtol=0, atol=2e-5)
    assert {one.key: one.value for one in onnx.load(tmp_path / "step.onnx").metadata_props}[
        "vocabulary"
    ] == '{"of": "this"}'


def test_a_word_model_with_shared_weights_too(tmp_path):
    words = fit_words(["I eat rice . you eat rice ."], "words", 100, 1, False, "spaces")
    task = build_task(
        composed("task=word_lm", "model.hidden_size=5", "model.residual=true", "model.num_layers=2"), words
    ).eval()
    export_step(task, tmp_path / "step.onnx", 1, "")
    tokens = torch.tensor([[1], [2], [3], [1]])
    with torch.no_grad():
        expected = task.model(tokens)[0].log_softmax(-1)
    np.testing.assert_allclose(spoken(tmp_path / "step.onnx", tokens), expected.numpy(), rtol=0, atol=1e-5)


def test_exported_weights_are_the_runs(tmp_path, text):
    folder = tmp_path / "run"
    composed(
        *SMALL,
        "data=text_files",
        f"data.path={text}",
        f"data.cache_dir={tmp_path}/cache",
        "trainer.max_steps=10",
        folder=folder,
    )
    run(folder)
    result = door("export.py", str(folder))
    assert result.returncode == 0, result.stderr
    path = folder / "export/best.safetensors"
    ours, theirs = read_checkpoint(path), read_checkpoint(folder / "checkpoints/best.ckpt")
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    assert all(torch.equal(weight, theirs["state_dict"][name]) for name, weight in ours["state_dict"].items())
    assert evaluate(folder, "test", str(path), None, "cpu", [], []) == evaluate(
        folder, "test", "best", None, "cpu", [], []
    )
    # Cut off, or of another text, it is refused.
    half = tmp_path / "half.safetensors"
    half.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"half\.safetensors: is not a whole checkpoint"):
        unroll.load(folder, str(half))
    task = unroll.load(folder)
    task.spec_digest = "another"
    export_weights(task, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="another vocabulary or tokenizer"):
        unroll.load(folder, str(tmp_path / "other.safetensors"))


def test_what_has_no_step_is_told(tmp_path):
    composed(
        "task=recall", *SMALL, "data.batch_size=8", "trainer.max_steps=2", "truncation=full", folder=tmp_path / "run"
    )
    run(tmp_path / "run")
    result = door("export.py", str(tmp_path / "run"), "--format", "onnx")
    assert result.returncode == 2
    assert result.stderr.startswith("error: --format onnx: what is exported is a step that reads a token")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run/export").exists()
