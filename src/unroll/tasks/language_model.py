"""Language models: the next token, from all that came before."""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from unroll.arguments import at_least_zero, positive, seed, share
from unroll.cross_entropy import perplexity
from unroll.data.base import Data
from unroll.data.encoding import UNKNOWN_SYMBOL, Vocabulary
from unroll.data.text_stream import TextStream, Window
from unroll.data.words import WordVocabulary
from unroll.decoding import generate
from unroll.errors import UsageError
from unroll.evaluating import evaluating
from unroll.insight.reading import Reading
from unroll.models.seq_to_seq import SeqToSeq
from unroll.schedule import Schedulers
from unroll.state import detach
from unroll.tasks.base import Task
from unroll.truncation import Truncation


class LanguageModel(Task):
    """What language models share: reading a stream, and writing. A subclass says what a batch costs (`loss`).

    Args:
        spec: the vocabulary.
        model: reads tokens and scores the next.
        optimizer, schedule, truncation: see `Task`.

    Raises:
        UsageError: a bidirectional stack.
    """

    reads = TextStream

    def __init__(
        self,
        spec: Vocabulary | WordVocabulary,
        model: SeqToSeq,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        self.vocabulary = spec
        self.unit = "tokens" if spec.unit == "bpe" else spec.unit
        self.horizon = truncation.horizon
        self.model = model
        if model.recurrent.bidirectional:
            raise UsageError("model.bidirectional=true: would read the very tokens that it is to predict")

    def last_losses(self, batch: Window) -> Tensor:
        state = None
        if self.horizon is not None and len(batch.tokens) > self.horizon:
            with torch.no_grad():
                _, state = self.model.hidden(batch.tokens[: -self.horizon])
            state = detach(state)
        y, _ = self.model.hidden(batch.tokens[-(self.horizon or 0) :], state)
        return F.cross_entropy(self.model.readout(y[-1]), batch.targets[-1], ignore_index=-1, reduction="none")

    def read_aloud(self, data: Data, split: str, steps: int) -> Reading:
        """The first of a split, in one piece."""
        text = torch.from_numpy(cast(TextStream, data).tokens(split)[: steps + 1].astype("int64"))[:, None]
        window = Window(text[:-1], text[1:], advance=0, begins=True, first_lane=0, lanes=1)
        decode = self.vocabulary.decoder()
        words = [decode(token) for token in text[:-1, 0].tolist()]
        return Reading(self.transfer_batch_to_device(window, self.device, 0), {"": [words]})

    def predictions(self, batch: Window) -> list[tuple[str, Tensor]]:
        """The most probable token after each."""
        best, tokens = F.log_softmax(self.model(batch.tokens)[0], dim=-1).max(-1)
        return [(self.vocabulary.decode([row[0]]), value) for row, value in zip(tokens.tolist(), best, strict=True)]

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "perplexity": perplexity(loss)}

    def tokens(self, batch: Window) -> int:
        return batch.targets.numel()

    def generate(
        self,
        prompt: str = "\n",
        length: int = 400,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        samples: int = 1,
    ) -> Iterator[list[str]]:
        """Continue a prompt, token after token.

        Args:
            prompt: text to go on from; it warms the state. Unknown ones count as the unknown.
            length: tokens to write: characters, bytes, words.
            temperature, top_k, top_p: see `unroll.decoding.choose`.
            seed: one seed, one text; None draws anew.
            samples: how many texts are written side by side.

        Yields:
            For each step the text that has become complete, one str a sample. "".join over a sample's is its text.

        Raises:
            UsageError: an empty prompt, or a temperature, top_k or top_p that there cannot be.
        """
        if temperature < 0 or (top_k is not None and top_k < 1) or (top_p is not None and not 0 < top_p <= 1):
            raise UsageError(
                f"temperature={temperature}, top_k={top_k}, top_p={top_p}: they are 0 or more, 1 or more, and in (0, 1]"
            )
        encoded = self.vocabulary.encode(prompt)
        if not len(encoded):
            raise UsageError("the prompt is empty: give at least one token to go on from")
        tokens = torch.from_numpy(encoded.astype("int64")).to(self.device)
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        decoders = [self.vocabulary.decoder() for _ in range(samples)]
        for decode in decoders:  # whether a space comes first hangs on what was before
            for token in encoded.tolist():
                decode(token)
        with evaluating(self):
            for chosen in generate(
                self.model,
                tokens[:, None].expand(-1, samples),
                length,
                temperature,
                top_k,
                top_p,
                generator,
                forbidden=UNKNOWN_SYMBOL,
            ):
                yield [decode(token) for decode, token in zip(decoders, chosen.tolist(), strict=True)]
            yield [decode(None) for decode in decoders]

    def write(self, *arguments: Any, **options: Any) -> list[str]:
        """As `generate`, but the whole texts at once, one a sample."""
        return ["".join(pieces) for pieces in zip(*self.generate(*arguments, **options), strict=True)]

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--prompt", default="\n", help="text to go on from (default: a new line)")
        parser.add_argument(
            "--length", type=positive, default=400, help="characters, or words, to write (default: %(default)s)"
        )
        parser.add_argument(
            "--temperature",
            type=at_least_zero,
            default=1.0,
            help="below 1 safer, above 1 bolder, 0 always the most probable (default: %(default)s)",
        )
        parser.add_argument("--top-k", type=positive, help="draw from the K most probable ones only", metavar="K")
        parser.add_argument(
            "--top-p",
            type=share,
            help="draw from the fewest that together reach probability P",
            metavar="P",
        )
        parser.add_argument("--seed", type=seed, help="the same seed writes the same text")
        parser.add_argument(
            "--samples", type=positive, default=1, help="texts to write, the first one as it comes (default: 1)"
        )

    def predict(self, options: argparse.Namespace) -> None:
        if not options.prompt:
            raise UsageError("--prompt: is empty: give at least one token to go on from")
        unknown = self.vocabulary.unknown(options.prompt)
        if unknown:
            listed = ", ".join(repr(one) + (f" (U+{ord(one):04X})" if len(one) == 1 else "") for one in unknown)
            kind = self.unit.removesuffix("s")
            print(f"note: not in the training text, read as the unknown {kind}: {listed}", file=sys.stderr)
        texts = [options.prompt] * options.samples
        if options.samples > 1:
            print("--- 1 ---")
        print(options.prompt, end="", flush=True)
        for pieces in self.generate(
            options.prompt,
            options.length,
            options.temperature,
            options.top_k,
            options.top_p,
            options.seed,
            options.samples,
        ):
            print(pieces[0], end="", flush=True)
            if options.samples > 1:
                texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
        print()
        for number, text in enumerate(texts[1:], start=2):
            print(f"--- {number} ---\n{text}")
