"""The loop that all networks over embeddings are fitted by: minibatches, AdamW, the epoch that held-out rows like best."""

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from sklearn.pipeline import Pipeline
from torch import nn
from tqdm import tqdm

from pipeline.contracts import InputError
from pipeline.device import Device, choose_device, or_auto
from pipeline.fit.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds, read_rule, write_rule
from pipeline.fit.model_files import read_tensors, write_estimator, write_tensors
from pipeline.fit.subsets import split_by_group
from pipeline.vectors.on_vectors import OnVectors
from pipeline.vectors.space import SPACE, SpaceParams, fit_space, fitting, read_space, vectors


class DescentParams(SpaceParams):
    width: int = Field(128, ge=1)
    """Of each hidden layer."""
    depth: int = Field(2, ge=1)
    """Hidden layers."""
    epochs: int = Field(40, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    validation: float = Field(0.1, gt=0, lt=0.5)
    """Share of the training rows, by group, on which the best epoch and the temperature of Bayes' rule are chosen.

    The network never learns from them, its rivals do. To fit it to all rows for as many epochs took 1.5 to 1.8 times as long on
    the sample: vae lost 1.1 points of accuracy, diffusion won 1.2, flow_matching 0.3, and all three lost in log loss.
    """
    device: Device = "cpu"


class Network(nn.Module, ABC):
    """A family's network; x is (n, d), y (n,) of 0 and 1."""

    @abstractmethod
    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """What training minimises for each row, shape (n,)."""

    @abstractmethod
    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """log p(x | y), or a bound on it, for y = 0 and y = 1: shape (n, 2)."""

    def sample(self, y: torch.Tensor) -> torch.Tensor:
        """A row of each label in y, shape (n, d); of families that have `samples`."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


@dataclass(frozen=True)
class Fitted:
    """A fitted family: vectors to its space, there to log-densities, these to probabilities."""

    space: Pipeline
    network: Network
    rule: BayesRule


def mlp(inputs: int, outputs: int, width: int, depth: int) -> nn.Sequential:
    """A network of `depth` hidden layers with smooth activations, so that it has a divergence everywhere."""
    sizes = [inputs, *[width] * depth]
    hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))


def one_hot(y: torch.Tensor) -> torch.Tensor:
    """Labels of shape (n,) as (n, 2) of 0 and 1."""
    return nn.functional.one_hot(y.long(), 2).float()


def both_classes(x: torch.Tensor) -> list[torch.Tensor]:
    """For rows x: labels that are all 0, and labels that are all 1."""
    return [torch.full((len(x),), label, device=x.device) for label in (0, 1)]


def spread_evenly(draws: int, dimensions: int) -> torch.Tensor:
    """Sobol points inside the unit cube, scrambled by torch's seed, shape (draws, dimensions) (Owen 1997, Ann. Statist. 25)."""
    return torch.quasirandom.SobolEngine(dimensions, scramble=True).draw(draws).clamp(1e-6, 1 - 1e-6)


def descend(
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    held_out: tuple[torch.Tensor, torch.Tensor],
    params: DescentParams,
    seed: int,
) -> None:
    """Minimise the mean loss over rows x, shape (n, d), with labels y; ends with the weights of the best epoch.

    The best is that of the lowest held-out loss, always at the same noise.
    """
    optimizer = torch.optim.AdamW(network.parameters(), params.learning_rate, weight_decay=params.weight_decay)
    steps = params.epochs * -(-len(x) // params.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.learning_rate, total_steps=steps)
    name = type(network).__name__
    best, losses = copy.deepcopy(network.state_dict()), []
    for epoch in tqdm(range(params.epochs), desc=f"  {name}", unit="epoch", leave=False):
        torch.manual_seed(seed + epoch)
        network.train()
        for rows in torch.randperm(len(x)).split(params.batch_size):
            loss = network.loss(x[rows], y[rows]).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        network.eval()
        torch.manual_seed(seed)
        with torch.no_grad():
            losses.append(network.loss(*held_out).mean().item())
        if not np.isfinite(losses[-1]):
            raise InputError(f"{name}: training diverged in epoch {epoch + 1}; lower learning_rate")
        if losses[-1] == min(losses):
            best = copy.deepcopy(network.state_dict())
    network.load_state_dict(best)


def log_densities(network: Network, x: torch.Tensor, seed: int = 0, rows: int = 1000) -> np.ndarray:
    """log p(x | y) of vectors (n, d) in the space, shape (n, 2), so many rows at a time, all with the noise of this seed."""
    found = []
    network.eval()
    with torch.random.fork_rng():
        for part in x.split(rows):
            torch.manual_seed(seed)
            found.append(network.log_density(part).detach().cpu().double().numpy())
    return np.concatenate(found)


OwnDescent = TypeVar("OwnDescent", bound=DescentParams)


class NetworkOnVectors(OnVectors[OwnDescent]):
    """A family of networks, which learn from nine tenths of the rows and take epoch and temperature from the rest."""

    school = "generative"
    network: ClassVar[Callable[..., Network]]
    """From params to a network."""
    holds_prior: ClassVar[bool] = False
    """Whether its ratio of densities is one of p(y | x), which Bayes' rule must not multiply by p(y) again."""
    noisy: ClassVar[bool] = False
    """Whether its densities are estimated by drawn noise."""

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> Fitted:
        """Space, network and temperature, of tweets with vectors and labels of shape (n,), -1 for none."""
        torch.manual_seed(seed)
        known = np.flatnonzero(labels >= 0)
        share = self.params.validation
        learnt, held = (known[part] for part in split_by_group(tweets.iloc[known], labels[known], share, seed))
        params = fitting(self.params, len(learnt))
        space = fit_space(vectors(tweets.iloc[learnt]), labels[learnt], params)
        near_held = tweets["group"].isin(tweets["group"].iloc[held]).to_numpy()
        learnt = np.append(learnt, np.flatnonzero((labels < 0) & ~near_held))
        device = choose_device(params.device)
        x = torch.tensor(space.transform(vectors(tweets)), dtype=torch.float32, device=device)
        y = torch.tensor(labels, device=device)
        network = type(self).network(params).to(device)
        descend(network, x[learnt], y[learnt], (x[held], y[held]), params, seed)
        prior = 0.0 if self.holds_prior else prior_log_odds(labels[known])
        rule = fit_bayes_rule(log_densities(network, x[held]), labels[held], prior)
        return Fitted(space, network, rule)

    def predict(self, model: Fitted, tweets: pd.DataFrame, seed: int = 0) -> np.ndarray:
        """P(target = 1) of each tweet, shape (n,); the seed is that of the noise, where a density is estimated by noise."""
        x = torch.tensor(model.space.transform(vectors(tweets)), dtype=torch.float32, device=model.network.device)
        return model.rule(log_densities(model.network, x, seed))

    def parameters(self, model: Fitted) -> int:
        return sum(parameter.numel() for parameter in model.network.parameters())

    def save(self, model: Fitted, folder: Path) -> None:
        write_estimator(folder / SPACE, model.space)
        write_tensors(folder / "network.safetensors", model.network.state_dict())
        write_rule(folder / "rule.json", model.rule)

    def load(self, folder: Path) -> Fitted:
        """What `save` kept, in as many dimensions as the space has."""
        space, dimensions = read_space(folder)
        network = type(self).network(self.params.model_copy(update={"dimensions": dimensions}))
        network.load_state_dict(read_tensors(folder / "network.safetensors", network.state_dict()))
        device = choose_device(or_auto(self.params.device))
        return Fitted(space, network.to(device).eval(), read_rule(folder / "rule.json"))

    def sample(self, model: Fitted, label: int, n: int, seed: int) -> np.ndarray:
        """`n` samples of a class by the network's `sample`, in the family's space: shape (n, d). The same for the same seed."""
        model.network.eval()
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            drawn = model.network.sample(torch.full((n,), label, device=model.network.device))
        return drawn.cpu().double().numpy()

    def hangs_on_noise(self, train: pd.DataFrame, scores: np.ndarray, models: list[Fitted]) -> float | None:
        if not self.noisy:
            return None
        turned = []
        for model, (_, rows) in zip(models, train.reset_index(drop=True).groupby("fold"), strict=True):
            decided = scores[rows.index] > 0.5
            turned += [(self.predict(model, rows, seed) > 0.5) != decided for seed in (1, 2, 3)]
        return float(np.concatenate(turned).mean())
