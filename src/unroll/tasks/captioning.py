"""Captioning: a picture, or a vector made of one, becomes a sentence."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import Logger
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from unroll.cross_entropy import perplexity
from unroll.data.base import Data
from unroll.data.captioned_images import CaptionBatch, CaptionedImages, CaptionSpec
from unroll.data.parallel_batches import begun
from unroll.data.picture_files import write_picture
from unroll.data.subwords import BEGIN, END, UNWRITTEN, decode
from unroll.data.tokenizing import PAD
from unroll.decoding import Hypothesis, beam_search
from unroll.evaluating import evaluating
from unroll.insight.captions import Captions, draw_sheet
from unroll.insight.difficulty import draw_difficulty, group_by_difficulty, write_difficulty
from unroll.insight.reading import Reading, cut_by_tokens, enough
from unroll.insight.showing import show
from unroll.models.picture_encoder import PictureEncoder
from unroll.models.vec_to_seq import VectorAt, VecToSeq
from unroll.predicting.captioning import add_describing_arguments, describe_stream
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State
from unroll.tasks.base import Loss, Task
from unroll.truncation import Truncation
from unroll.writing import write_csv

_WORST = 100  # rows of the table
_SHEET = 12  # pictures of the sheet


class Captioning(Task):
    """Cross-entropy of the right next token; scored by BLEU, chrF and exact matches of what is really written.

    Args:
        spec: tokenizer and the pictures' shape.
        recurrent: makes the stack of cells.
        optimizer, schedule: see `Task`.
        truncation: on captions, `horizon` is how far gradients go; see `VecToSeq`.
        channels: of the layers of the network that looks at pictures, see `PictureEncoder`; vectors are taken as they are.
        vector_size: numbers of the vector that it makes.
        embedding_size, vector_at, input_dropout, output_dropout: see `VecToSeq`.
        label_smoothing: share of the target that is spread over all tokens, in training.
        beam_size: hypotheses a picture in the final scores, and in use.
        validation_beam_size: the same in validations during training.
        length_penalty: see `beam_search`.
        max_output: tokens that a caption has at most, its end among them.
        baseline: whether the caption of the nearest training picture is put into the same table.

    Raises:
        UsageError: a truncation that only a stream can have.
    """

    unit = "target_tokens"
    reads = CaptionedImages

    def __init__(
        self,
        spec: CaptionSpec,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        channels: Annotated[list[PositiveInt], Field(min_length=1)],
        vector_size: PositiveInt,
        embedding_size: PositiveInt,
        vector_at: VectorAt,
        input_dropout: Probability,
        output_dropout: Probability,
        label_smoothing: Probability,
        beam_size: PositiveInt,
        validation_beam_size: PositiveInt,
        length_penalty: Annotated[float, Field(ge=0, le=10)],
        max_output: PositiveInt,
        baseline: bool,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        truncation.refuse_for_sequences_that_end("a caption is read as a whole")
        self.spec = spec
        self.label_smoothing = label_smoothing
        self.beam_size = beam_size
        self.validation_beam_size = validation_beam_size
        self.length_penalty = length_penalty
        self.max_output = max_output
        self.baseline = baseline
        is_vector = len(spec.shape) == 1
        self.asked = " --features FILE.npy" if is_vector else " --image FILE"
        self.encoder = nn.Identity() if is_vector else PictureEncoder(channels, vector_size)
        self.model = VecToSeq(
            spec.shape[0] if is_vector else vector_size,
            spec.tokenizer.get_vocab_size(),
            recurrent,
            embedding_size,
            vector_at,
            input_dropout,
            output_dropout,
            truncation.horizon,
        )
        self._written: list[tuple[int, str, tuple[str, ...]]] = []
        self.captions: Captions | None = None
        """What was written in the last evaluation, in the order of the split."""

    def _vectors(self, pictures: Tensor) -> Tensor:
        return self.encoder(pictures).to(self.model.start.weight.dtype)

    def loss(self, batch: CaptionBatch, state: State | None) -> Loss:
        v = self._vectors(batch.pictures)
        logits = self.model(v, begun(batch.target)).flatten(0, 1)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision ends here
        smoothing = self.label_smoothing if self.training else 0.0
        value = F.cross_entropy(logits, batch.target.flatten(), ignore_index=PAD, label_smoothing=smoothing)
        if not self.training and batch.share:
            found = self._search(v, self.validation_beam_size if self.briefly else self.beam_size)
            texts = decode(self.spec.tokenizer, [best.tokens for best in found])
            self._written += zip(batch.rows.tolist(), texts, batch.references, strict=True)
        return Loss(value, torch.full((), float(batch.token_count), device=value.device), None)

    def _search(self, v: Tensor, beam: int) -> list[Hypothesis]:
        limits = torch.full((len(v),), self.max_output, device=v.device)
        first, memory = self.model.started(v)
        found = beam_search(self.model.advance, first, memory, limits, beam, BEGIN, END, UNWRITTEN, self.length_penalty)
        return [best[0] for best in found]

    def last_losses(self, batch: CaptionBatch) -> Tensor:
        logits = self.model(self._vectors(batch.pictures), begun(batch.target))
        last = (batch.target != PAD).sum(0) - 1
        rows = torch.arange(len(last), device=last.device)
        return F.cross_entropy(logits[last, rows], batch.target[last, rows], reduction="none")

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """The first captions of a split, one a picture, with what the picture is in their place."""
        data = cast(CaptionedImages, data)
        (name,) = data.named_splits(split)
        loader = data.eval_dataloader(name)
        rows = enough(loader.captions.lengths + 2, steps)
        batch = self.transfer_batch_to_device(loader.collate(rows, rows), self.device, 0)
        words = [cut_by_tokens(self.spec.tokenizer, data.rows[name].captions(row)[0]) for row in rows]
        return Reading(batch, {"": [["(picture) ", "> ", *one] for one in words]})

    def predictions(self, batch: CaptionBatch) -> list[tuple[str, Tensor]]:
        """Each token of the first caption."""
        scores = F.log_softmax(self.model(self._vectors(batch.pictures), begun(batch.target)), dim=-1)
        found = scores.gather(-1, batch.target[..., None])[..., 0]
        wanted = batch.target[:, 0].tolist()
        return [
            (decode(self.spec.tokenizer, [[token]])[0] or "(end)", value)
            for token, value in zip(wanted, found, strict=True)
            if token != PAD
        ]

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "perplexity": perplexity(loss)}

    @property
    def evaluation_metrics(self) -> list[str]:
        return ["loss", "perplexity", "bleu", "chrf", "exact_match"]

    def start_observing(self) -> None:
        self._written = []

    def observed(self) -> dict[str, float]:
        ordered = self._of_all(self._written)
        self.captions = Captions([text for _, text, _ in ordered], [several for *_, several in ordered])
        return self.captions.scores()

    def definitions(self) -> dict[str, str]:
        return Captions.signatures()

    def baselines(self, data: Data, splits: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        """The caption of the training picture that is nearest, number by number."""
        if not self.baseline:
            return {}
        from sklearn.neighbors import NearestNeighbors

        data = cast(CaptionedImages, data)
        train = data.rows["train"]
        known = data.pictures("train").reshape(len(train.given), -1).astype(np.float32)
        neighbours = NearestNeighbors(n_neighbors=1).fit(known)
        found = {}
        for split in splits:
            loader = data.eval_dataloader(split)
            asked = loader.pictures.reshape(len(loader.pictures), -1).astype(np.float32)
            nearest = neighbours.kneighbors(asked, return_distance=False)[:, 0]
            assert loader.references is not None
            found[split] = Captions([train.captions(row)[0] for row in nearest], loader.references).scores()
        return {"nearest picture": found}

    def tokens(self, batch: CaptionBatch) -> int:
        return batch.token_count

    def report(self, data: Data, splits: str, folder: Path, loggers: Sequence[Logger]) -> list[str]:
        assert self.captions is not None
        data, found = cast(CaptionedImages, data), self.captions
        tables, figures = folder / "evaluation", folder / "figures"
        names = [name for split in splits.split("+") for name in data.rows[split].given]
        order = np.argsort(found.by_picture, kind="stable")[:_WORST].tolist()
        header = ["chrf", "image", "hypothesis", "references"]
        worst = [
            [
                round(float(found.by_picture[row]), 1),
                names[row],
                found.hypotheses[row],
                " | ".join(found.references[row]),
            ]
            for row in order
        ]
        write_csv(tables / f"{splits}_worst.csv", header, worst)
        written = [[name, text] for name, text in zip(names, found.hypotheses, strict=True)]
        write_csv(tables / f"{splits}_captions.csv", ["image", "caption"], written)
        lengths = np.array([len(several[0].split()) for several in found.references])
        difficulty = group_by_difficulty(
            "length of the caption (words)",
            "exact matches",
            1.0,
            None,
            lengths,
            lambda some: float(found.exact[some].mean()),
        )
        write_difficulty(difficulty, tables / f"{splits}_difficulty.json")
        drawn = {"exact_by_length": figures / f"exact_by_length_{splits}.png"}
        draw_difficulty({"this model": difficulty}, drawn["exact_by_length"])
        told = []
        if len(self.spec.shape) == 3:
            loader = data.eval_dataloader(splits)
            wrong = [row for row in order if not found.exact[row]][: _SHEET // 3]
            rows = [*wrong, *[row for row in range(len(names)) if row not in wrong][: _SHEET - len(wrong)]]
            drawn["captions"] = figures / f"captions_{splits}.png"
            draw_sheet(loader.pictures[rows], found, rows, drawn["captions"])
            for number, row in enumerate(rows):
                write_picture(loader.pictures[row], tables / f"{splits}_pictures/{number}.png")
            told.append(
                f"{splits:<10} {drawn['captions']} shows some, the worst first; {tables}/{splits}_pictures has them"
            )
        aspects = found.aspects(data.aspects)
        if aspects:
            write_csv(tables / f"{splits}_aspects.csv", ["aspect", "right"], list(aspects.items()))
            told.append(
                f"{splits:<10} told right: " + ", ".join(f"{name} {right:.1%}" for name, right in aspects.items())
            )
        show(loggers, drawn, {"worst": (header, worst)}, splits)
        return [*told, f"{splits:<10} {tables}/{splits}_captions.csv, {splits}_worst.csv"]

    def caption(self, pictures: np.ndarray, beam: int | None = None) -> list[tuple[str, float]]:
        """Caption pictures, in any number.

        Args:
            pictures: (count, *shape of the spec), of uint8 or, of vectors, float32.
            beam: hypotheses that are searched; None: the task's own.

        Returns:
            Of each its caption, and that one's log-probability (in nats).
        """
        with evaluating(self), torch.inference_mode():
            v = self._vectors(torch.from_numpy(pictures).to(self.device))
            found = self._search(v, beam or self.beam_size)
        texts = decode(self.spec.tokenizer, [best.tokens for best in found])
        return [(text, best.log_probability) for text, best in zip(texts, found, strict=True)]

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_describing_arguments(parser)

    def predict(self, options: argparse.Namespace) -> None:
        describe_stream(self, options)
