"""Which words decided: gradient times input, as coloured text."""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.text import Text
from tokenizers import Tokenizer
from torch import Tensor

# Blue and orange of the Okabe-Ito palette, told apart by every kind of eye: for, and against.
_FOR, _AGAINST = (0, 114, 178), (213, 94, 0)
_SHOWN = 60  # tokens of a long text that a terminal shows: those round the strongest


@dataclass(frozen=True)
class Explanation:
    """A text, and what each of its tokens did.

    Attributes:
        text: as it was given.
        spans: (start, end) of each token in it; tokens that are parts of one character count together.
        scores: one a span: above 0 it speaks for the class, below 0 against it. Their unit is that of the logits.
    """

    text: str
    spans: list[tuple[int, int]]
    scores: list[float]

    def rich(self) -> Text:
        """For a terminal: the text, or of a long one the part round the token that did most, in colours."""
        first, last = self._strongest()
        begin, end = (0, len(self.text)) if last - first == len(self.spans) else self._bounds(first, last)
        shown = Text("" if begin == 0 else "... ")
        strongest = max(map(abs, self.scores), default=0.0) or 1.0
        position = begin
        for (start, stop), score in zip(self.spans[first:last], self.scores[first:last], strict=True):
            shown.append(" ".join(self.text[position:start].split("\n")))
            red, green, blue = _shade(score / strongest)
            style = f"black on rgb({red},{green},{blue})" if abs(score) > 0.02 * strongest else ""
            shown.append(self.text[start:stop], style)
            position = stop
        shown.append(self.text[position:end] if end == len(self.text) else " ...")
        return shown

    def html(self) -> str:
        """For a page: the whole text, each token with its score as a tooltip."""
        strongest = max(map(abs, self.scores), default=0.0) or 1.0
        parts = []
        position = 0
        for (start, stop), score in zip(self.spans, self.scores, strict=True):
            red, green, blue = _shade(score / strongest)
            parts.append(html.escape(self.text[position:start]))
            colour = f"background:rgb({red},{green},{blue})"
            parts.append(f'<span style="{colour}" title="{score:+.3f}">{html.escape(self.text[start:stop])}</span>')
            position = stop
        return "".join([*parts, html.escape(self.text[position:])])

    def _strongest(self) -> tuple[int, int]:
        if len(self.spans) <= _SHOWN:
            return 0, len(self.spans)
        peak = max(range(len(self.scores)), key=lambda index: abs(self.scores[index]))
        first = min(max(0, peak - _SHOWN // 2), len(self.spans) - _SHOWN)
        return first, first + _SHOWN

    def _bounds(self, first: int, last: int) -> tuple[int, int]:
        return self.spans[first][0], self.spans[last - 1][1]


def explain(
    tokenizer: Tokenizer, embedding: torch.nn.Embedding, score: Callable[[Tensor], Tensor], text: str
) -> Explanation:
    """How much each token of a text speaks for what `score` measures.

    (d score / d x_t) . x_t: to first order, what is lost of the score when the token's embedding x_t is taken away
    (Simonyan et al. 2014; times the input: Shrikumar et al. 2017).

    Args:
        tokenizer: cuts the text.
        embedding: of its tokens.
        score: (time, 1, embedding_size) -> a scalar.
        text: any.
    """
    encoding = tokenizer.encode(text, add_special_tokens=False)
    if not encoding.ids:
        return Explanation(text, [], [])
    tokens = torch.tensor(encoding.ids, device=embedding.weight.device)[:, None]
    x = embedding(tokens).detach().requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN gives no gradients in evaluation
        (gradient,) = torch.autograd.grad(score(x), x)
    spans: list[tuple[int, int]] = []
    scores: list[float] = []
    for (start, end), part in zip(encoding.offsets, (gradient * x.detach()).sum((1, 2)).tolist(), strict=True):
        if spans and start < spans[-1][1]:  # several bytes of one character
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            scores[-1] += part
        else:
            spans.append((start, end))
            scores.append(part)
    return Explanation(text, spans, scores)


def page(title: str, examples: list[tuple[str, Explanation]]) -> str:
    """A page that needs nothing else: a heading for each text, and the text in colours."""
    sections = "\n".join(f"<h2>{html.escape(head)}</h2>\n<p>{shown.html()}</p>" for head, shown in examples)
    swatch = '<span style="background:rgb({},{},{})">{}</span>'
    legend = (
        f"{swatch.format(*_shade(1.0), 'for')} the class that was chosen, {swatch.format(*_shade(-1.0), 'against')} it"
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>
body {{ font: 16px/1.7 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #000;
  background: #fff; overflow-wrap: break-word }}
h1 {{ font-size: 1.4rem }} h2 {{ font-size: 1rem; margin: 1.6rem 0 0 }} p {{ margin: .2rem 0; white-space: pre-wrap }}
span {{ border-radius: .2em; padding: 0 .1em }}
</style></head><body>
<h1>{html.escape(title)}</h1>
<p>Gradient times input of each token: {legend}. The stronger the colour, the more it did.</p>
{sections}
</body></html>
"""


def _shade(strength: float) -> tuple[int, int, int]:
    """White at 0, the full colour at 1 and -1, softened so that black letters stay readable.

    By the root, or one strong word would leave all others white.
    """
    colour = _FOR if strength > 0 else _AGAINST
    red, green, blue = (round(255 - 0.7 * math.sqrt(abs(strength)) * (255 - part)) for part in colour)
    return red, green, blue
