"""Variational autoencoder: p(x | y) through a latent z, bounded from below. Generative.

    log p(x | y) ≥ E_q(z | x, y) [log p(x | z, y)] - KL(q(z | x, y) ‖ p(z))        the ELBO (Kingma & Welling 2014)
    log p(x | y) ≥ E log 1/K Σ_k p(x, z_k | y) / q(z_k | x, y)                     with K draws (Burda et al. 2016)

Trained by the first, classified by the second, which is tighter; both classes see the same noise. The gap of the ELBO is
KL(q(z | x, y) ‖ p(z | x, y)), that of the other falls with K. https://arxiv.org/abs/1312.6114, https://arxiv.org/abs/1509.00519
"""

import math

import torch
from pydantic import Field
from torch import distributions, nn

from pipeline.vectors.descent import DescentParams, Network, NetworkOnVectors, both_classes, mlp, one_hot, spread_evenly


class VaeParams(DescentParams):
    latent: int = Field(8, ge=1)
    """Dimensions of z."""
    importance_draws: int = Field(64, ge=1)
    """K; best a power of two."""


class Vae(Network):
    """q(z | x, y) and p(x | z, y) are Gaussians with diagonal covariances; that of x depends on the class alone."""

    def __init__(self, params: VaeParams) -> None:
        super().__init__()
        self.latent, self.draws = params.latent, params.importance_draws
        self.encoder = mlp(params.dimensions + 2, 2 * params.latent, params.width, params.depth)
        self.decoder = mlp(params.latent + 2, params.dimensions, params.width, params.depth)
        self.log_scale = nn.Parameter(torch.zeros(2, params.dimensions))

    def posterior(self, x: torch.Tensor, y: torch.Tensor) -> distributions.Normal:
        """q(z | x, y)"""
        mean, log_scale = self.encoder(torch.cat([x, one_hot(y)], dim=-1)).chunk(2, dim=-1)
        return distributions.Normal(mean, log_scale.clamp(-6, 3).exp())

    def likelihood(self, z: torch.Tensor, y: torch.Tensor) -> distributions.Normal:
        """p(x | z, y) of z, shape (draws, n, latent)."""
        label = one_hot(y).expand(*z.shape[:-1], 2)
        return distributions.Normal(self.decoder(torch.cat([z, label], dim=-1)), self.log_scale[y].clamp(-4, 3).exp())

    def elbo(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """By one draw of z, and the divergence in closed form: shape (n,)."""
        q = self.posterior(x, y)
        z = q.rsample()
        prior = distributions.Normal(torch.zeros_like(z), 1.0)
        return self.likelihood(z, y).log_prob(x).sum(-1) - distributions.kl_divergence(q, prior).sum(-1)

    def importance_bound(self, x: torch.Tensor, y: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """From standard normal noise of shape (K, n or 1, latent): shape (n,)."""
        q = self.posterior(x, y)
        z = q.loc + q.scale * noise
        prior = distributions.Normal(torch.zeros_like(z), 1.0)
        # log p(x, z | y) / q(z | x, y), shape (K, n)
        weights = self.likelihood(z, y).log_prob(x).sum(-1) + prior.log_prob(z).sum(-1) - q.log_prob(z).sum(-1)
        return weights.logsumexp(dim=0) - math.log(len(noise))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -self.elbo(x, y)

    @torch.no_grad()
    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        noise = torch.special.ndtri(spread_evenly(self.draws, self.latent)).to(x)[:, None]  # the same for every row
        return torch.stack([self.importance_bound(x, y, noise) for y in both_classes(x)], dim=1)

    def sample(self, y: torch.Tensor) -> torch.Tensor:
        """x ~ p(x | z, y) for z ~ p(z), shape (n, d)."""
        z = torch.randn(len(y), self.latent).to(self.log_scale)
        return self.likelihood(z, y).sample()


class VaeOnVectors(NetworkOnVectors[VaeParams]):
    samples = True
    network = Vae
    noisy = True


FAMILY = VaeOnVectors
