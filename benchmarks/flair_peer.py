"""Flair's side of tagging_speed.py, by its own code: SequenceTagger, ModelTrainer and `predict`.

    python flair_peer.py SPEC.json     run by the python of an environment with flair 0.15.1; one JSON line

Its own: the training loop with batches in random order, loss, clipping and the evaluation of dev after each epoch, which is
off the clock as ours is. Nothing is written to disk, test is not read, and no embedding is kept between two steps
(embeddings_storage_mode="none": all of them are trained, so none could be used again).
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

SPEC = json.loads(Path(sys.argv[1]).read_text())
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch  # noqa: E402

torch.set_num_threads(1)

import flair  # noqa: E402
from flair.data import Corpus, Dictionary, Sentence  # noqa: E402
from flair.datasets import FlairDatapointDataset  # noqa: E402
from flair.embeddings import CharacterEmbeddings, OneHotEmbeddings, StackedEmbeddings  # noqa: E402
from flair.models import SequenceTagger  # noqa: E402
from flair.trainers import ModelTrainer  # noqa: E402
from flair.trainers.plugins import TrainerPlugin  # noqa: E402
from peak_memory import peak  # noqa: E402


class Clock(TrainerPlugin):
    """Seconds of training and dev's F1 after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.epochs: list[list[float]] = []

    @TrainerPlugin.hook
    def before_training_epoch(self, **_):
        self.began = time.perf_counter()

    @TrainerPlugin.hook
    def after_training_epoch(self, **_):
        self.seconds += time.perf_counter() - self.began

    @TrainerPlugin.hook
    def after_evaluation(self, validation_scores, **_):
        self.epochs.append([self.seconds, validation_scores[0]])
        print(*self.epochs[-1], file=sys.stderr, flush=True)


def tagged(rows: list) -> FlairDatapointDataset:
    """Sentences with their entities."""
    found = []
    for words, entities in rows:
        found.append(Sentence(words))
        for start, end, kind in entities:
            found[-1][start:end].add_label("ner", kind)
    return FlairDatapointDataset(found)


def main(work: str) -> dict:
    """Train, tag, and tell the speeds."""
    flair.set_seed(SPEC["seed"])
    data = json.loads(Path(SPEC["data"]).read_text())
    corpus = Corpus(train=tagged(data["train"]), dev=tagged(data["validation"]), sample_missing_splits=False)
    letters = Dictionary()  # flair's own list of characters is a download
    for letter in sorted({letter for words, _ in data["train"] for word in words for letter in word}):
        letters.add_item(letter)
    words = OneHotEmbeddings.from_corpus(corpus, min_freq=SPEC["min_count"], embedding_length=SPEC["embedding_size"])
    spelled = CharacterEmbeddings(letters, SPEC["character_embedding_size"], SPEC["character_hidden_size"])
    tagger = SequenceTagger(
        StackedEmbeddings([words, spelled]),
        corpus.make_label_dictionary("ner", add_unk=False),
        "ner",
        tag_format="BIO",
        hidden_size=SPEC["hidden_size"],
        reproject_embeddings=False,
        dropout=SPEC["dropout"],
        word_dropout=0.0,
        locked_dropout=0.0,
    )
    clock = Clock()
    settings = dict(SPEC["optimizer"])
    rate = settings.pop("lr")
    ModelTrainer(tagger, corpus).train_custom(
        work,
        mini_batch_size=SPEC["batch_size"],
        eval_batch_size=SPEC["eval_batch_size"],
        max_epochs=SPEC["epochs"],
        optimizer=torch.optim.AdamW,
        learning_rate=rate,
        **settings,
        max_grad_norm=SPEC["clip"],
        embeddings_storage_mode="none",
        use_final_model_for_eval=True,  # or the best one is saved
        save_final_model=False,
        create_file_logs=False,
        create_loss_file=False,
        plugins=[clock],
    )
    most = peak()
    tagger.eval()
    passes = []
    for _ in range(SPEC["passes"]):
        began = time.perf_counter()
        sentences = [Sentence(words) for words, _ in data["test"]]
        tagger.predict(sentences, mini_batch_size=SPEC["tag_batch_size"])
        passes.append(time.perf_counter() - began)
    return {
        "parameters": sum(parameter.numel() for parameter in tagger.parameters()),
        "epochs": clock.epochs,
        "passes": passes,
        "found": sum(len(sentence.get_spans("ner")) for sentence in sentences),
        "memory": most,
    }


with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
    answer = main(folder)
print(json.dumps(answer))
