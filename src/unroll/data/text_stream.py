"""One long text, cut into lanes and windows: the format behind every language model."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from unroll.data.base import SPLITS, Data
from unroll.data.encoding import Chunk, Vocabulary, build_vocabulary
from unroll.data.lanes import Lanes
from unroll.data.token_store import TokenStore, load_vocabulary, release
from unroll.data.tokenizing import Boundaries
from unroll.data.words import WordVocabulary, fit_words
from unroll.errors import UsageError, UserError
from unroll.truncation import Truncation

_WINDOWS_BETWEEN_RELEASES = 1024


class Window(NamedTuple):
    """A batch: the next piece of every lane.

    Attributes:
        tokens: (time, lanes) of int64: the history, if there is one, and the window.
        targets: (window, lanes): the token that follows each token of the window; -1 where a lane has ended.
        advance: after how many steps the next batch begins.
        begins: whether this is the first of a pass: there is nothing to carry on from.
        first_lane: the number of the first lane here among the lanes of all devices.
        lanes: how many lanes all devices have together.
        share: the weight of this process's mean in that over all processes: alike, since all have as many lanes.
        rate: its length as a share of the usual one.
    """

    tokens: Tensor
    targets: Tensor
    advance: int
    begins: bool
    first_lane: int
    lanes: int
    share: float = 1.0
    rate: float = 1.0

    @property
    def lanes_here(self) -> int:
        """How many of them this process has."""
        return self.tokens.shape[1]

    def beside(self, others: Iterable["Window"]) -> "Window":
        """Windows of equal length as one with more lanes, to be looked at by itself."""
        together = [self, *(other for other in others if other.tokens.shape == self.tokens.shape)]
        tokens = torch.cat([window.tokens for window in together], dim=1)
        return self._replace(tokens=tokens, targets=torch.cat([window.targets for window in together], dim=1))


class TextLanes(Lanes):
    """A text in lanes, as `Window`s.

    Args:
        tokens: (length,), the text; a memory map is read only where a window needs it.
        lanes, length, history, drop_tail, rank, world_size, vary: see `Lanes`.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        lanes: int,
        length: int,
        history: int = 0,
        drop_tail: bool = False,
        rank: int = 0,
        world_size: int = 1,
        vary: int | None = None,
    ) -> None:
        super().__init__(len(tokens), lanes, length, history, drop_tail, rank, world_size, vary)
        self.tokens = tokens

    def __iter__(self) -> Iterator[Window]:
        for count, window in enumerate(super().__iter__(), 1):
            yield window
            if count % _WINDOWS_BETWEEN_RELEASES == 0:
                release(self.tokens)
        release(self.tokens)

    def window(self, begin: int, position: int, end: int, advance: int) -> Window:
        columns = np.zeros((end - begin + 1, len(self.bounds)), np.int64)
        for column, (start, stop) in enumerate(self.bounds):
            piece = self.tokens[start + begin : min(start + end, stop) + 1]
            columns[: len(piece), column] = piece
            columns[len(piece) :, column] = -1
        block = torch.from_numpy(columns)
        return Window(
            tokens=block[:-1].clamp(min=0),
            targets=block[1 + position - begin :],
            advance=advance,
            begins=position == 0,
            first_lane=self.first_lane,
            lanes=self.lanes,
            rate=(end - position) / self.length,
        )


class TextStream(Data):
    """A text in three splits, encoded once and streamed. A subclass says where the text comes from: `texts`.

    Args:
        batch_size: lanes, over all devices.
        truncation: gives the windows their length and history.
        unit: what a token is: `characters` (Unicode code points) or `bytes`; `words`, or `bpe`, pieces of words.
        vocab_size, min_count, lowercase, boundaries: of words and their pieces; see `fit_words`.
        cache_dir: folder for encoded texts.
        eval_lanes: lanes of validation and test: the more, the faster; each begins without having read what lies
            before it, so this is part of what a score means and does not follow the batch size.
        eval_window: steps of a window in evaluation; changes memory, not the score. With carry_state=false windows are
            those of training.
    """

    def __init__(
        self,
        batch_size: PositiveInt,
        truncation: Truncation,
        unit: Literal["characters", "bytes", "words", "bpe"],
        vocab_size: Annotated[int, Field(ge=2)],
        min_count: PositiveInt,
        lowercase: bool,
        boundaries: Boundaries,
        cache_dir: str,
        eval_lanes: PositiveInt,
        eval_window: PositiveInt,
    ) -> None:
        super().__init__()
        if truncation.length is None:
            raise UsageError(
                "truncation=full needs sequences that end, and a text stream has no end in sight: "
                "take one of truncation=k8 to k256, or truncation.length=N"
            )
        self.batch_size = batch_size
        self.truncation = truncation
        self.length = truncation.length
        self.unit = unit
        self.vocab_size = vocab_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.boundaries: Boundaries = boundaries
        self.cache_dir = Path(cache_dir)
        self.eval_lanes = eval_lanes
        self.eval_window = eval_window
        self._given: Vocabulary | WordVocabulary | None = None
        self._seed = torch.initial_seed() % 2**31  # the run's, the same in every process

    @abstractmethod
    def texts(self, split: str) -> Iterator[Chunk]:
        """The text of a split in chunks of at most some megabytes. May be called several times."""

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for split in SPLITS:
            digest.update(f"\0{split}\0".encode())
            for chunk in self.texts(split):
                digest.update(chunk.encode("utf-8", "surrogatepass") if isinstance(chunk, str) else chunk)
        return digest.hexdigest()

    @staticmethod
    def load_spec(folder: Path) -> Vocabulary | WordVocabulary:
        return load_vocabulary(folder / "vocabulary.json")

    @property
    def spec(self) -> Vocabulary | WordVocabulary:
        return self._store().vocabulary

    def save_spec(self, folder: Path) -> None:
        self.spec.save(folder / "vocabulary.json")

    def adopt(self, spec: Vocabulary | WordVocabulary) -> None:
        if spec.unit != self.unit:
            raise UsageError(f"data.unit={self.unit}: the run was trained on {spec.unit}; take data.unit={spec.unit}")
        self._given = spec

    def prepare_data(self) -> None:
        self._store()

    def _store(self) -> TokenStore:
        if not hasattr(self, "_opened"):
            settings, fit, given = self._settings, self._fit, self._given
            if given is not None:
                known = TokenStore.known(self.cache_dir, self.fingerprint, settings)
                if known is None or known.vocabulary != given:  # which may be another text's
                    settings, fit = f"given {given.identity}", lambda chunks: given
            self._opened = TokenStore.open(
                self.cache_dir, self.fingerprint, self.texts, SPLITS, fit, settings, say=print
            )
            for split in SPLITS:
                self._check_length(split)
        return self._opened

    def _fit(self, chunks: Iterator[Chunk]) -> Vocabulary | WordVocabulary:
        if self.unit == "words" or self.unit == "bpe":
            return fit_words(chunks, self.unit, self.vocab_size, self.min_count, self.lowercase, self.boundaries)
        return build_vocabulary(chunks, self.unit)

    @property
    def _settings(self) -> str:
        if self.unit in ("words", "bpe"):
            return f"{self.unit} {self.vocab_size} {self.min_count} {self.lowercase} {self.boundaries}"
        return self.unit

    def _check_length(self, split: str) -> None:
        count = len(self._opened.tokens(split))
        lanes, window = (self.batch_size, self.length) if split == "train" else (1, 1)
        if count < lanes * window + 1:
            raise UserError(
                f"{self.source}: the {split} split has {count:,} {self.unit}, and at least {lanes * window + 1:,} are "
                + (
                    f"needed for one window of {window} in each of {lanes} lanes: take more text, or lower "
                    "truncation.length or data.batch_size"
                    if split == "train"
                    else "needed to predict one from another: take more text, or give this split a larger share"
                )
            )

    def describe(self) -> list[str]:
        store = self._store()
        counts = {split: len(store.tokens(split)) for split in SPLITS}
        return [
            ", ".join(f"{split} {count:,}" for split, count in counts.items())
            + f" {self.unit}; {store.vocabulary.size:,} different",
            *(
                f"{store.unknown[split]:,} {self.unit} of {split} are not in the vocabulary: unknown to the model"
                for split in SPLITS
                if store.unknown[split]
            ),
        ]

    def tokens(self, split: str) -> np.ndarray:
        """(length,): all tokens of a split, mapped from the disk.

        Raises:
            UsageError: a name that is no split.
        """
        (name,) = self.named_splits(split)
        return self._store().tokens(name)

    def train_dataloader(self) -> TextLanes:
        self.check_share("data.batch_size", self.batch_size)
        return TextLanes(
            self._store().tokens("train"),
            self.batch_size,
            self.length,
            self.truncation.history,
            drop_tail=True,
            rank=self.rank,
            world_size=self.world_size,
            vary=self._seed if self.truncation.vary_length else None,
        )

    def eval_dataloader(self, splits: str) -> TextLanes:
        """Several splits are read as one text."""
        names = self.named_splits(splits)
        self.check_share("data.eval_lanes", self.eval_lanes)
        arrays = [self._store().tokens(name) for name in names]
        tokens = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        if self.truncation.carry_state:
            return TextLanes(tokens, self.eval_lanes, self.eval_window, rank=self.rank, world_size=self.world_size)
        # Windows that begin from zero are part of what is learned: they are the same ones here.
        history = self.truncation.history
        return TextLanes(tokens, self.eval_lanes, self.length, history, rank=self.rank, world_size=self.world_size)
