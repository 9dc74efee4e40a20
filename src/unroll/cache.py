"""The continuous cache: what was just read may come again (Grave et al. 2017, "Improving Neural Language Models with a
Continuous Cache")."""

from typing import NamedTuple

import torch
from torch import Tensor


class Seen(NamedTuple):
    """What was read lately.

    Attributes:
        outputs: (lanes, places, features): what the model put out before each word.
        words: (lanes, places) of int64: the words; -1 where there was none yet.
    """

    outputs: Tensor
    words: Tensor


class Cache:
    """Mixes what the model expects with what it has just seen (equations 2 and 4).

        p(w) = (1 - weight) p_model(w) + weight p_cache(w),     p_cache(w) ~ sum_{i: w_i = w} exp(sharpness h_t . h_i)

    h_i is the output after which w_i came; the sum is over the last `size` words.

    Args:
        size, weight, sharpness: see above.
    """

    def __init__(self, size: int, weight: float, sharpness: float) -> None:
        self.size = size
        self.weight = weight
        self.sharpness = sharpness

    def costs(self, of_model: Tensor, h: Tensor, wanted: Tensor, seen: Seen | None) -> tuple[Tensor, Seen]:
        """What each word of a window costs.

        Args:
            of_model: (time, lanes): log p_model of each.
            h: (time, lanes, features): the output before each.
            wanted: (time, lanes) of int64: the words.
            seen: what was returned for the window before; None: nothing was read yet.

        Returns:
            -log p, (time, lanes), and what the next window has seen.
        """
        time, lanes, features = h.shape
        h, wanted = h.transpose(0, 1), wanted.transpose(0, 1)
        if seen is None:
            seen = Seen(h.new_zeros(lanes, self.size, features), wanted.new_full((lanes, self.size), -1))
        outputs = torch.cat([seen.outputs, h], dim=1)
        words = torch.cat([seen.words, wanted], dim=1)
        # Of step t the places t to t + size - 1 are the last `size` before it.
        place = torch.arange(self.size + time, device=h.device)
        step = torch.arange(time, device=h.device)[:, None]
        there = (place >= step) & (place < step + self.size) & (words >= 0)[:, None]
        scores = (self.sharpness * h @ outputs.transpose(1, 2)).masked_fill(~there, -torch.inf)
        again = words[:, None] == wanted[..., None]
        of_cache = scores.masked_fill(~again, -torch.inf).logsumexp(-1) - scores.logsumexp(-1)
        of_cache = of_cache.nan_to_num(nan=-torch.inf, neginf=-torch.inf).transpose(0, 1)  # nothing was seen yet
        nothing = ~there.any(-1).transpose(0, 1)
        weight = torch.where(nothing, 0.0, self.weight)
        mixed = torch.logaddexp((1 - weight).log() + of_model, weight.log() + of_cache)
        return -mixed, Seen(outputs[:, -self.size :], words[:, -self.size :])
