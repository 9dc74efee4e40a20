"""Texts and their translations: the format behind everything that turns one sequence into another of its own length."""

import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from unroll.data.base import DAMAGED
from unroll.data.parallel_batches import PairBatches
from unroll.data.parallel_spec import ParallelTextSpec
from unroll.data.rows import RowData, Rows
from unroll.data.subwords import UNWRITTEN, Subword, fit_subwords
from unroll.data.tokenizing import UNKNOWN, Sequences, encode, read_tokenizer
from unroll.errors import UserError
from unroll.truncation import Truncation

_TOKENIZERS = ("source_tokenizer.json", "target_tokenizer.json")


class Pairs(Rows):
    """A split of texts and their translations."""

    @property
    def sources(self) -> list[str]:
        """What is translated."""
        return self.given

    @property
    def targets(self) -> list[str]:
        """The translation of each."""
        return self.wanted


class ParallelText(RowData[Pairs]):
    """Pairs of texts, tokenized, in batches of like lengths. A subclass says where they come from: `read`.

    Args:
        source_lang, target_lang: names of the languages.
        batch_tokens: tokens a batch at most, over all devices: its pairs times its longest side.
        eval_batch_tokens: the same in validation and test; speed only.
        truncation: not needed here: every batch holds whole texts.
        unit, vocab_size, min_count, lowercase: see `fit_subwords`.
        joint: one tokenizer for both sides.
        max_length: tokens that a side of a training pair may have; longer pairs are left out, and counted.
        max_ratio: how many times as long as the other a side of a training pair may be; None: any.
        **splits: see `RowData`.

    Raises:
        UserError: see `prepare_data`.
    """

    things = "pairs"

    def __init__(
        self,
        source_lang: str,
        target_lang: str,
        batch_tokens: PositiveInt,
        eval_batch_tokens: PositiveInt,
        truncation: Truncation,
        unit: Subword,
        vocab_size: Annotated[int, Field(ge=5)],
        min_count: PositiveInt,
        lowercase: bool,
        joint: bool,
        max_length: PositiveInt,
        max_ratio: Annotated[float, Field(ge=1)] | None,
        **splits: Any,
    ) -> None:
        super().__init__(**splits)
        self.source_lang = source_lang
        self.target_lang = target_lang
        self.batch_tokens = batch_tokens
        self.eval_batch_tokens = eval_batch_tokens
        self.unit: Subword = unit
        self.vocab_size = vocab_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.joint = joint
        self.max_length = max_length
        self.max_ratio = max_ratio

    @property
    def pairs(self) -> dict[str, Pairs]:
        """The splits as texts, checked.

        Raises:
            UserError: an empty split, an empty side, half a character.
        """
        return self.rows

    def check(self, split: str, rows: Pairs) -> None:
        if not rows.sources:
            raise UserError(f"{rows.source}: the {split} split has no pairs")
        for side, texts in (("source", rows.sources), ("target", rows.targets)):
            for index, text in enumerate(texts):
                if not text.strip():
                    raise UserError(f"{rows.place(index)}: the {side} side is empty: take the pair out")

    @cached_property
    def spec(self) -> ParallelTextSpec:
        train = self.pairs["train"]
        sides = [[*train.sources, *train.targets]] if self.joint else [train.sources, train.targets]
        written = []
        for texts in sides:
            tokenizer = fit_subwords(texts, self.unit, self.vocab_size, self.min_count, self.lowercase)
            if tokenizer.get_vocab_size() <= len(UNWRITTEN) + 1:
                raise UserError(
                    f"{self.source}: no token of train occurs data.min_count={self.min_count} times: lower it"
                )
            written.append(tokenizer.to_str())
        return ParallelTextSpec(written[0], written[-1], self.source_lang, self.target_lang)

    def save_spec(self, folder: Path) -> None:
        spec = self.spec
        for name, written in zip(_TOKENIZERS, (spec.source_tokenizer_json, spec.target_tokenizer_json), strict=True):
            (folder / name).write_text(written, encoding="utf-8")
        languages = {"source": spec.source_lang, "target": spec.target_lang}
        (folder / "languages.json").write_text(json.dumps(languages, ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def load_spec(folder: Path) -> ParallelTextSpec:
        try:
            languages = json.loads((folder / "languages.json").read_text(encoding="utf-8"))
            source, target = (read_tokenizer(folder / name) for name in _TOKENIZERS)
            spec = ParallelTextSpec(source, target, str(languages["source"]), str(languages["target"]))
        except DAMAGED as error:
            raise UserError(f"{folder / 'languages.json'}: is not whole ({error!r})") from None
        return spec

    def adopt(self, spec: ParallelTextSpec) -> None:
        if (spec.source_lang, spec.target_lang) != (self.source_lang, self.target_lang):
            raise UserError(
                f"{self.source}: is {self.source_lang} -> {self.target_lang}, and the run was trained on "
                f"{spec.source_lang} -> {spec.target_lang}"
            )
        self.__dict__["spec"] = spec

    def encoded(self, split: str) -> tuple[Sequences, Sequences]:
        """The tokens of both sides of a split."""
        cache = self.__dict__.setdefault("_encoded", {})
        if split not in cache:
            pairs = self.pairs[split]
            cache[split] = (
                encode(self.spec.source_tokenizer, pairs.sources),
                encode(self.spec.target_tokenizer, pairs.targets),
            )
        return cache[split]

    @cached_property
    def kept(self) -> np.ndarray:
        """The training pairs that are trained on: those within the limits.

        Raises:
            UserError: there are none.
        """
        source, target = (side.lengths for side in self.encoded("train"))
        fits = np.maximum(source, target) <= self.max_length
        if self.max_ratio is not None:
            fits &= np.maximum(source / target, target / source) <= self.max_ratio
        if not fits.any():
            raise UserError(
                f"{self.source}: no training pair is within data.max_length={self.max_length} tokens and "
                f"data.max_ratio={self.max_ratio}: raise them"
            )
        return np.flatnonzero(fits)

    def describe(self) -> list[str]:
        spec, pairs = self.spec, self.pairs
        source, target = (side.lengths for side in self.encoded("train"))
        sizes = sorted({spec.source_tokenizer.get_vocab_size(), spec.target_tokenizer.get_vocab_size()})
        tokens = "joint" if spec.joint else "a vocabulary a side"
        lines = [
            ", ".join(f"{split} {len(found.sources):,}" for split, found in pairs.items())
            + f" pairs, {spec.source_lang} -> {spec.target_lang}",
            f"{' and '.join(f'{size:,}' for size in sizes)} tokens ({self.unit}, {tokens}); a training source has "
            f"{int(np.median(source)):,} (median) to {source.max():,}, a target {int(np.median(target)):,} to "
            f"{target.max():,}",
            *self._notes,
        ]
        long = int((np.maximum(source, target) > self.max_length).sum())
        dropped = len(source) - len(self.kept)
        if dropped:
            lines.append(
                f"{dropped:,} training pairs are left out: {long:,} with a side of more than data.max_length="
                f"{self.max_length} tokens, {dropped - long:,} with one more than data.max_ratio={self.max_ratio} times "
                "as long as the other"
            )
        seen = set(zip(pairs["train"].sources, pairs["train"].targets, strict=True))
        for split in self.splits[1:]:
            unknown = (self.encoded(split)[0].tokens == UNKNOWN).mean()
            if unknown:
                lines.append(f"{unknown:.1%} of the source tokens of {split} are not in the vocabulary")
            known = sum(pair in seen for pair in zip(pairs[split].sources, pairs[split].targets, strict=True))
            if known:
                lines.append(f"note: {known:,} pairs of {split} stand in train too: scores will look too good by them")
        return lines

    def train_dataloader(self) -> PairBatches:
        sources, targets = (side.take(self.kept) for side in self.encoded("train"))
        return PairBatches(sources, targets, None, self.batch_tokens, self._seed, self.rank, self.world_size)

    def eval_dataloader(self, splits: str) -> PairBatches:
        """Several splits are scored together."""
        names = self.named_splits(splits)
        sources, targets = (Sequences.joined([self.encoded(name)[side] for name in names]) for side in (0, 1))
        references = [text for name in names for text in self.pairs[name].targets]
        return PairBatches(
            sources, targets, references, self.eval_batch_tokens, rank=self.rank, world_size=self.world_size
        )
