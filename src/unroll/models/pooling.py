"""From a sequence of outputs to one vector, whatever the sequence's length; and the same from window to window."""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["last", "mean", "max", "attention"]


class Pool(nn.Module):
    """A weighted combination of the outputs of a sequence, of which each window gives a part."""

    @abstractmethod
    def forward(self, y: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Pool one window.

        Args:
            y: (time, batch, features), zero past a sequence's end.
            lengths: (batch,) of int: how many steps each sequence has in this window, 0 to time; None: all have time.

        Returns:
            The vector (batch, features), and the logarithm of its weight (batch,): -inf where there are no steps.
        """

    def combine(self, vectors: Tensor, log_weights: Tensor) -> Tensor:
        """The vector of a whole sequence from those of its windows.

        Args:
            vectors: (windows, batch, features).
            log_weights: (windows, batch).
        """
        return (torch.softmax(log_weights, dim=0).unsqueeze(-1) * vectors).sum(0).to(vectors.dtype)


class Mean(Pool):
    """(1 / T) sum_t y_t."""

    def forward(self, y: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        count = _steps(y, lengths)
        mean = y.sum(0, dtype=count.dtype) / count.clamp(min=1).unsqueeze(-1)
        return mean.to(y.dtype), count.log()


class Max(Pool):
    """max_t y_t, each feature by itself (Collobert et al. 2011)."""

    def forward(self, y: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if lengths is not None:
            y = y.masked_fill(_past_end(y, lengths).unsqueeze(-1), -torch.inf)
        return y.amax(0), _steps(y, lengths).log()

    def combine(self, vectors: Tensor, log_weights: Tensor) -> Tensor:
        return vectors.amax(0)


class Attention(Pool):
    """sum_t a_t y_t with a = softmax_t(v . tanh(W y_t + b)) (Yang et al. 2016, equations 5 to 7).

    Args:
        size: features of y.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.W = nn.Linear(size, size)
        self.v = nn.Linear(size, 1, bias=False)

    def forward(self, y: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        scores = self.v(torch.tanh(self.W(y))).squeeze(-1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if lengths is not None:
            # Not -inf: a sequence without steps in this window would be 0 / 0. Its weight says that it does not count.
            scores = scores.masked_fill(_past_end(y, lengths), torch.finfo(scores.dtype).min)
        log_weight = torch.logsumexp(scores, dim=0)
        if lengths is not None:
            log_weight = log_weight.masked_fill(lengths == 0, -torch.inf)
        a = torch.softmax(scores, dim=0).unsqueeze(-1)
        return (a * y).sum(0).to(y.dtype), log_weight


def _steps(y: Tensor, lengths: Tensor | None) -> Tensor:
    dtype = torch.promote_types(y.dtype, torch.float32)  # in half precision there is no 257
    return y.new_full((y.shape[1],), len(y), dtype=dtype) if lengths is None else lengths.to(dtype)


def _past_end(y: Tensor, lengths: Tensor) -> Tensor:
    """(time, batch) of bool: true where a step lies past the end of its sequence."""
    return torch.arange(len(y), device=y.device)[:, None] >= lengths


def make_pool(pooling: Pooling, size: int) -> Pool | None:
    """What `pooling` combines over time, of outputs with `size` features; None for `last`: nothing."""
    return {"last": None, "mean": Mean(), "max": Max(), "attention": Attention(size)}[pooling]
