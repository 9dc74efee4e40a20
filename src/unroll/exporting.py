"""A trained model in forms that other programs read."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

import unroll
from unroll.errors import UsageError, UserError
from unroll.models.seq_to_seq import SeqToSeq
from unroll.state import State, flatten, unflatten
from unroll.tasks.base import Task
from unroll.tasks.language_model import LanguageModel
from unroll.writing import written_whole


def export_weights(task: Task, path: Path) -> list[str]:
    """Write the weights as safetensors: names, shapes and numbers, nothing that could be run.

    `evaluate.py RUN --checkpoint FILE` and `unroll.load(RUN, FILE)` read them back.

    Args:
        task: trained.
        path: of the file.

    Returns:
        Lines that tell what is in it.
    """
    weights = {name: weight.detach().clone().contiguous() for name, weight in task.state_dict().items()}
    metadata = {"format": "pt", "unroll": unroll.__version__, "spec_digest": task.spec_digest}
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(save(weights, metadata))  # save_file would let nobody else read it
    count = sum(weight.numel() for weight in weights.values())
    return [f"written to {path}: {len(weights)} tensors, {count:,} numbers (a shared one counts where it is used)"]


class _Step(nn.Module):
    """token (batch,) of int64, and the tensors of the state -> log-probabilities (batch, vocab_size), and those after."""

    def __init__(self, model: SeqToSeq, like: State) -> None:
        super().__init__()
        self.model = model
        self.like = like

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, after = self.model.step(token, unflatten(state, self.like))
        return logits.log_softmax(-1), *flatten(after)


def export_step(task: Task, path: Path, batch_size: int, vocabulary: str) -> list[str]:
    """Write one step of a language model as ONNX, with the state as inputs and outputs: a loop around it reads and writes.

    Inputs: `token` (batch,) of int64, and `state_0`, `state_1`, ... of float32. Outputs: `log_probabilities` (batch,
    vocab_size) of the token that follows, and `state_0_next`, ... for the next call. The metadata have `vocabulary`, as JSON,
    and `initial_state`: the number that each part of the state is filled with before the first step.

    Args:
        task: trained.
        path: of the file.
        batch_size: sequences side by side; fixed in the file.
        vocabulary: what goes into the metadata.

    Returns:
        Lines that tell what is in it.

    Raises:
        UsageError: the model gives no output a step, or the libraries are not there.
        UserError: its state does not begin with one number everywhere.
    """
    if not isinstance(task, LanguageModel):
        raise UsageError(
            "--format onnx: what is exported is a step that reads a token and says what follows, as of char_lm and word_lm; "
            f"{type(task).__name__} has none: take --format safetensors"
        )
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError:
        raise UsageError("--format onnx: is not installed: pip install -e '.[export]'") from None
    model: SeqToSeq = task.model
    state = model.recurrent.initial_state(batch_size, torch.empty(0))
    parts = flatten(state)
    if any(part.unique().numel() > 1 for part in parts):
        raise UserError("the state of this cell begins with different numbers in a part: an ONNX step cannot say so")
    names = [f"state_{index}" for index in range(len(parts))]
    fills = {name: part.flatten()[0].item() for name, part in zip(names, parts, strict=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        with torch.no_grad(), _unheard():
            torch.onnx.export(
                _Step(model, state).eval(),
                (torch.zeros(batch_size, dtype=torch.int64), *(part.clone() for part in parts)),
                unfinished,
                input_names=["token", *names],
                output_names=["log_probabilities", *(f"{name}_next" for name in names)],
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        written = onnx.load(unfinished)
        onnx.helper.set_model_props(
            written,
            {
                "unroll": unroll.__version__,
                "vocabulary": vocabulary,
                "initial_state": json.dumps(fills),
            },
        )
        onnx.checker.check_model(written)
        onnx.save(written, unfinished)
    listed = ", ".join(f"{name} {tuple(part.shape)}" for name, part in zip(names, parts, strict=True))
    return [
        f"written to {path}: inputs token ({batch_size},), {listed}; outputs log_probabilities, and each state's next"
    ]


@contextmanager
def _unheard() -> Iterator[None]:
    """Without what torch's exporter says of itself."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
