"""A linear-chain conditional random field: scores whole sequences of tags (Lafferty, McCallum & Pereira 2001).

    s(x, y) = start[y_1] + sum_t e_t[y_t] + sum_t transitions[y_{t-1}, y_t] + end[y_T]
    p(y | x) = exp s(x, y) / Z(x),   Z(x) = sum over all y' of exp s(x, y')

The scores e_t of each step's tags, the emissions, come from a network that reads x (Lample et al. 2016, section 2).
"""

import itertools
import math

import torch
from torch import Tensor, nn

_NEVER = -1e30  # what breaks a rule adds to a score. Finite: a sum of exponentials of -inf alone has no gradient


class LinearChainCRF(nn.Module):
    """Everything is exact: the partition function by the forward recursion, the best sequence by Viterbi's.

    In all methods `emissions` is (time, batch, tags) in float32 or more, and `lengths` is (batch,) of int, each 1 to time;
    None: all are as long as time. What lies past a sequence's end is not looked at.

    Args:
        tags: number of tags.
        first: (tags,) of bool: which a sequence may begin with; None: any.
        follows: (tags, tags) of bool: follows[i, j], whether j may come right after i; None: any. A sequence that breaks a
            rule has probability 0.
    """

    rules: Tensor
    rules_of_start: Tensor

    def __init__(self, tags: int, first: Tensor | None = None, follows: Tensor | None = None) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        allowed = torch.ones(tags, tags, dtype=torch.bool) if follows is None else follows
        begins = torch.ones(tags, dtype=torch.bool) if first is None else first
        self.register_buffer("rules", ~allowed, persistent=False)
        self.register_buffer("rules_of_start", ~begins, persistent=False)

    def _weights(self, emissions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start, transitions and end in the emissions' type, with `_NEVER` for what is against the rules."""
        start = self.start.to(emissions.dtype).masked_fill(self.rules_of_start, _NEVER)
        transitions = self.transitions.to(emissions.dtype).masked_fill(self.rules, _NEVER)
        return start, transitions, self.end.to(emissions.dtype)

    def score(self, emissions: Tensor, tags: Tensor, lengths: Tensor | None = None) -> Tensor:
        """s(x, y), (batch,), of the sequences `tags`, (time, batch) of int; -inf where one breaks a rule."""
        start, transitions, end = self._weights(emissions)
        within = _within(emissions, lengths)
        tags = torch.where(within, tags, 0)
        each = emissions.gather(2, tags[..., None])[..., 0]
        each = torch.cat([each[:1] + start[tags[0]], each[1:] + transitions[tags[:-1], tags[1:]]])
        last = tags[-1] if lengths is None else tags.gather(0, lengths[None] - 1)[0]
        total = torch.where(within, each, 0.0).sum(0) + end[last]
        return total.masked_fill(total < _NEVER / 10, -math.inf)

    def log_partition(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """log Z(x), (batch,)."""
        *_, alpha = self._alphas(emissions, lengths)
        return torch.logsumexp(alpha + self.end.to(emissions.dtype), -1)

    def _alphas(self, emissions: Tensor, lengths: Tensor | None) -> list[Tensor]:
        """alpha_t[j] = log of the sum over y_1 ... y_{t-1} of exp s(x_1 ... x_t, y_1 ... y_{t-1} j), without the end;
        past a sequence's end it stands still."""
        start, transitions, _ = self._weights(emissions)
        alphas = [start + emissions[0]]
        within = _within(emissions, lengths)
        for t in range(1, len(emissions)):
            alpha = torch.logsumexp(alphas[-1][:, :, None] + transitions, 1) + emissions[t]
            alphas.append(alpha if lengths is None else torch.where(within[t, :, None], alpha, alphas[-1]))
        return alphas

    def messages(self, emissions: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What the forward and the backward recursion tell of each step.

        Returns:
            alpha and beta, (time, batch, tags): the logs of the sums over all tags before a step of exp of their scores with
            its own, and over all tags behind it, the end among them; and log Z, (batch,). Of no meaning past a sequence's
            end.
        """
        _, transitions, end = self._weights(emissions)
        alphas = self._alphas(emissions, lengths)
        within = _within(emissions, lengths)
        betas = [end.expand_as(alphas[0])]
        for t in range(len(emissions) - 1, 0, -1):
            beta = torch.logsumexp(transitions + (emissions[t] + betas[-1])[:, None, :], 2)
            betas.append(beta if lengths is None else torch.where(within[t, :, None], beta, betas[-1]))
        return torch.stack(alphas), torch.stack(betas[::-1]), torch.logsumexp(alphas[-1] + end, -1)

    def log_marginals(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """log p(y_t = j | x), (time, batch, tags); of no meaning past a sequence's end."""
        alpha, beta, log_Z = self.messages(emissions, lengths)
        return alpha + beta - log_Z[:, None]

    def log_run(
        self,
        emissions: Tensor,
        messages: tuple[Tensor, Tensor, Tensor],
        row: int,
        start: int,
        tags: list[int],
        last: bool,
    ) -> Tensor:
        """log p(y_start, y_{start+1}, ... = tags | x) of one sequence, for each tag that may come behind: (tags,); where
        nothing does, (1,).

        Args:
            emissions: as they were given to
            messages: what it returned.
            row: which sequence of the batch.
            start: the first step.
            tags: those of the steps from there on.
            last: whether the sequence ends with them.
        """
        alpha, beta, log_Z = messages
        _, transitions, end = self._weights(emissions)
        total = alpha[start, row, tags[0]] - log_Z[row]
        for t, (before, tag) in enumerate(itertools.pairwise(tags), start + 1):
            total = total + transitions[before, tag] + emissions[t, row, tag]
        behind = start + len(tags)
        if last:
            return (total + end[tags[-1]])[None]
        return total + transitions[tags[-1]] + emissions[behind, row] + beta[behind, row]

    def decode(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The most probable sequence of tags, (time, batch) of int64; past a sequence's end its last tag (Viterbi 1967)."""
        start, transitions, end = self._weights(emissions)
        within = _within(emissions, lengths)
        stay = torch.arange(emissions.shape[2], device=emissions.device)
        best = start + emissions[0]
        origins = []
        for t in range(1, len(emissions)):
            longer, origin = (best[:, :, None] + transitions).max(1)
            best = torch.where(within[t, :, None], longer + emissions[t], best)
            origins.append(torch.where(within[t, :, None], origin, stay))
        path = [(best + end).argmax(-1)]
        for origin in reversed(origins):
            path.append(origin.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1])


def _within(emissions: Tensor, lengths: Tensor | None) -> Tensor:
    """(time, batch) of bool: which steps belong to their sequence."""
    time, batch, _ = emissions.shape
    if lengths is None:
        return torch.ones(time, batch, dtype=torch.bool, device=emissions.device)
    return torch.arange(time, device=emissions.device)[:, None] < lengths
