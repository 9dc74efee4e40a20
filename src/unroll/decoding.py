"""Writing: a token after the other. Without an end, drawn; with one, drawn or searched by beam."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unroll.state import State, select

_LOOK_EVERY = 8  # steps after which a device is asked which sources are done

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
    if temperature < 1e-30:  # which float32 cannot divide by
        return logits.argmax(dim=-1)
    logits = logits.float()
    # The best at 0: divided by next to nothing, all others are at -inf, and it stays a number.
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        best, index = logits.topk(top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, index, best)
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


# Writing what ends: a translation, a summary. A model gives, for each source, a memory that all its hypotheses share.

Advance = Callable[[Tensor, State, State], tuple[Tensor, State]]
"""(tokens (batch, beam), state (batch * beam, ...), memory (batch, ...)) -> logits (batch, beam, vocab_size) for the token
after each, which may be overwritten, and the next state."""


class Hypothesis(NamedTuple):
    """Something written.

    Attributes:
        tokens: without the end.
        log_probability: the model's, of these tokens and the end, if it has one and was not cut (in nats).
        score: that, with the length penalty: what hypotheses are ranked by.
    """

    tokens: list[int]
    log_probability: float
    score: float


@torch.inference_mode()
def beam_search(
    advance: Advance,
    state: State,
    memory: State,
    max_lengths: Tensor,
    beam: int,
    begin: int,
    end: int,
    unwritten: Sequence[int] = (),
    length_penalty: float = 0.0,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """The best of what a model can write, as far as `beam` hypotheses at a time find it.

    Each step, all continuations of a source's live hypotheses are ranked; of the first `beam` of them those that end are
    put aside, and the first `beam` that do not end go on. A source is done when `beam` have ended, when no live one can
    still come before the `n_best` that have, or at its maximum length, where those that go on are cut. What is written
    does not depend on the other sources of the batch. With beam 1 it is greedy.

    Args:
        advance: the model.
        state: (batch, ...), before the first token.
        memory: (batch, ...), what it looks at; () if at nothing.
        max_lengths: (batch,) of int, at least 1: tokens that may be written, the end among them.
        beam: live hypotheses a source.
        begin: the token that the model reads first.
        end: the token that ends.
        unwritten: tokens that are never written.
        length_penalty: alpha >= 0: a hypothesis of n tokens, the end among them, is ranked by its log-probability over
            ((5 + n) / 6)^alpha (Wu et al. 2016, equation 14); 0 ranks by the probability itself.
        n_best: hypotheses returned, at most `beam`.

    Returns:
        For each source its best hypotheses, the best first: `n_best` of them, or as many as were found; an empty one of
        score NaN where the model says nothing but NaN.
    """
    batch, device = len(max_lengths), max_lengths.device
    found: list[list[Hypothesis]] = [[] for _ in range(batch)]
    if not batch:
        return found
    source = torch.arange(batch, device=device)  # of each row that is still searched
    state = select(state, source.repeat_interleave(beam))
    tokens = torch.full((batch, beam), begin, device=device)
    live = torch.full((batch, beam), -torch.inf, device=device)
    live[:, 0] = 0  # all begin alike: one of them counts
    written = torch.full((batch, beam, int(max_lengths.max())), end, device=device)
    ended = _Ended.none(written)
    ranks = torch.arange(2 * beam, device=device)
    done = torch.zeros(batch, dtype=torch.bool, device=device)
    for t in range(written.shape[2]):
        logits, state = advance(tokens, state, memory)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        never = logits[..., list(unwritten)]
        logits[..., list(unwritten)] = -torch.inf
        # The best 2 * beam of a source are among the best 2 * beam of each of its hypotheses.
        best, word = logits.topk(min(2 * beam, logits.shape[-1]), dim=-1)
        # Log of the sum of all exponentials, in the logits' own place: they are the largest thing here.
        log_z = best[..., :1] + logits.sub_(best[..., :1]).exp_().sum(-1, keepdim=True).log()
        if unwritten:
            log_z = torch.logaddexp(log_z, never.logsumexp(-1, keepdim=True))
        top, place = (live.to(best.dtype)[..., None] + best - log_z).flatten(1).topk(2 * beam, dim=1)
        parent, token = place // best.shape[-1], word.flatten(1).gather(1, place)
        continued = written.gather(1, parent[..., None].expand(-1, -1, written.shape[2]))
        continued[:, :, t] = token
        # At most `beam` of 2 * beam continuations end, one a hypothesis: `beam` others are left to go on.
        ends = token == end
        goes_on = ~ends & ((~ends).cumsum(1) <= beam)
        last = max_lengths <= t + 1
        stops = ((ends & (ranks < beam)) | (goes_on & last[:, None])) & ~done[:, None]
        ended = ended.joined(continued, top, ((6 + t) / 6) ** length_penalty, stops)
        index = goes_on.int().argsort(dim=1, descending=True, stable=True)[:, :beam]
        parent, tokens, live = (tensor.gather(1, index) for tensor in (parent, token, top))
        written = continued.gather(1, index[..., None].expand_as(written))
        # What a live one can still reach: it loses nothing any more, and the penalty is the mildest.
        reach = live[:, 0] / ((5 + max_lengths) / 6) ** length_penalty
        done |= last | (ended.number >= beam) | (ended.scores[:, n_best - 1] >= reach)
        # To look is to wait for the device.
        looks = device.type == "cpu" or t % _LOOK_EVERY == 0 or t + 1 == written.shape[2]
        if looks and bool(done.any()):
            for row in torch.nonzero(done).flatten().tolist():
                found[int(source[row])] = ended.best(row, n_best, end)
            kept = torch.nonzero(~done).flatten()
            if not len(kept):
                break
            state = select(state, (kept[:, None] * beam + torch.arange(beam, device=device)).flatten())
            memory, ended = select(memory, kept), _Ended(*(tensor[kept] for tensor in ended))
            source, max_lengths, done = source[kept], max_lengths[kept], done[kept]
            parent, tokens, live, written = parent[kept], tokens[kept], live[kept], written[kept]
        if beam > 1:
            state = select(state, (torch.arange(len(parent), device=device)[:, None] * beam + parent).flatten())
    return found


@torch.inference_mode()
def sample(
    advance: Advance,
    state: State,
    memory: State,
    max_lengths: Tensor,
    count: int,
    begin: int,
    end: int,
    unwritten: Sequence[int] = (),
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[list[Hypothesis]]:
    """As `beam_search`, but drawn: `count` hypotheses a source, each by itself; their score is their log-probability,
    and the best comes first. What is drawn for one source does hang on the others: they share the generator.

    Args:
        advance, state, memory, max_lengths, begin, end, unwritten: see `beam_search`.
        count: hypotheses a source.
        temperature, generator: see `choose`.
    """
    batch, device = len(max_lengths), max_lengths.device
    state = select(state, torch.arange(batch, device=device).repeat_interleave(count))
    tokens = torch.full((batch, count), begin, device=device)
    written = torch.full((batch, count, int(max_lengths.max())), end, device=device)
    total = torch.zeros(batch, count, device=device)
    for t in range(written.shape[2]):
        logits, state = advance(tokens, state, memory)
        log_p = torch.log_softmax(logits.float(), dim=-1)
        allowed = log_p.clone()
        allowed[..., list(unwritten)] = -torch.inf
        chosen = choose(allowed.flatten(0, 1), temperature, generator=generator).view(batch, count)
        stopped = (max_lengths <= t)[:, None] | ((tokens == end) if t else torch.zeros_like(tokens, dtype=torch.bool))
        tokens = chosen.masked_fill(stopped, end)
        total += log_p.gather(2, tokens[..., None]).squeeze(2).masked_fill(stopped, 0)
        written[:, :, t] = tokens
        if bool((tokens == end).all()):
            break
    found = []
    for rows, scores in zip(written.tolist(), total.tolist(), strict=True):
        drawn = [(score, [*row, end]) for row, score in zip(rows, scores, strict=True)]
        drawn.sort(key=lambda pair: -pair[0])
        found.append([Hypothesis(row[: row.index(end)], score, score) for score, row in drawn])
    return found


class _Ended(NamedTuple):
    """The best hypotheses of each source that have ended.

    Attributes:
        scores: (batch, beam), the best first; -inf where there is none.
        log_probabilities: (batch, beam).
        tokens: (batch, beam, time), the end past theirs.
        number: (batch,) of int: how many have ended, those among them that better ones have driven out.
    """

    scores: Tensor
    log_probabilities: Tensor
    tokens: Tensor
    number: Tensor

    @classmethod
    def none(cls, written: Tensor) -> "_Ended":
        nothing = torch.full(written.shape[:2], -torch.inf, device=written.device)
        return cls(nothing, nothing, written, torch.zeros_like(written[:, 0, 0]))

    def joined(self, tokens: Tensor, log_probabilities: Tensor, penalty: float, which: Tensor) -> "_Ended":
        """With those of the candidates `which`, (batch, candidates); tokens (batch, candidates, time)."""
        which = which & (log_probabilities > -torch.inf)
        scores = (log_probabilities / penalty).masked_fill(~which, -torch.inf)
        best, place = torch.cat([self.scores.to(scores.dtype), scores], 1).topk(self.scores.shape[1], dim=1)
        logs = torch.cat([self.log_probabilities.to(scores.dtype), log_probabilities], 1).gather(1, place)
        written = torch.cat([self.tokens, tokens], 1).gather(1, place[..., None].expand_as(self.tokens))
        return _Ended(best, logs, written, self.number + which.sum(1))

    def best(self, row: int, count: int, end: int) -> list[Hypothesis]:
        found = []
        for score, log_probability, tokens in zip(
            self.scores[row, :count].tolist(),
            self.log_probabilities[row, :count].tolist(),
            self.tokens[row, :count].tolist(),
            strict=True,
        ):
            if score > -math.inf:
                tokens = [*tokens, end]
                found.append(Hypothesis(tokens[: tokens.index(end)], log_probability, score))
        return found or [Hypothesis([], math.nan, math.nan)]  # of a model that says nothing but NaN
