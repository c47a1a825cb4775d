"""Semi-supervised GAN: a discriminator of three classes, the two real ones and the forged. Generative, without a density.

    D minimises -log D(y | x) on labelled, -log (1 - D(forged | x)) on all real tweets, -log D(forged | G(z)) on forged ones
    G minimises -log (1 - D(forged | G(z))) + ‖E f(x) - E f(G(z))‖²    where f are D's hidden features
    p(y | x) = D(y | x) / (1 - D(forged | x))

(Salimans et al. 2016, https://arxiv.org/abs/1606.03498; on text GAN-BERT, Croce et al. 2020,
https://aclanthology.org/2020.acl-main.191.) The generator has no p(x | y) to put into Bayes' rule: what it forges teaches the
discriminator where tweets lie, which can help when few of them have labels. With K classes, the odds of the
real ones are those of their logits.
"""

import torch
from pydantic import Field
from torch import nn

from pipeline.vectors.descent import DescentParams, Network, NetworkOnVectors, mlp

FORGED = 2
POOL = 20
"""Rows forged for each that is taken for a class."""


class GanParams(DescentParams):
    latent: int = Field(16, ge=1)
    """Numbers that the generator makes a tweet of."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Of what the discriminator sees."""


class Gan(Network):
    """Both networks, trained by one loss each that leaves the other as it is."""

    def __init__(self, params: GanParams) -> None:
        super().__init__()
        self.latent = params.latent
        self.generator = mlp(params.latent, params.dimensions, params.width, params.depth)
        *features, decide = mlp(params.dimensions, 3, params.width, params.depth)
        self.features = nn.Sequential(nn.Dropout(params.dropout), *features)
        self.decide = decide

    def log_discriminator(self, x: torch.Tensor) -> torch.Tensor:
        """log D(· | x): shape (n, 3)."""
        return self.decide(self.features(x)).log_softmax(dim=1)

    def forge(self, n: int) -> torch.Tensor:
        return self.generator(torch.randn(n, self.latent).to(self.device))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Of labelled rows; rows with y = -1 have no label and tell only that they are real."""
        if not self.training:
            return self.of_labels(self.log_discriminator(x), y)
        forged = self.forge(len(x))
        of_real, of_forged = self.log_discriminator(x), self.log_discriminator(forged.detach())
        real = torch.logsumexp(of_real[:, :FORGED], dim=1)
        known = (y >= 0).float().mean().clamp(min=1 / len(y))  # few labels count as much as many
        discriminator = self.of_labels(of_real, y) / known - real - of_forged[:, FORGED]
        return discriminator + self.generator_loss(x, forged)

    @staticmethod
    def of_labels(log_discriminator: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """-log D(y | x, not forged), 0 where y is unknown: shape (n,)."""
        real = log_discriminator[:, :FORGED].log_softmax(dim=1)
        labelled = -real.gather(1, y.long().clamp(min=0)[:, None])[:, 0]
        return torch.where(y >= 0, labelled, 0.0)

    def generator_loss(self, x: torch.Tensor, forged: torch.Tensor) -> torch.Tensor:
        """Its gradient reaches the generator alone: shape ()."""
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        features = {name[9:]: value for name, value in frozen.items() if name.startswith("features.")}
        of_forged = torch.func.functional_call(self.features, features, (forged,))
        with torch.no_grad():
            of_real = self.features(x)
        logits = nn.functional.linear(of_forged, frozen["decide.weight"], frozen["decide.bias"])
        fooled = torch.logsumexp(logits.log_softmax(dim=1)[:, :FORGED], dim=1).mean()
        return (of_real.mean(dim=0) - of_forged.mean(dim=0)).square().sum() - fooled

    @torch.no_grad()
    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """Not one: the logits of the real classes, whose difference is the log-odds of p(y | x), prior included."""
        return self.log_discriminator(x)[:, :FORGED]

    def sample(self, y: torch.Tensor) -> torch.Tensor:
        """Forged rows, shape (n, d). The generator knows no classes: of many, some are drawn by the discriminator's D(y | x).

        That is x ~ p_G(x) D(y | x, not forged) by importance resampling (Rubin 1988); y must be one label throughout.
        """
        forged = self.forge(POOL * len(y))
        belief = self.log_density(forged).softmax(dim=1)[:, y[0]]
        # least float: where the discriminator believes in no row of that class there must be enough to draw all the same
        return forged[torch.multinomial(belief.clamp(min=1e-30), len(y))]


class GanOnVectors(NetworkOnVectors[GanParams]):
    samples = True
    network = Gan
    semi_supervised = True
    holds_prior = True


FAMILY = GanOnVectors
