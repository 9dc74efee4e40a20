"""Attention: what a decoder looks at. Scores of every source position, and the mean of the memory under their softmax."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.errors import UsageError
from unroll.late_gradient import late

_AT_ONCE = 2**24  # numbers of additive attention in memory, where nothing is kept for a backward pass

Score = Literal["additive", "dot", "general"]


class Attention(nn.Module):
    """c = sum_j a_j m_j with a = softmax_j(score(q, m_j)), over the positions j that are no padding.

    Args:
        query_size: features of q.
        memory_size: features of m_j.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.query_size = query_size
        self.memory_size = memory_size

    def keys(self, memory: Tensor) -> Tensor:
        """What scores take of the memory, worked out once: (batch, time, memory_size) -> (batch, time, key_size)."""
        return memory

    @abstractmethod
    def scorer(self, keys: Tensor) -> Callable[[Tensor], Tensor]:
        """Scores over these keys, (batch, time, key_size): a function of queries (batch, queries, query_size) that returns
        (batch, queries, time)."""

    def over(self, keys: Tensor, memory: Tensor, lengths: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A look at the memory, for a loop that looks many times.

        Args:
            keys: as `keys` returned them.
            memory: (batch, time, memory_size).
            lengths: (batch,) of int: positions of the memory that are no padding, at least 1.

        Returns:
            A function of queries (batch, queries, query_size). It returns the contexts (batch, queries, memory_size), and the
            weights (batch, queries, time): they sum to 1 over the positions that are no padding, and are 0 on padding.
        """
        score = self.scorer(keys)
        padding = (torch.arange(memory.shape[1], device=memory.device) >= lengths[:, None])[:, None]

        def look(query: Tensor) -> tuple[Tensor, Tensor]:
            scores = score(query)
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            a = torch.softmax(scores.masked_fill(padding, -torch.inf), dim=-1)
            return torch.bmm(a.to(memory.dtype), memory), a

        return look


class Additive(Attention):
    """score(q, m) = v . tanh(W q + U m + b) (Bahdanau et al. 2015, appendix A.1.2), of query_size units."""

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.W = nn.Linear(query_size, query_size, bias=False)
        self.U = nn.Linear(memory_size, query_size)
        self.v = nn.Parameter(torch.empty(query_size).uniform_(-1, 1) / math.sqrt(query_size))

    def keys(self, memory: Tensor) -> Tensor:
        return self.U(memory)

    def scorer(self, keys: Tensor) -> Callable[[Tensor], Tensor]:
        W = late(self.W.weight)

        def score(query: Tensor) -> Tensor:
            # Not all queries of a long text at once: each takes batch * time * query_size numbers.
            parts = F.linear(query, W).split(max(1, _AT_ONCE // keys.numel()), dim=1)
            return torch.cat([torch.tanh(part[:, :, None] + keys[:, None]) @ self.v for part in parts], dim=1)

        return score


class Dot(Attention):
    """score(q, m) = q . m (Luong et al. 2015, equation 8).

    Raises:
        UsageError: q and m are of different sizes.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        if query_size != memory_size:
            raise UsageError(
                f"task.attention=dot: the decoder has {query_size} units and the encoder's outputs are {memory_size} wide; "
                "make them alike (task.encoder_hidden_size=null does), or take general"
            )

    def scorer(self, keys: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda query: torch.bmm(query, keys.transpose(1, 2))


class General(Attention):
    """score(q, m) = q . W m (Luong et al. 2015, equation 8)."""

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.W = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return self.W(memory)

    def scorer(self, keys: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda query: torch.bmm(query, keys.transpose(1, 2))


def make_attention(score: Score, query_size: int, memory_size: int) -> Attention:
    """Attention with this score."""
    kinds: dict[str, type[Attention]] = {"additive": Additive, "dot": Dot, "general": General}
    return kinds[score](query_size, memory_size)
