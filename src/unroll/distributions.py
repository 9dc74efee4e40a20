"""What a forecast says of a value: a distribution, quantiles, or a point; its loss, its mean and how to draw from it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import NegativeBinomial as TorchNegativeBinomial
from torch.distributions import Normal

from unroll.noise import uniform

_SMALLEST = 1e-4  # of a scale, in the unit of what was normalized: a density cannot grow without end


class Draws(NamedTuple):
    """Names the noise that a sample is made of.

    Attributes:
        seed: of the run.
        paths: (paths, 1, 1) of int64: numbers of the sample paths.
        rows: (1, batch, 1) of int64: numbers of the windows.
        step: of the forecast, from 0.
        targets: (targets,) of int64.
    """

    seed: int
    paths: Tensor
    rows: Tensor
    step: int
    targets: Tensor

    def uniform(self, which: int) -> Tensor:
        """(paths, batch, targets) in (0, 1); `which` tells apart several for one value."""
        step = torch.tensor(self.step * 2 + which, device=self.paths.device)
        return uniform(self.seed, self.rows, step, self.paths, self.targets)


class Output(ABC):
    """From what a model's last layer says to a statement about a value y.

    A subclass says how many numbers it needs of a value (`size`). These, `raw`, speak of the value in a unit of its own:
    (y - loc) / scale; all that goes in or out is in the unit of y.
    """

    size: int
    is_distribution = True

    @abstractmethod
    def parameters(self, raw: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        """raw: (..., size); loc, scale: (...) -> what the other methods take."""

    @abstractmethod
    def loss(self, parameters: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """(...): what is made small."""

    @abstractmethod
    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """(...): the expected value."""

    @abstractmethod
    def draw(self, parameters: tuple[Tensor, ...], draws: Draws) -> Tensor:
        """A value from each: parameters (paths, batch, targets) or what broadcasts to it -> (paths, batch, targets)."""


class Gaussian(Output):
    """A normal distribution: mean mu and standard deviation sigma; its negative log-likelihood."""

    size = 2

    def parameters(self, raw: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        mu, sigma = raw.unbind(-1)
        return loc + scale * mu, scale * (F.softplus(sigma) + _SMALLEST)

    def loss(self, parameters: tuple[Tensor, ...], y: Tensor) -> Tensor:
        return -Normal(parameters[0], parameters[1], validate_args=False).log_prob(y)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0]

    def draw(self, parameters: tuple[Tensor, ...], draws: Draws) -> Tensor:
        mu, sigma = parameters
        return mu + sigma * math.sqrt(2) * torch.erfinv(2 * draws.uniform(0) - 1)


class StudentT(Output):
    """Student's t distribution with nu > 2 degrees of freedom, location mu and scale sigma: heavier tails."""

    size = 3

    def parameters(self, raw: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        nu, mu, sigma = raw.unbind(-1)
        return 2 + F.softplus(nu) + _SMALLEST, loc + scale * mu, scale * (F.softplus(sigma) + _SMALLEST)

    def loss(self, parameters: tuple[Tensor, ...], y: Tensor) -> Tensor:
        # torch's own makes a chi-squared distribution with it, whose check waits for the device.
        nu, mu, sigma = parameters
        constant = torch.lgamma(nu / 2) - torch.lgamma((nu + 1) / 2) + 0.5 * torch.log(math.pi * nu) + torch.log(sigma)
        return constant + (nu + 1) / 2 * torch.log1p(((y - mu) / sigma) ** 2 / nu)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[1]

    def draw(self, parameters: tuple[Tensor, ...], draws: Draws) -> Tensor:
        nu, mu, sigma = parameters
        # Bailey 1994: sqrt(nu (u^(-2/nu) - 1)) cos(2 pi v) is Student's t.
        radius = torch.sqrt(nu * torch.expm1(-2 / nu * torch.log(draws.uniform(0))))
        return mu + sigma * radius * torch.cos(2 * math.pi * draws.uniform(1))


class NegativeBinomial(Output):
    """Counts 0, 1, 2, ... of mean mu and variance mu + alpha mu^2 (Salinas et al. 2020, section 3.1).

    Its draws come from torch's generator: another batch, other draws.
    """

    size = 2

    def parameters(self, raw: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        mu, alpha = raw.unbind(-1)
        return scale * (F.softplus(mu) + _SMALLEST), (F.softplus(alpha) + _SMALLEST) / torch.sqrt(scale)

    def loss(self, parameters: tuple[Tensor, ...], y: Tensor) -> Tensor:
        # With a small alpha two numbers of the size of log Gamma(1 / alpha) all but cancel: float32 would be left with noise.
        wide = torch.float32 if y.device.type == "mps" else torch.float64
        mu, alpha = (part.to(wide) for part in parameters)
        nats = -TorchNegativeBinomial(1 / alpha, logits=torch.log(mu * alpha), validate_args=False).log_prob(y.to(wide))
        return nats.to(parameters[0].dtype)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0]

    def draw(self, parameters: tuple[Tensor, ...], draws: Draws) -> Tensor:
        mu, alpha = torch.broadcast_tensors(*parameters)
        shape = (draws.paths.shape[0], draws.rows.shape[1], len(draws.targets))
        mu, alpha = mu.expand(shape), alpha.expand(shape)
        return torch.poisson(torch._standard_gamma(1 / alpha) * alpha * mu)


class Quantiles(Output):
    """The quantiles at fixed levels, in order whatever the model says; the sum of their pinball losses.

    Between them the distribution is taken as uniform, and as ending at the outermost.
    """

    levels = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
    size = len(levels)

    def parameters(self, raw: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        middle = len(self.levels) // 2
        median = raw[..., middle : middle + 1]
        above = median + torch.cumsum(F.softplus(raw[..., middle + 1 :]), dim=-1)
        below = median - torch.cumsum(F.softplus(raw[..., :middle].flip(-1)), dim=-1)
        return (loc[..., None] + scale[..., None] * torch.cat([below.flip(-1), median, above], dim=-1),)

    def loss(self, parameters: tuple[Tensor, ...], y: Tensor) -> Tensor:
        (q,) = parameters
        tau = torch.tensor(self.levels, dtype=q.dtype, device=q.device)
        error = y[..., None] - q
        return torch.maximum(tau * error, (tau - 1) * error).sum(-1)

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        (q,) = parameters
        tau = torch.tensor((0.0, *self.levels, 1.0), dtype=q.dtype, device=q.device)
        q = torch.cat([q[..., :1], q, q[..., -1:]], dim=-1)
        return ((q[..., 1:] + q[..., :-1]) / 2 * tau.diff()).sum(-1)

    def draw(self, parameters: tuple[Tensor, ...], draws: Draws) -> Tensor:
        (q,) = parameters
        u = draws.uniform(0)
        tau = torch.tensor(self.levels, dtype=u.dtype, device=u.device)
        q = q.expand(*u.shape, self.size)
        after = torch.searchsorted(tau, u).clamp(1, self.size - 1)
        share = ((u - tau[after - 1]) / (tau[after] - tau[after - 1])).clamp(0, 1)
        low, high = (q.gather(-1, place[..., None]).squeeze(-1) for place in (after - 1, after))
        return low + share * (high - low)


class Point(Output):
    """One value, and no word on how sure it is. `mse`: its mean squared error is made small; `mae`: the absolute; `huber`:
    squared up to 1, absolute from there."""

    size = 1
    is_distribution = False

    def __init__(self, error: Literal["mse", "mae", "huber"]) -> None:
        errors: dict[str, Any] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}
        self.error = errors[error]

    def parameters(self, raw: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        return (loc + scale * raw.squeeze(-1),)

    def loss(self, parameters: tuple[Tensor, ...], y: Tensor) -> Tensor:
        return self.error(parameters[0], y, reduction="none")

    def mean(self, parameters: tuple[Tensor, ...]) -> Tensor:
        return parameters[0]

    def draw(self, parameters: tuple[Tensor, ...], draws: Draws) -> Tensor:
        return parameters[0]


OutputName = Literal["gaussian", "student_t", "negative_binomial", "quantiles", "mse", "mae", "huber"]


def make_output(name: OutputName) -> Output:
    """The output of this name."""
    if name in ("mse", "mae", "huber"):
        return Point(name)
    kinds: dict[str, Callable[[], Output]] = {
        "gaussian": Gaussian,
        "student_t": StudentT,
        "negative_binomial": NegativeBinomial,
        "quantiles": Quantiles,
    }
    return kinds[name]()
