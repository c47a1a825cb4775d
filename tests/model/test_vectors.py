"""Densities over embeddings are the densities they say they are, and every family tells two clear classes apart."""

import importlib
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

from pipeline.contracts import InputError, Params, Prepared, read_params, read_yaml
from pipeline.data.embeddings import Embeddings
from pipeline.fit.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds
from pipeline.vectors import diffusion, flow_matching, gan, gaussian, mixture, space, vae

FAMILIES = list(read_yaml(ROOT / "params.yaml")["vectors"])


def params_of(family: str, **changes: object) -> Params:
    params_type = importlib.import_module(f"pipeline.vectors.{family}").FAMILY.params_type
    params = read_params(f"vectors.{family}", params_type, ROOT / "params.yaml")
    known = {name: value for name, value in changes.items() if name in params_type.model_fields}
    return params_type.model_validate({**params.model_dump(), **known})


def family_of(name: str, **changes: object) -> Any:
    return importlib.import_module(f"pipeline.vectors.{name}").FAMILY(params_of(name, **changes))


def two_clouds(n: int = 300, apart: float = 6.0, dimensions: int = 6) -> tuple[pd.DataFrame, np.ndarray]:
    """Tweets of two Gaussian classes, whose means are so far apart along the first axis."""
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.4).astype(int)
    x = rng.normal(size=(n, dimensions))
    x[:, 0] += apart * labels
    return pd.DataFrame({"vector": list(x.astype("float32")), "group": np.arange(n)}), labels


SMALL = {"dimensions": 4, "epochs": 20, "batch_size": 16, "width": 32, "learning_rate": 1e-2}
SMALL |= {"draws": 64, "latent": 2, "bottleneck": 2}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_tells_two_clear_classes_apart(family: str) -> None:
    own, (tweets, labels) = family_of(family, **SMALL), two_clouds()
    model, again = (own.fit(tweets.iloc[:200], labels[:200]) for _ in range(2))
    scores = own.predict(model, tweets.iloc[200:])
    assert ((scores > 0.5) == labels[200:]).mean() >= 0.93
    assert ((scores >= 0) & (scores <= 1)).all()
    assert own.predict(again, tweets.iloc[200:]) == pytest.approx(scores, abs=1e-6)
    assert own.predict(model, tweets.iloc[[250, 210]]) == pytest.approx(scores[[50, 10]], abs=1e-5), "each tweet alone"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_finds_what_is_not_there(family: str) -> None:
    own, (tweets, labels) = family_of(family, **SMALL), two_clouds(apart=0.0)
    scores = own.predict(own.fit(tweets, labels), two_clouds(100, 0.0)[0])
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.15)


# --- the space ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("projection", ["pca", "pls"])
def test_the_space_is_white(projection: str) -> None:
    tweets, labels = two_clouds()
    found = space.fit_space(
        space.vectors(tweets), labels, space.SpaceParams(projection=projection, dimensions=3)
    ).transform(space.vectors(tweets))
    assert np.cov(found.T, ddof=0) == pytest.approx(np.eye(3), abs=0.02 if projection == "pca" else 0.2)
    assert found.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    with pytest.raises(InputError, match="dimensions: 40 of 300 vectors with 6 numbers each"):
        space.fit_space(space.vectors(tweets), labels, space.SpaceParams(projection="pca", dimensions=40))


def test_each_tweet_has_its_own_vector(sample: Prepared) -> None:
    rng = np.random.default_rng(0)
    embeddings = Embeddings(rng.random((len(sample.train), 3)), rng.random((len(sample.test), 3)))
    found = space.with_vectors(sample, embeddings)
    picked = found.train.sample(5, random_state=0)
    assert (space.vectors(picked) == embeddings.train[picked.index]).all()
    assert (space.vectors(found.test) == embeddings.test).all()


# --- Bayes' rule --------------------------------------------------------------------------------------------------------


def test_bayes_rule_is_the_theorem() -> None:
    densities, prior = np.array([[0.02, 0.3], [0.5, 0.1]]), 0.25
    scores = BayesRule(math.log(prior / (1 - prior)))(np.log(densities))
    joint = densities * [1 - prior, prior]
    assert scores == pytest.approx(joint[:, 1] / joint.sum(axis=1))


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(20_000) < 0.3).astype(int)
    x = rng.normal(loc=1.5 * labels)
    honest = np.stack([stats.norm.logpdf(x), stats.norm.logpdf(x, loc=1.5)], axis=1)
    prior = prior_log_odds(labels)
    shift = np.array([0, prior])
    rule = fit_bayes_rule(4 * (honest + shift) - shift, labels, prior)
    assert rule.inverse_temperature == pytest.approx(1 / 4, rel=0.05)


def test_few_labels_leave_bayes_rule_as_it_is() -> None:
    """Two rows that are both decided rightly would make the temperature as low as it can be."""
    certain = np.array([[0.0, -2.0], [-2.0, 0.0]])
    assert 1 < fit_bayes_rule(certain, np.array([0, 1]), 0.0).inverse_temperature < 2


# --- densities with a known answer --------------------------------------------------------------------------------------


def standard_normal(x: torch.Tensor) -> np.ndarray:
    return stats.multivariate_normal(np.zeros(x.shape[1])).logpdf(x.numpy())


def silenced(network: torch.nn.Module) -> torch.nn.Module:
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    return network.eval()


def test_a_gaussian_is_that_of_scipy() -> None:
    tweets, labels = two_clouds()
    family = family_of("gaussian", covariance=["separate"], shrinkage=[0.2])
    model = family.fit(tweets, labels)
    x = space.vectors(tweets)
    log_densities = []
    for label in (0, 1):
        covariance = np.cov(x[labels == label].T)
        shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 6 * np.eye(6)
        log_densities.append(stats.multivariate_normal(x[labels == label].mean(axis=0), shrunk).logpdf(x))
    expected = log_densities[1] - log_densities[0] + math.log(labels.mean() / (1 - labels.mean()))
    found = model.pipeline.decision_function(x)
    assert found == pytest.approx(expected, rel=0.02, abs=0.1)
    assert family.parameters(model) == 2 * 6 + 2 * 21 + 1


def test_a_gaussian_of_few_tweets_in_many_dimensions_is_found() -> None:
    """Six in a hundred such covariances were too much for scipy's default solver; this is one of them."""
    x = np.random.default_rng(28).normal(size=(12, 384))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    variances, axes, covariance = gaussian.SeparateGaussians(solver="eigen", shrinkage=0.6)._solve_eigen(x)
    assert (axes * variances) @ axes.T == pytest.approx(covariance)
    assert (np.diff(variances) <= 0).all()


def test_a_class_whose_tweets_are_nearly_all_one_can_be_fitted() -> None:
    tweets, labels = two_clouds(16)
    tweets.loc[np.flatnonzero(labels)[1:], "group"] = 999
    family = family_of("gaussian")
    model = family.fit(tweets, labels)
    assert ((family.predict(model, tweets) > 0.5) == labels).mean() > 0.8


def test_a_mixture_of_copies_of_few_tweets_warns_nobody() -> None:
    tweets, labels = two_clouds(6)
    tweets, labels = pd.concat([tweets] * 4, ignore_index=True), np.tile([0, 0, 0, 1, 1, 1], 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        mixture.fit_mixtures(tweets, labels, params_of("mixture", dimensions=2), 8, 0, BayesRule(0.0))


def test_one_component_of_a_mixture_is_a_gaussian() -> None:
    tweets, labels = two_clouds()
    model = family_of("mixture", dimensions=4, components=[1], regularisation=0.0).fit(tweets, labels)
    x = model.space.transform(space.vectors(tweets))
    own = x[labels == 1]
    expected = stats.multivariate_normal(own.mean(axis=0), np.cov(own.T, ddof=0)).logpdf(x)
    assert model.log_densities(tweets)[:, 1] == pytest.approx(expected, rel=1e-4)
    two_kinds, _ = two_clouds(600)
    split = family_of("mixture", dimensions=2, components=[1, 2]).fit(two_kinds, np.arange(600) % 2)
    assert {each.n_components for each in split.of_class} == {2}, "each class is made of both clouds"


def test_the_elbo_is_exact_where_the_posterior_is_the_prior() -> None:
    """A decoder that ignores z: x ~ N(0, I), and the bound has no gap, however many draws."""
    network = silenced(vae.Vae(params_of("vae", dimensions=3)))
    x = torch.randn(20, 3)
    y = torch.zeros(20, dtype=torch.long)
    assert network.elbo(x, y).detach().numpy() == pytest.approx(standard_normal(x), abs=1e-5)
    assert network.log_density(x)[:, 1].numpy() == pytest.approx(standard_normal(x), abs=1e-5)


def test_more_draws_close_the_gap_of_a_vae() -> None:
    """x = z + noise: log p(x) is that of N(0, 2 I), and the encoder knows nothing of it."""
    network = silenced(vae.Vae(params_of("vae", dimensions=2, latent=2, depth=1, width=4)))
    decoder = torch.nn.Linear(4, 2)
    decoder.weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    decoder.bias.data.zero_()
    network.decoder = decoder
    x, y = torch.randn(400, 2) * math.sqrt(2), torch.zeros(400, dtype=torch.long)
    truth = stats.multivariate_normal(np.zeros(2), 2 * np.eye(2)).logpdf(x.numpy()).mean()
    torch.manual_seed(0)
    bounds = [network.importance_bound(x, y, torch.randn(k, 400, 2)).mean().item() for k in (1, 10, 3000)]
    assert bounds[0] < bounds[1] < bounds[2]
    assert bounds[2] == pytest.approx(truth, abs=0.01)
    assert network.elbo(x, y).mean().item() < bounds[1]


@pytest.mark.parametrize(("name", "at_most"), [("diffusion", 0.005), ("vae", 0.001)])
def test_another_seed_of_the_noise_turns_over_few_decisions(name: str, at_most: float) -> None:
    """With random points the mean score moved by 0.051 and 0.0017, and 2.8 % of diffusion's decisions."""
    tweets, labels = two_clouds(600, apart=1.5)
    family = family_of(name, **SMALL | {"draws": 256})
    model = family.fit(tweets, labels)
    assert family.hangs_on_noise(tweets.assign(fold=0), family.predict(model, tweets), [model]) <= at_most
    assert np.ptp([family.predict(model, tweets, seed).mean() for seed in range(4)]) <= at_most


def test_decisions_that_turn_are_counted_of_every_fold_by_its_own_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four rows in two folds the first model turns one at one of three seeds, the second both of its own at each: 7 of 12."""
    train = pd.DataFrame({"fold": [1, 0, 1, 0]})
    turns = {"a": [(1, 0)], "b": [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)]}

    def by_seed(_: object, model: str, rows: pd.DataFrame, seed: int = 0) -> np.ndarray:
        return np.array([0.9 if (seed, place) in turns[model] else 0.2 for place in range(len(rows))])

    monkeypatch.setattr(vae.FAMILY, "predict", by_seed)
    assert family_of("vae").hangs_on_noise(train, np.full(4, 0.2), ["a", "b"]) == pytest.approx(7 / 12)


def test_the_bound_of_a_perfect_denoiser_is_the_density() -> None:
    """For x ~ N(μ_y, I) the best guess of the noise is known: ε̂ = σ_t (x_t - α_t μ_y)."""
    params = params_of("diffusion", dimensions=2, log_noise_to_signal=(-10.0, 10.0), draws=4000)
    network = diffusion.Diffusion(params)
    means = torch.tensor([[0.0, 0.0], [1.0, -1.0]])

    def perfect(x_t: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        gamma = (-10 + 20 * t)[..., None]
        return torch.sigmoid(gamma).sqrt() * (x_t - torch.sigmoid(-gamma).sqrt() * means[y])

    network.denoise = perfect
    x = torch.randn(2000, 2)
    torch.manual_seed(0)
    found = network.log_density(x).numpy()
    for label in (0, 1):
        truth = stats.multivariate_normal(means[label].numpy(), np.eye(2)).logpdf(x.numpy())
        assert found[:, label].mean() == pytest.approx(truth.mean(), abs=0.1)
    ratio = found[:, 1] - found[:, 0]
    truth = x.numpy() @ [1.0, -1.0] - 1.0
    assert np.corrcoef(ratio, truth)[0, 1] > 0.99
    assert np.abs(ratio - truth).mean() < 0.15, "the terms without y cancel, the same noise leaves little to chance"


def test_a_flow_that_does_not_move_is_its_noise_and_one_that_stretches_is_known() -> None:
    network = silenced(flow_matching.FlowMatching(params_of("flow_matching", dimensions=3)))
    x = torch.randn(10, 3)
    assert network.log_density(x)[:, 0].numpy() == pytest.approx(standard_normal(x), abs=1e-5)
    stretch = torch.nn.Linear(6, 3, bias=False)
    stretch.weight.data = torch.cat([0.7 * torch.eye(3), torch.zeros(3, 3)], dim=1)  # dx/dt = 0.7 x: x_1 = e^0.7 x_0
    network.network = torch.nn.Sequential(stretch)
    truth = stats.multivariate_normal(np.zeros(3), math.exp(1.4) * np.eye(3)).logpdf(x.numpy())
    assert network.log_density(x)[:, 1].numpy() == pytest.approx(truth, abs=1e-4)


def test_a_trained_flow_integrates_to_one() -> None:
    tweets, labels = two_clouds(400, dimensions=2)
    model = family_of("flow_matching", **SMALL | {"dimensions": 2, "epochs": 40}).fit(tweets, labels)
    axis = torch.linspace(-6, 6, 121)
    grid = torch.cartesian_prod(axis, axis)
    volume = (axis[1] - axis[0]).item() ** 2
    mass = model.network.log_density(grid).exp().sum(dim=0) * volume
    assert mass.tolist() == pytest.approx([1.0, 1.0], abs=0.02)


def test_an_autoencoder_loses_what_the_other_class_has_and_its_own_has_not() -> None:
    """Class 0 lives on one line, class 1 on another: through one number each, only its own comes back."""
    rng = np.random.default_rng(0)
    along = rng.normal(size=400)
    labels = np.arange(400) % 2
    x = np.stack([along * (labels == 0), along * (labels == 1)], axis=1) + rng.normal(scale=0.02, size=(400, 2))
    tweets = pd.DataFrame({"vector": list(x), "group": np.arange(400)})
    family = family_of("autoencoder", **SMALL | {"dimensions": 2, "bottleneck": 1, "epochs": 60})
    model = family.fit(tweets, labels)
    scores = family.predict(model, tweets)
    clear = np.abs(along) > 0.3
    assert ((scores > 0.5) == labels)[clear].mean() > 0.95


def test_each_half_of_a_gan_learns_from_its_own_loss_alone() -> None:
    network = gan.Gan(params_of("gan", dimensions=3, dropout=0.0)).train()
    x = torch.randn(8, 3)
    network.generator_loss(x, network.forge(8)).backward()
    assert all(parameter.grad is not None for parameter in network.generator.parameters())
    assert all(parameter.grad is None for parameter in [*network.features.parameters(), *network.decide.parameters()])
    logits = network.log_discriminator(x)
    labelled = gan.Gan.of_labels(logits, torch.tensor([0, 1, -1, -1, 0, 0, 0, 0]))
    expected = -torch.log(logits.exp()[:, 0] / logits.exp()[:, :2].sum(dim=1))
    assert labelled[0].item() == pytest.approx(expected[0].item(), abs=1e-6)
    assert labelled[2].item() == 0, "a tweet without a label says nothing about labels"


def test_a_training_that_diverges_says_so() -> None:
    tweets, labels = two_clouds()
    family = family_of("autoencoder", **SMALL | {"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"Autoencoder: training diverged in epoch \d+; lower learning_rate"):
        family.fit(tweets, labels)
