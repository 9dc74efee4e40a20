"""JoeyNMT's side of translation_speed.py, by its own code: TrainManager, and the function that its `translate` calls.

    python joeynmt_peer.py SPEC.json     run by the python of an environment with joeynmt 2.3.0; one JSON line

Its own: the training loop with token batches in random order, loss, clipping and Adam; the batches, search and joining
of tokens when it decodes. Training is watched through a hook after the optimizer's step, and stopped when its time is over.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

SPEC = json.loads(Path(sys.argv[1]).read_text())
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch  # noqa: E402

torch.set_num_threads(1)

from joeynmt import prediction  # noqa: E402
from joeynmt.config import parse_global_args, set_validation_args  # noqa: E402
from joeynmt.helpers import set_seed  # noqa: E402
from joeynmt.training import TrainManager  # noqa: E402
from peak_memory import peak  # noqa: E402

NEVER = 10**9
WARMUP = 5  # steps that are not counted


def configuration(work: Path) -> dict:
    """JoeyNMT's own kind of config."""
    data = Path(SPEC["data"])
    side = {"level": "word", "lowercase": False, "normalize": False, "max_length": -1, "voc_file": f"{data}/vocabulary"}
    size, dropout = SPEC["size"], SPEC["dropout"]
    embeddings = {"embedding_dim": size, "scale": False, "dropout": dropout}
    recurrent = {"type": "recurrent", "rnn_type": "gru", "num_layers": 1, "dropout": 0.0, "embeddings": embeddings}
    return {
        "name": "peer",
        "joeynmt_version": "2.3.0",
        "model_dir": str(work),
        "use_cuda": False,
        "fp16": False,
        "random_seed": 1,
        "data": {
            "train": f"{data}/train",
            "dev": f"{data}/validation",
            "test": f"{data}/test",
            "dataset_type": "plain",
            "src": {"lang": "src", **side},
            "trg": {"lang": "trg", **side},
        },
        "model": {
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": {**recurrent, "bidirectional": True, "hidden_size": size // 2},
            "decoder": {
                **recurrent,
                "hidden_size": size,
                "hidden_dropout": dropout,
                "input_feeding": True,
                "init_hidden": "bridge",
                "attention": "bahdanau",
            },
        },
        "training": {
            "loss": "crossentropy",
            "label_smoothing": 0.1,
            "normalization": "tokens",
            "optimizer": "adam",
            "learning_rate": SPEC["learning_rate"],
            "learning_rate_min": 0.0,
            "scheduling": "exponential",  # with factor 1: without a scheduler 2.3.0 does not start
            "decrease_factor": 1.0,
            "clip_grad_norm": 1.0,
            "shuffle": True,
            "batch_size": SPEC["batch_tokens"],
            "batch_type": "token",
            "epochs": NEVER,
            "updates": NEVER,
            "logging_freq": 100,
            "keep_best_ckpts": 1,
            "validation_freq": NEVER * 100,
            "early_stopping_metric": "loss",
        },
        "testing": {
            "beam_size": SPEC["beam"],
            "beam_alpha": 1.0,
            "n_best": 1,
            "batch_size": SPEC["decode_batch"],
            "batch_type": "sentence",
            "max_output_length": -1,
            "eval_metrics": [],
        },
    }


def validation_loss(model, data) -> float:
    """Nats a token, without smoothing."""
    model.eval()
    total = count = 0
    batches = data.make_iter(
        batch_size=SPEC["decode_batch"],
        eos_index=model.eos_index,
        pad_index=model.pad_index,
        device=torch.device("cpu"),
    )
    with torch.inference_mode():
        for batch in batches:
            batch.sort_by_src_length()
            _, scores, *_ = model(return_type="loss", **vars(batch))
            written = scores.gather(-1, batch.trg[..., None])[..., 0][batch.trg_mask[:, 0]]
            total, count = total - written.sum().item(), count + len(written)
    return total / count


def main(work: Path) -> dict:
    """Train, decode, and tell the speeds."""
    args = parse_global_args(configuration(work), rank=0, mode="train")
    set_seed(args.seed)
    model, train_data, dev_data, test_data = prediction.prepare(args, rank=0, mode="train")
    manager = TrainManager(
        model=model,
        model_dir=args.model_dir,
        device=args.device,
        n_gpu=args.n_gpu,
        rank=0,
        num_workers=args.num_workers,
        autocast=args.autocast,
        seed=args.seed,
        train_args=args.train,
        dev_args=set_validation_args(args.test),
    )
    manager._save_checkpoint = lambda *_: None  # at the end; no part of a step
    marks = []  # seconds and target tokens after each step

    def after_step(*_):
        marks.append((time.perf_counter(), manager.stats.total_tokens))
        if marks[-1][0] - marks[0][0] >= SPEC["seconds"]:
            manager.stats.is_max_update = True

    manager.optimizer.register_step_post_hook(after_step)
    manager.train_and_validate(train_data, SimpleNamespace(seed=0))
    most = peak()
    loss = validation_loss(model, dev_data)
    (begin, before), (end, after) = marks[WARMUP], marks[-1]
    started = time.perf_counter()
    _, _, _, tokens, _, _ = prediction.predict(
        model=model,
        data=test_data,
        compute_loss=False,
        device=args.device,
        rank=0,
        n_gpu=args.n_gpu,
        num_workers=args.num_workers,
        normalization=args.train.normalization,
        args=args.test,
        autocast=args.autocast,
    )
    seconds = time.perf_counter() - started
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training": (after - before) / (end - begin),
        "tokens_per_batch": after / len(marks),
        "decoding": sum(map(len, tokens)) / seconds,  # the ends among them
        "tokens_per_sentence": sum(map(len, tokens)) / len(tokens),
        "memory": most,
        "trained": end - marks[0][0],
        "loss": loss,
    }


with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
    answer = main(Path(folder))
print(json.dumps(answer))
