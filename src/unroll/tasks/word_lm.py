"""Word language model: the next word, from all that came before; it completes what one writes."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.optim import Optimizer

from unroll.arguments import positive
from unroll.cache import Cache
from unroll.cross_entropy import linear_cross_entropy
from unroll.data.base import Data
from unroll.data.encoding import UNKNOWN_SYMBOL
from unroll.data.text_stream import Window
from unroll.data.words import WordVocabulary
from unroll.dynamic_evaluation import Follower
from unroll.errors import UsageError
from unroll.models.seq_to_seq import SeqToSeq
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State, map_state
from unroll.tasks.base import Loss
from unroll.tasks.language_model import LanguageModel
from unroll.truncation import Truncation


class Completion(NamedTuple):
    """A word that may come next.

    Attributes:
        word: in writing.
        probability: the model's; of the words that begin as what was written, if a word was begun.
        goes_on: what most probably comes after it.
    """

    word: str
    probability: float
    goes_on: str


class WordLM(LanguageModel):
    """Cross-entropy of the next word, or piece of a word; reported in nats (loss) and as perplexity, by the count of tokens
    that the data has.

    The loss is worked out some rows at a time: the scores of a large vocabulary are never all in memory.

    Args:
        spec: the vocabulary.
        recurrent: makes the stack of cells.
        optimizer, schedule, truncation: see `Task`.
        embedding_size, freeze_embedding, tie_weights, input_dropout, output_dropout, embedding_dropout: see `SeqToSeq`.
        activation_penalty: weight of the mean square of the top layer's output, after dropout, in the training loss (AR;
            Merity et al. 2017, section 4.6).
        change_penalty: weight of the mean square of what that output, before dropout, changes from step to step (TAR).
        cache_size: in evaluation, how many of the words just read may come again by what they came after; 0: none. See
            `unroll.cache.Cache`, for these three.
        cache_weight: share of the probability that they get.
        cache_sharpness: how alike the outputs must be.
        dynamic_rate: in evaluate.py, the rate at which weights follow what is read; 0: they stay. See
            `unroll.dynamic_evaluation.Follower`, for this and the decay.
        dynamic_decay: how fast they are drawn back.
        dynamic_steps: words that are scored between two steps of the weights.

    Raises:
        UsageError: a text by characters; see `LanguageModel`, too.
    """

    def __init__(
        self,
        spec: WordVocabulary,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        embedding_size: PositiveInt,
        freeze_embedding: bool,
        tie_weights: bool,
        input_dropout: Probability,
        output_dropout: Probability,
        embedding_dropout: Probability,
        activation_penalty: NonNegativeFloat,
        change_penalty: NonNegativeFloat,
        cache_size: NonNegativeInt,
        cache_weight: Probability,
        cache_sharpness: NonNegativeFloat,
        dynamic_rate: NonNegativeFloat,
        dynamic_decay: Probability,
        dynamic_steps: PositiveInt,
    ) -> None:
        if not isinstance(spec, WordVocabulary):
            raise UsageError(f"data.unit={spec.unit}: task=word_lm reads words (or bpe); task=char_lm reads these")
        model = SeqToSeq(
            spec.size,
            recurrent,
            embedding_size,
            freeze_embedding,
            tie_weights,
            input_dropout,
            output_dropout,
            embedding_dropout,
        )
        super().__init__(spec, model, optimizer, schedule, truncation)
        self.words = spec
        self.activation_penalty = activation_penalty
        self.change_penalty = change_penalty
        if cache_size and dynamic_rate:
            raise UsageError("task.cache_size and task.dynamic_rate: one at a time")
        if dynamic_rate and not truncation.carry_state:
            raise UsageError(
                "task.dynamic_rate: follows a text that is read on and on, not with truncation.carry_state=false"
            )
        self.cache = Cache(cache_size, cache_weight, cache_sharpness) if cache_size else None
        self.dynamic_rate = dynamic_rate
        self.dynamic_decay = dynamic_decay
        self.dynamic_steps = dynamic_steps
        self._follower: Follower | None = None

    def check(self, data: Data) -> list[str]:
        if self.dynamic_rate:
            raise UsageError("task.dynamic_rate: is for evaluate.py, of a run that was trained without")
        return []

    def start_observing(self) -> None:
        if self.dynamic_rate:
            weights = [weight for weight in self.parameters() if weight.requires_grad]
            self._follower = Follower(weights, self.dynamic_rate, self.dynamic_decay)

    def observed(self) -> dict[str, float]:
        if self._follower is not None:
            self._follower.restore()
            self._follower = None
        return {}

    def loss(self, batch: Window, state: State | None) -> Loss:
        if self.cache is not None and not self.training:
            return self._loss_with(self.cache, batch, state)
        if self._follower is not None and not self.training:
            return self._loss_following(self._follower, batch, state)
        return self._plain_loss(batch, state)

    def _loss_following(self, follower: Follower, batch: Window, state: State | None) -> Loss:
        total, count = torch.zeros((), device=self.device), torch.tensor(0, device=self.device)
        for start in range(0, len(batch.tokens), self.dynamic_steps):
            some = slice(start, start + self.dynamic_steps)
            tokens = batch.tokens[some]
            piece = batch._replace(tokens=tokens, targets=batch.targets[some], advance=len(tokens))
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradients in evaluation
                found = self._plain_loss(piece, state)
                if found.scored:
                    follower.follow(found.value)
            total, count, state = total + found.value.detach() * found.scored, count + found.scored, found.state
        return Loss(total / count.clamp(min=1), count, state)

    def _plain_loss(self, batch: Window, state: State | None) -> Loss:
        y, carried = self.model.hidden_of_window(batch.tokens, state, batch.advance)
        targets = batch.targets
        y = y[-len(targets) :]
        dropped = self.model.drop_output(y)
        rows, wanted = dropped.flatten(0, 1), targets.flatten()
        if not self.training:  # in training every lane has a next word; not to ask the device keeps it at work
            rows, wanted = rows[wanted >= 0], wanted[wanted >= 0]
        count = torch.tensor(len(wanted), device=y.device)
        if not len(wanted):
            return Loss(y.sum() * 0, count, carried)
        output = self.model.output
        value = linear_cross_entropy(rows, output.weight, output.bias, wanted)
        if self.training and self.activation_penalty:
            value = value + self.activation_penalty * dropped.pow(2).mean()
        if self.training and self.change_penalty and len(y) > 1:
            value = value + self.change_penalty * (y[1:] - y[:-1]).pow(2).mean()
        return Loss(value, count, carried)

    def _loss_with(self, cache: Cache, batch: Window, state: State | None) -> Loss:
        carried, seen = (None, None) if state is None else state
        y, carried = self.model.hidden_of_window(batch.tokens, carried, batch.advance)
        y = y[-len(batch.targets) :]
        exact = torch.promote_types(y.dtype, torch.float32)  # half precision ends here
        wanted = batch.targets.clamp(min=0)
        of_model = self.model.readout(y).to(exact).log_softmax(-1).gather(-1, wanted[..., None])[..., 0]
        costs, seen = cache.costs(of_model, y.to(exact), wanted, seen)
        scored = batch.targets >= 0
        count = scored.sum()
        return Loss((costs * scored).sum() / count.clamp(min=1), count, (carried, seen))

    @torch.inference_mode()
    def complete(self, text: str, top: int = 5, words: int = 4) -> list[Completion]:
        """What may come next, the most probable first.

        Args:
            text: what was written. Where it ends within a word (not at a space, and not with a word that is known), that
                word is completed.
            top: how many.
            words: how many more words each goes on by.

        Raises:
            UsageError: nothing but a part of a word that no known one begins with.
        """
        last, is_whole = self.words.last_word(text)
        begun = "" if is_whole else last
        scores, state = self._read(text.removesuffix(begun))
        candidates = self._beginning_with(begun)
        if not len(candidates):
            raise UsageError(f"no word that the model knows begins with {begun!r}")
        probabilities = torch.softmax(scores[candidates], dim=-1)
        found = probabilities.topk(min(top, len(candidates)))
        chosen = candidates[found.indices]
        return [
            Completion(self.words.decode([token]), probability, goes_on)
            for token, probability, goes_on in zip(
                chosen.tolist(), found.values.tolist(), self._go_on(state, chosen, words), strict=True
            )
        ]

    def _beginning_with(self, begun: str) -> Tensor:
        """(candidates,): the tokens whose words begin so; the unknown one never."""
        if not begun:
            return torch.arange(UNKNOWN_SYMBOL + 1, self.words.size, device=self.device)
        words = self.words.words
        begun = self.words.tokenizer.normalizer.normalize_str(begun)
        found = [token for token in range(len(words)) if token != UNKNOWN_SYMBOL and words[token].startswith(begun)]
        return torch.tensor(found, device=self.device)

    def _read(self, text: str) -> tuple[Tensor, State]:
        """Scores of the word after a text, (vocab_size,), log-probabilities up to a constant; and the state there."""
        # With the end of a line before it, as every text has that one begins.
        tokens = torch.from_numpy(self.words.encode(f"\n{text}").astype("int64"))[:, None].to(self.device)
        y, state = self.model.hidden(tokens)
        return self.model.readout(y[-1, 0]), state

    def _go_on(self, state: State, tokens: Tensor, length: int) -> list[str]:
        """The most probable words after what a state has read and each of these tokens."""
        state = map_state(lambda part: part.expand(len(tokens), *part.shape[1:]).contiguous(), state)
        decoders = [self.words.decoder() for _ in tokens]
        written = [""] * len(tokens)
        for decode, token in zip(decoders, tokens.tolist(), strict=True):
            decode(token)
        for _ in range(length):
            logits, state = self.model(tokens[None], state)
            logits[-1][:, UNKNOWN_SYMBOL] = -torch.inf
            tokens = logits[-1].argmax(-1)
            written = [
                text + decode(token) for text, decode, token in zip(written, decoders, tokens.tolist(), strict=True)
            ]
        return [" ".join(text.split()) for text in written]

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_predict_arguments(parser)
        parser.add_argument("--complete", metavar="TEXT", help="rank the words that may come next, instead of writing")
        parser.add_argument("--top", type=positive, default=5, metavar="N", help="of them, the best (default: 5)")
        parser.add_argument("--interactive", action="store_true", help="complete while you type")

    def predict(self, options: argparse.Namespace) -> None:
        if options.complete is not None and options.interactive:
            raise UsageError("--complete and --interactive: give one of them")
        if options.interactive:
            from unroll.predicting.word_lm import complete_while_typing

            complete_while_typing(self, options.top)
        elif options.complete is None:
            super().predict(options)
        else:
            for found in self.complete(options.complete, options.top):
                word = "(end of the line)" if found.word == "\n" else found.word
                print(f"{found.probability:6.1%}  {word:<18}{found.goes_on}".rstrip())
