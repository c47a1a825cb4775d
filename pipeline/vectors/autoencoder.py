"""Autoencoder: one a class; a tweet belongs to the class whose autoencoder loses less of it. Generative in kind alone.

    minimise E ‖x - d_y(e_y(x))‖²    through a bottleneck
    score(x) = ‖x - d_0(e_0(x))‖² - ‖x - d_1(e_1(x))‖²

This is no density: the error is -log N(x; d(e(x)), I/2) of a Gaussian whose mean has seen x, so it does not integrate to one,
and a wider bottleneck would call everything probable. The linear one is principal components, and its error the log-density of
probabilistic PCA short of the part inside the subspace (Tipping & Bishop 1999). Having no p(x | y), and no p(z) to decode a z
from, it cannot sample. The temperature of Bayes' rule, fitted on
held-out rows, makes probabilities of the difference. (Hinton & Salakhutdinov 2006, https://doi.org/10.1126/science.1127647)
"""

import torch
from pydantic import Field
from torch import nn

from pipeline.vectors.descent import DescentParams, Network, NetworkOnVectors, both_classes, mlp


class AutoencoderParams(DescentParams):
    bottleneck: int = Field(8, ge=1)
    """Numbers that a tweet is squeezed into."""


class Autoencoder(Network):
    def __init__(self, params: AutoencoderParams) -> None:
        super().__init__()
        self.of_class = nn.ModuleList(
            nn.Sequential(
                mlp(params.dimensions, params.bottleneck, params.width, params.depth),
                mlp(params.bottleneck, params.dimensions, params.width, params.depth),
            )
            for _ in (0, 1)
        )

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """‖x - d_y(e_y(x))‖², shape (n,)."""
        errors = torch.stack([(x - autoencoder(x)).square().sum(dim=1) for autoencoder in self.of_class], dim=1)
        return errors.gather(1, y.long()[:, None])[:, 0]

    @torch.no_grad()
    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """Not one: the negative errors, which stand in its place."""
        return torch.stack([-self.loss(x, y) for y in both_classes(x)], dim=1)


class AutoencoderOnVectors(NetworkOnVectors[AutoencoderParams]):
    network = Autoencoder


FAMILY = AutoencoderOnVectors
