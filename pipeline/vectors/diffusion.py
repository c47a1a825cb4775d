"""Denoising diffusion: p(x | y) through how well noise is told from a tweet when the class is known. Generative.

    x_t = α_t x + σ_t ε,    α_t² = sigmoid(-γ_t), σ_t² = sigmoid(γ_t),    γ_t linear in t from γ_0 to γ_1
    minimise E ‖ε - ε̂(x_t, t, y)‖²
    log p(x | y) ≥ -(γ_1 - γ_0)/2 E_{t, ε} ‖ε - ε̂(x_t, t, y)‖² + terms without y

The variational bound in continuous time (Kingma et al. 2021, https://arxiv.org/abs/2107.00630): with log signal-to-noise
linear in t it weighs all times alike. The gap is that of the noise left at t = 0, and of a denoiser that is not the best; it
closes as γ_0 falls, γ_1 rises and ε̂ comes to E[ε | x_t, y]. Classified by the bound (Li et al. 2023,
https://arxiv.org/abs/2303.16203), both classes at the same times and noise.
"""

import itertools
import math

import torch
from pydantic import Field
from torch import distributions

from pipeline.vectors.descent import DescentParams, Network, NetworkOnVectors, both_classes, mlp, one_hot, spread_evenly

ROWS = 4096
"""Of the network's input at once: many draws of few tweets, or few of many."""


class DiffusionParams(DescentParams):
    log_noise_to_signal: tuple[float, float] = Field((-5.0, 5.0), strict=False)
    """γ_0 and γ_1, at the ends of time: the smaller the first and the larger the second, the smaller the gap of the bound."""
    draws: int = Field(256, ge=1)
    """Pairs of a time and a noise that the expectation is taken over; best a power of two."""


class Diffusion(Network):
    def __init__(self, params: DiffusionParams) -> None:
        super().__init__()
        self.dimensions, self.draws = params.dimensions, params.draws
        self.first, self.last = params.log_noise_to_signal
        self.network = mlp(params.dimensions + 1 + 2, params.dimensions, params.width, params.depth)

    def noised(self, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """x_t of x and noise, shape (n, d), at times of shape (n,)."""
        gamma = (self.first + (self.last - self.first) * t)[..., None]
        return torch.sigmoid(-gamma).sqrt() * x + torch.sigmoid(gamma).sqrt() * noise

    def denoise(self, x_t: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """ε̂(x_t, t, y), shape (n, d)."""
        return self.network(torch.cat([x_t, 2 * t[..., None] - 1, one_hot(y)], dim=-1))

    def errors(self, x: torch.Tensor, y: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """‖ε - ε̂‖², shape (n,); or for many draws at once, with all shapes (draws, n, …)."""
        return (noise - self.denoise(self.noised(x, t, noise), t, y)).square().sum(dim=-1)

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # times spread evenly over the batch: the same expectation with less variance
        t = (torch.rand(()) + torch.randperm(len(x)) / len(x)) % 1
        return self.errors(x, y, t.to(x), torch.randn(x.shape).to(x))

    @torch.no_grad()
    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """The whole bound, with the terms without y: log p(x | x_0) and the divergence of x_1 from noise."""
        points = spread_evenly(self.draws, 1 + self.dimensions).to(x)
        times, noises = points[:, 0], torch.special.ndtri(points[:, 1:])
        total = torch.zeros(len(x), 2).to(x)
        at_once = max(1, ROWS // max(1, len(x)))
        for t, noise in zip(times.split(at_once), noises.split(at_once), strict=True):
            shape = (len(t), len(x))
            now, drawn, here = t[:, None].expand(shape), noise[:, None].expand(*shape, -1), x.expand(*shape, -1)
            errors = [self.errors(here, y.expand(shape), now, drawn).sum(dim=0) for y in both_classes(x)]
            total += torch.stack(errors, dim=1)
        # E log p(x | x_0) for p(x | x_0) = N(x_0 / α_0, σ_0² / α_0² I)
        reconstruction = torch.tensor(self.dimensions * -0.5 * (math.log(2 * math.pi) + self.first + 1))
        # KL(N(α_1 x, σ_1² I) ‖ N(0, I))
        gamma, standard = torch.tensor(self.last), distributions.Normal(torch.zeros_like(x), 1.0)
        end = distributions.Normal(torch.sigmoid(-gamma).sqrt() * x, torch.sigmoid(gamma).sqrt())
        shared = reconstruction.to(x) - distributions.kl_divergence(end, standard).sum(dim=1)
        return shared[:, None] - (self.last - self.first) / 2 * total / self.draws

    def sample(self, y: torch.Tensor) -> torch.Tensor:
        """Noise that loses its noise step by step, in as many steps as the bound has times: shape (n, d).

        x_s ~ N(α_s/α_t (x_t - c σ_t ε̂), c σ_s² I) with c = 1 - exp(γ_s - γ_t) for each s < t (ancestral sampling; Kingma et
        al. 2021, appendix A.4), and in the end x ~ p(x | x_0).
        """
        gammas = torch.linspace(self.last, self.first, self.draws + 1)
        x_t = torch.randn(len(y), self.dimensions).to(y.device)
        for now, then in itertools.pairwise(gammas):
            t = ((now - self.first) / (self.last - self.first)).expand(len(y)).to(x_t)
            share = -torch.expm1(then - now)
            guess = x_t - share * torch.sigmoid(now).sqrt() * self.denoise(x_t, t, y)
            mean = (torch.sigmoid(-then) / torch.sigmoid(-now)).sqrt() * guess
            x_t = mean + (share * torch.sigmoid(then)).sqrt() * torch.randn(x_t.shape).to(x_t)
        noise = torch.randn(x_t.shape).to(x_t)
        return x_t / torch.sigmoid(-gammas[-1]).sqrt() + math.exp(self.first / 2) * noise


class DiffusionOnVectors(NetworkOnVectors[DiffusionParams]):
    samples = True
    network = Diffusion
    noisy = True


FAMILY = DiffusionOnVectors
