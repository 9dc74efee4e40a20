"""Writing: a token after the other, each drawn from what the model says of the next."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unroll.state import State

Step = Callable[[Tensor, State | None], tuple[Tensor, State]]
"""(tokens (time, batch), state) -> logits (time, batch, vocab_size) for the token after each, and the next state."""


def choose(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one token a row.

    Args:
        logits: (batch, vocab_size).
        temperature: divides the logits: below 1 sharpens, above 1 flattens; 0 takes the most probable token.
        top_k: keep the k most probable tokens only.
        top_p: keep the fewest most probable tokens that together reach this probability (nucleus sampling, Holtzman et
            al. 2020), at the given temperature.
        generator: what is drawn from; None for torch's own.

    Returns:
        (batch,) of int64.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits.float() / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        threshold = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    probabilities = logits.softmax(dim=-1)
    if top_p is not None and top_p < 1:
        ordered, index = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered  # what the tokens ahead of each reach without it
        probabilities = torch.zeros_like(probabilities).scatter(-1, index, ordered.masked_fill(before >= top_p, 0))
    # Drawn on the CPU, so that a seed gives one text on every device.
    return torch.multinomial(probabilities.cpu(), 1, generator=generator).squeeze(-1).to(logits.device)


@torch.inference_mode()
def generate(
    step: Step,
    prompt: Tensor,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    forbidden: int | None = None,
) -> Iterator[Tensor]:
    """Continue a prompt. Memory and time a token do not grow with the length: all that is kept is the state.

    Args:
        step: the model.
        prompt: (time, batch) of int64, time >= 1; it warms the state.
        length: tokens to write.
        temperature, top_k, top_p, generator: see `choose`.
        forbidden: a token that is never written, such as the unknown one.

    Yields:
        (batch,) of int64, `length` times.
    """
    tokens, state = prompt, None
    for _ in range(length):
        logits, state = step(tokens, state)
        logits = logits[-1]
        if forbidden is not None:
            logits[:, forbidden] = -torch.inf
        chosen = choose(logits, temperature, top_k, top_p, generator)
        yield chosen
        tokens = chosen.unsqueeze(0)
