"""Flow matching: a velocity field that carries noise to the tweets of a class. Generative, with an exact log-density.

    minimise E ‖v(x_t, t, y) - (x_1 - x_0)‖²    where x_0 ~ N(0, I), x_1 a tweet of class y, x_t = (1 - t) x_0 + t x_1
    log p(x_1 | y) = log N(x_0; 0, I) - ∫_0^1 div v(x_t, t, y) dt    along dx/dt = v, followed back from x_1

(Lipman et al. 2023, https://arxiv.org/abs/2210.02747, straight paths; the density by Chen et al. 2018,
https://arxiv.org/abs/1806.07366.) The divergence is exact, not estimated, since there are few dimensions: of the flow that was
learnt this is the density itself and no bound, but for the steps of the integration.
"""

from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field
from torch import nn

from pipeline.vectors.descent import DescentParams, Network, NetworkOnVectors, both_classes, mlp, one_hot


class FlowMatchingParams(DescentParams):
    steps: int = Field(10, ge=1)
    """Of the integration, each by the classical Runge-Kutta method."""


def runge_kutta(
    field: Callable[[torch.Tensor, Any], tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor, t: Any, h: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """A step of length h from x at time t along a field of velocity and divergence: the new x, and ∫ div dt."""
    v1, d1 = field(x, t)
    v2, d2 = field(x + h / 2 * v1, t + h / 2)
    v3, d3 = field(x + h / 2 * v2, t + h / 2)
    v4, d4 = field(x + h * v3, t + h)
    return x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4), h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)


class FlowMatching(Network):
    def __init__(self, params: FlowMatchingParams) -> None:
        super().__init__()
        self.dimensions, self.steps = params.dimensions, params.steps
        self.network = mlp(params.dimensions + 1 + 2, params.dimensions, params.width, params.depth)

    def velocity(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """v(x, t, y) of x (n, d), t (n,), y (n,): shape (n, d)."""
        return self.network(torch.cat([x, t[..., None], one_hot(y)], dim=-1))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        noise, t = torch.randn(x.shape).to(x), torch.rand(len(x)).to(x)
        between = (1 - t)[:, None] * noise + t[:, None] * x
        return (self.velocity(between, t, y) - (x - noise)).square().sum(dim=1)

    def velocity_and_divergence(self, x: torch.Tensor, t: float, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """v and div v = tr ∂v/∂x: shapes (n, d) and (n,).

        The derivative goes through the layers beside the value: for a few tweets that is many times as fast as torch.func's.
        """
        value = torch.cat([x, torch.full((len(x), 1), t).to(x), one_hot(y)], dim=1)
        slope = torch.eye(value.shape[1])[: self.dimensions].to(x)  # ∂value/∂x, a row for each dimension of x
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                slope = slope @ layer.weight.T
            else:  # SiLU, z σ(z)
                gate = torch.sigmoid(value)
                slope = slope * (gate * (1 + value * (1 - gate)))[:, None, :]
            value = layer(value)
        return value, slope.diagonal(dim1=-2, dim2=-1).sum(-1)

    @torch.no_grad()
    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        x, y = x.repeat(2, 1), torch.cat(both_classes(x))
        divergence, h = torch.zeros(len(x)).to(x), 1 / self.steps
        for step in range(self.steps, 0, -1):
            x, lost = runge_kutta(lambda x, t: self.velocity_and_divergence(x, t, y), x, step * h, -h)
            divergence = divergence - lost
        start = torch.distributions.Normal(torch.zeros_like(x), 1.0).log_prob(x).sum(dim=1)
        return (start - divergence).view(2, len(x) // 2).T

    def sample(self, y: torch.Tensor) -> torch.Tensor:
        """Noise carried along dx/dt = v from t = 0 to 1, in the steps of the density: shape (n, d)."""
        x, h = torch.randn(len(y), self.dimensions).to(y.device), 1 / self.steps
        for step in range(self.steps):
            t = torch.full((len(y),), step * h).to(x)
            x, _ = runge_kutta(lambda x, t: (self.velocity(x, t, y), torch.zeros(())), x, t, h)
        return x


class FlowMatchingOnVectors(NetworkOnVectors[FlowMatchingParams]):
    samples = True
    network = FlowMatching


FAMILY = FlowMatchingOnVectors
