"""Pictures, or vectors made of them elsewhere, with captions: the format behind what turns a vector into a text."""

import hashlib
import json
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveInt
from tokenizers import Tokenizer
from torch import Tensor

from unroll.data.base import DAMAGED
from unroll.data.buckets import LengthBuckets
from unroll.data.rows import RowData, Rows
from unroll.data.subwords import END, UNWRITTEN, Subword, fit_subwords
from unroll.data.tokenizing import PAD, UNKNOWN, Sequences, encode, load_tokenizer, read_tokenizer
from unroll.errors import UserError
from unroll.truncation import Truncation

_NO_LIMIT = 2**62


class Pictures(Rows):
    """A split of pictures: in `given` what each is called, in `wanted` its captions, a line each."""

    def captions(self, index: int) -> list[str]:
        """Of a picture."""
        return self.wanted[index].split("\n")


@dataclass(frozen=True)
class CaptionSpec:
    """What a model must know of pictures and captions.

    Attributes:
        tokenizer_json: the captions' tokenizer, as the `tokenizers` library writes it.
        shape: of a picture, (3, size, size) of uint8; or of a vector made of one, (width,) of float32.
    """

    tokenizer_json: str
    shape: tuple[int, ...]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself."""
        return load_tokenizer(self.tokenizer_json)

    @property
    def identity(self) -> str:
        """What gives a model's numbers their meaning."""
        return json.dumps([self.tokenizer_json, self.shape])


class CaptionBatch(NamedTuple):
    """Pictures and their captions side by side.

    Attributes:
        pictures: (batch, *shape of the spec) of uint8 or float32.
        target: (time, batch) of int64, each caption ended by `END`; `PAD` past that.
        references: all captions of each picture as they were written; empty in training.
        rows: (batch,) of int64: which caption of its split, in evaluation which picture, each is.
        token_count: of the captions, without the padding.
        share: the weight of this process's mean in that over all processes.
        begins: whether it starts from the initial state: captions always do.
    """

    pictures: Tensor
    target: Tensor
    references: tuple[tuple[str, ...], ...]
    rows: Tensor
    token_count: int
    share: float
    begins: bool = True


class CaptionBatches(LengthBuckets):
    """Batches of captions of like length, each with its picture.

    Args:
        pictures: (pictures, *shape).
        captions: their tokens.
        picture_of: (captions,) of int64: the picture of each.
        references: the captions of each picture; None: not needed.
        batch_size, seed, rank, world_size: see `LengthBuckets`.
    """

    def __init__(
        self,
        pictures: np.ndarray,
        captions: Sequences,
        picture_of: np.ndarray,
        references: list[tuple[str, ...]] | None,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(captions.lengths, batch_size, _NO_LIMIT, seed, rank, world_size)
        self.pictures = pictures
        self.captions = captions
        self.picture_of = picture_of
        self.references = references

    def collate(self, rows: np.ndarray, whole: np.ndarray) -> CaptionBatch:
        target, _ = self.captions.padded(rows)
        target = torch.cat([target, target.new_full((1, len(rows)), PAD)])
        lengths = self.captions.lengths
        target[torch.from_numpy(lengths[rows]), torch.arange(len(rows))] = END
        count = int((lengths[rows] + 1).sum())
        return CaptionBatch(
            torch.from_numpy(self.pictures[self.picture_of[rows]]),
            target,
            () if self.references is None else tuple(self.references[self.picture_of[row]] for row in rows),
            torch.from_numpy(rows),
            count,
            count * self.world_size / int((lengths[whole] + 1).sum()),
        )


class CaptionedImages(RowData[Pictures]):
    """Pictures with one caption each, or several. A subclass says where they come from: `read` and `picture`.

    In training each caption is a sequence of its own. In evaluation each picture is looked at once: the loss is that of its
    first caption, and what is written is compared with all of them.

    Args:
        batch_size: captions a batch, over all devices.
        eval_batch_size: pictures a batch in validation and test; speed only.
        truncation: not needed here: every batch holds whole captions.
        unit, vocab_size, min_count, lowercase: of the captions' tokens, see `fit_subwords`.
        max_length: tokens that a caption may have; a longer one is an error.
        **splits: see `RowData`.

    Raises:
        UserError: see `prepare_data`.
    """

    things = "pictures"

    def __init__(
        self,
        batch_size: PositiveInt,
        eval_batch_size: PositiveInt,
        truncation: Truncation,
        unit: Subword,
        vocab_size: Annotated[int, Field(ge=5)],
        min_count: PositiveInt,
        lowercase: bool,
        max_length: PositiveInt,
        **splits: Any,
    ) -> None:
        super().__init__(**splits)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.unit: Subword = unit
        self.vocab_size = vocab_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.max_length = max_length
        self._pictures: dict[str, np.ndarray] = {}

    @abstractmethod
    def picture(self, name: str) -> np.ndarray:
        """What is called so: (3, size, size) of uint8, or (width,) of float32; all of one shape.

        Raises:
            UserError: it cannot be read.
        """

    def aspects(self, caption: str) -> dict[str, str]:
        """What a caption says of each aspect of a picture that is to be scored by itself; of no meaning: none."""
        return {}

    def pictures(self, split: str) -> np.ndarray:
        """(count, *shape): those of a split.

        Raises:
            UserError: one cannot be read.
        """
        if split not in self._pictures:
            rows = self.rows[split]
            self._pictures[split] = np.stack([self.picture(name) for name in rows.given])
        return self._pictures[split]

    def check(self, split: str, rows: Pictures) -> None:
        if not rows.given:
            raise UserError(f"{rows.source}: the {split} split has no pictures")
        for index in range(len(rows.given)):
            if not all(caption.strip() for caption in rows.captions(index)):
                raise UserError(f"{rows.place(index)}: a caption is empty: take it out")

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for split, rows in self.rows.items():  # what pictures are called is where they lie
            digest.update("\0".join(["", split, *rows.wanted, ""]).encode())
            digest.update(self.pictures(split).tobytes())
        return digest.hexdigest()

    @cached_property
    def spec(self) -> CaptionSpec:
        train = self.rows["train"]
        captions = [caption for index in range(len(train.given)) for caption in train.captions(index)]
        tokenizer = fit_subwords(captions, self.unit, self.vocab_size, self.min_count, self.lowercase)
        if tokenizer.get_vocab_size() <= len(UNWRITTEN) + 1:
            raise UserError(f"{train.source}: no token of train occurs data.min_count={self.min_count} times: lower it")
        return CaptionSpec(tokenizer.to_str(), self.pictures("train").shape[1:])

    def save_spec(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(self.spec.tokenizer_json, encoding="utf-8")
        (folder / "pictures.json").write_text(json.dumps({"shape": self.spec.shape}))

    @staticmethod
    def load_spec(folder: Path) -> CaptionSpec:
        try:
            shape = json.loads((folder / "pictures.json").read_text())["shape"]
            tokenizer_json = read_tokenizer(folder / "tokenizer.json")
            spec = CaptionSpec(tokenizer_json, tuple(int(size) for size in shape))
            if len(spec.shape) not in (1, 3) or min(spec.shape) < 1:
                raise ValueError(f"shape {spec.shape}")
        except DAMAGED as error:
            raise UserError(f"{folder / 'pictures.json'}: is not whole ({error!r})") from None
        return spec

    def adopt(self, spec: CaptionSpec) -> None:
        found = self.pictures("train").shape[1:]
        if found != spec.shape:
            raise UserError(
                f"{self.source}: its {told_shape(found)}, and the run was trained with {told_shape(spec.shape)}"
            )
        self.__dict__["spec"] = spec

    def encoded(self, split: str) -> Sequences:
        """The tokens of all captions of a split, picture after picture."""
        cache = self.__dict__.setdefault("_encoded", {})
        if split not in cache:
            rows = self.rows[split]
            listed = [(index, caption) for index in range(len(rows.given)) for caption in rows.captions(index)]
            found = encode(self.spec.tokenizer, [caption for _, caption in listed])
            longest = int(found.lengths.argmax())
            if found.lengths[longest] > self.max_length:
                raise UserError(
                    f"{rows.place(listed[longest][0])}: a caption has {found.lengths[longest]:,} tokens, and "
                    f"data.max_length={self.max_length} are allowed: raise it, or take the caption out"
                )
            self.pictures(split)
            cache[split] = found
        return cache[split]

    def describe(self) -> list[str]:
        lengths = self.encoded("train").lengths
        each = len(lengths) / len(self.rows["train"].given)
        lines = [
            ", ".join(f"{split} {len(rows.given):,}" for split, rows in self.rows.items())
            + f" pictures, {each:.3g} captions each; {told_shape(self.spec.shape)}",
            f"{self.spec.tokenizer.get_vocab_size():,} tokens ({self.unit}); a training caption has "
            f"{int(np.median(lengths)):,} (median) to {lengths.max():,}",
            *self._notes,
        ]
        for split in self.splits[1:]:
            unknown = (self.encoded(split).tokens == UNKNOWN).mean()
            if unknown:
                lines.append(f"{unknown:.1%} of the tokens of {split} are not in the vocabulary")
        return lines

    def train_dataloader(self) -> CaptionBatches:
        rows = self.rows["train"]
        counts = [len(rows.captions(index)) for index in range(len(rows.given))]
        return CaptionBatches(
            self.pictures("train"),
            self.encoded("train"),
            np.repeat(np.arange(len(counts)), counts),
            None,
            self.batch_size,
            self._seed,
            self.rank,
            self.world_size,
        )

    def eval_dataloader(self, splits: str) -> CaptionBatches:
        """Several splits are scored together."""
        names = self.named_splits(splits)
        references = [
            tuple(self.rows[name].captions(index)) for name in names for index in range(len(self.rows[name].given))
        ]
        counts = np.array([len(captions) for captions in references])
        firsts = np.cumsum(counts) - counts
        return CaptionBatches(
            np.concatenate([self.pictures(name) for name in names]),
            Sequences.joined([self.encoded(name) for name in names]).take(firsts),
            np.arange(len(references)),
            references,
            self.eval_batch_size,
            rank=self.rank,
            world_size=self.world_size,
        )


def told_shape(shape: tuple[int, ...]) -> str:
    """In words."""
    return f"vectors of {shape[0]:,} numbers" if len(shape) == 1 else f"pictures of {shape[2]} x {shape[1]} pixels"
