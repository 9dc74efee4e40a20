"""Character language model: the next character, from all that came before."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor
from torch.optim import Optimizer

from unroll.arguments import at_least_zero, positive, seed, share
from unroll.data.base import Data
from unroll.data.encoding import UNKNOWN, Vocabulary
from unroll.data.text_stream import TextStream, Window
from unroll.decoding import generate
from unroll.errors import UsageError
from unroll.insight.reading import Reading
from unroll.models.seq_to_seq import SeqToSeq
from unroll.recurrent import Recurrent
from unroll.schedule import Schedulers
from unroll.schema import Probability
from unroll.state import State, detach
from unroll.tasks.base import Loss, Task
from unroll.truncation import Truncation, run_window


class CharLM(Task):
    """Cross-entropy of the next character; reported in nats (loss), bits (bpc), and as perplexity.

    Args:
        spec: the vocabulary.
        recurrent: makes the stack of cells.
        optimizer, schedule, truncation: see `Task`.
        loss_on: `all` steps of a window, or its `last` one alone: the next character after a fixed window. Evaluation
            scores every character all the same, unless truncation.carry_state is off too: then windows are all there is.
        embedding_size: width of the characters' embedding; None feeds one-hot vectors.
        freeze_embedding, tie_weights, input_dropout, output_dropout: see `SeqToSeq`.

    Raises:
        UsageError: a bidirectional stack.
    """

    reads = TextStream

    def __init__(
        self,
        spec: Vocabulary,
        recurrent: Callable[..., Recurrent],
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedulers],
        truncation: Truncation,
        loss_on: Literal["all", "last"],
        embedding_size: PositiveInt | None,
        freeze_embedding: bool,
        tie_weights: bool,
        input_dropout: Probability,
        output_dropout: Probability,
    ) -> None:
        super().__init__(optimizer, schedule, truncation)
        self.vocabulary = spec
        self.unit = spec.unit
        self.loss_on = loss_on
        self.horizon = truncation.horizon
        self.model = SeqToSeq(
            spec.size, recurrent, embedding_size, freeze_embedding, tie_weights, input_dropout, output_dropout
        )

        if self.model.recurrent.bidirectional:
            raise UsageError("model.bidirectional=true: would read the very character that it is to predict")

    def loss(self, batch: Window, state: State | None) -> Loss:
        y, carried = run_window(self.model.hidden, batch.tokens, state, batch.advance)
        targets = batch.targets
        if self.loss_on == "last" and (self.training or not self.truncation.carry_state):
            targets = targets[-1:]
        logits = self.model.readout(y[-len(targets) :])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision ends here
        count = (targets >= 0).sum()
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")
        return Loss(total / count.clamp(min=1), count, carried)

    def last_losses(self, batch: Window) -> Tensor:
        state = None
        if self.horizon is not None:
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
        """The most probable character after each."""
        best, tokens = F.log_softmax(self.model(batch.tokens)[0], dim=-1).max(-1)
        return [(self.vocabulary.decode([row[0]]), value) for row, value in zip(tokens.tolist(), best, strict=True)]

    def metrics(self, loss: float) -> dict[str, float]:
        return {"loss": loss, "bpc": loss / math.log(2), "perplexity": math.exp(min(loss, 700.0))}

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
        """Continue a prompt, character after character.

        Args:
            prompt: text to go on from; its characters warm the state. Unknown ones count as the unknown.
            length: characters to write (bytes where the model reads bytes).
            temperature, top_k, top_p: see `unroll.decoding.choose`.
            seed: one seed, one text; None draws anew.
            samples: how many texts are written side by side.

        Yields:
            For each step the text that has become complete, one str a sample. "".join over a sample's is its text.

        Raises:
            UsageError: an empty prompt.
        """
        if not prompt:
            raise UsageError("the prompt is empty: give at least one character to go on from")
        tokens = torch.from_numpy(self.vocabulary.encode(prompt).astype("int64")).to(self.device)
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        decoders = [self.vocabulary.decoder() for _ in range(samples)]
        was_training = self.training
        self.eval()
        try:
            for chosen in generate(
                self.model,
                tokens[:, None].expand(-1, samples),
                length,
                temperature,
                top_k,
                top_p,
                generator,
                forbidden=UNKNOWN,
            ):
                yield [decode(token) for decode, token in zip(decoders, chosen.tolist(), strict=True)]
            yield [decode(None) for decode in decoders]
        finally:
            self.train(was_training)

    def write(self, *arguments: Any, **options: Any) -> list[str]:
        """As `generate`, but the whole texts at once, one a sample."""
        return ["".join(pieces) for pieces in zip(*self.generate(*arguments, **options), strict=True)]

    @classmethod
    def add_predict_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--prompt", default="\n", help="text to go on from (default: a new line)")
        parser.add_argument("--length", type=positive, default=400, help="characters to write (default: %(default)s)")
        parser.add_argument(
            "--temperature",
            type=at_least_zero,
            default=1.0,
            help="below 1 safer, above 1 bolder, 0 always the most probable (default: %(default)s)",
        )
        parser.add_argument("--top-k", type=positive, help="draw from the K most probable characters only", metavar="K")
        parser.add_argument(
            "--top-p",
            type=share,
            help="draw from the fewest characters that together reach probability P",
            metavar="P",
        )
        parser.add_argument("--seed", type=seed, help="the same seed writes the same text")
        parser.add_argument(
            "--samples", type=positive, default=1, help="texts to write, the first one as it comes (default: 1)"
        )

    def predict(self, options: argparse.Namespace) -> None:
        unknown = self.vocabulary.unknown(options.prompt)
        if unknown:
            listed = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown)
            print(f"note: not in the training text, read as the unknown character: {listed}", file=sys.stderr)
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
