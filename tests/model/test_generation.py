"""Samples come from the class that they were asked of, and are measured as what they are."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, prepared_folder, set_param
from made import Made, on_counts
from test_vectors import SMALL, params_of, two_clouds

from pipeline.contracts import InputError, Prepared, read_params
from pipeline.counts import naive_bayes
from pipeline.counts.counts import CountsParams
from pipeline.curves import generation, sample_quality
from pipeline.curves.generation import AugmentationParams, GenerationParams
from pipeline.curves.sample_quality import distinct, nearest, points, right_after, spread
from pipeline.fit.cross_fit import training_rows
from pipeline.fit.tuning import Tuned
from pipeline.vectors import diffusion, gan, mixture


@pytest.fixture(scope="module")
def params() -> GenerationParams:
    """Those of the project, at fewer samples and labels."""
    few = AugmentationParams(sizes=[32], added=1, seeds=2)
    found = read_params("generation", GenerationParams, ROOT / "study/params.yaml")
    return found.model_copy(update={"per_class": 60, "augmentation": few, "draws": 100})


def naive(sample: Prepared, event_model: str, ngrams: int = 1) -> tuple[Any, Tuned]:
    """The family, and a model of it."""
    counts = CountsParams(ngrams=[ngrams], min_count=[1], inner_folds=2)
    own = on_counts(naive_bayes, counts, event_model=[event_model], alpha=[1.0])
    return own, own.fit(*training_rows(sample.train, held_out=0))


@pytest.mark.parametrize("event_model", ["multinomial", "bernoulli"])
def test_words_are_as_frequent_as_naive_bayes_says(sample: Prepared, event_model: str) -> None:
    _, model = naive(sample, event_model)
    p = np.exp(model.pipeline["classifier"].feature_log_prob_[1])
    bags = naive_bayes.sample_bags(model, 1, 4000, seed=0)
    found = np.bincount(np.concatenate(bags), minlength=len(p))
    expected = p * (len(bags) if event_model == "bernoulli" else found.sum())
    common = expected > 50
    assert common.sum() > 10
    assert (np.abs(found - expected)[common] / np.sqrt(expected[common])).max() < 4.5, "Poisson noise and no more"
    if event_model == "bernoulli":
        assert all(len(set(bag)) == len(bag) for bag in bags)
    else:
        counted = model.pipeline["classifier"].feature_count_[1].sum() / model.pipeline["classifier"].class_count_[1]
        assert np.mean([len(bag) for bag in bags]) == pytest.approx(counted, rel=0.03)


# --- samples of vectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gaussian", "mixture", "vae", "diffusion", "flow_matching"])
def test_samples_of_each_label_are_of_its_cloud(family: str) -> None:
    module = importlib.import_module(f"pipeline.vectors.{family}")
    tweets, labels = two_clouds(400)
    fitted = module.FAMILY(params_of(family, **SMALL | {"epochs": 40}))
    model = fitted.fit(tweets, labels)
    real = generation.real_rows(model, tweets)
    for label in (0, 1):
        drawn = fitted.sample(model, label, 500, seed=1)
        assert drawn.shape == (500, real.shape[1])
        own, other = (real[labels == each].mean(axis=0) for each in (label, 1 - label))
        closer = np.linalg.norm(drawn - own, axis=1) < np.linalg.norm(drawn - other, axis=1)
        assert closer.mean() > 0.95
        assert drawn.mean(axis=0) == pytest.approx(own, abs=0.35)
        assert drawn.std(axis=0) == pytest.approx(real[labels == label].std(axis=0), rel=0.35)
        assert (drawn == fitted.sample(model, label, 500, seed=1)).all()
        assert (drawn != fitted.sample(model, label, 500, seed=2)).any()


def test_a_perfect_denoiser_samples_its_gaussian() -> None:
    """For x ~ N(μ_y, s² I) the best guess of the noise is known: ε̂ = σ_t (x_t - α_t μ_y) / (α_t² s² + σ_t²)."""
    network = diffusion.Diffusion(params_of("diffusion", dimensions=2, log_noise_to_signal=(-8.0, 8.0), draws=300))
    means, variance = torch.tensor([[0.0, 0.0], [2.0, -1.0]]), 0.25

    def perfect(x_t: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        gamma = (-8 + 16 * t)[:, None]
        signal, noise = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        return noise.sqrt() * (x_t - signal.sqrt() * means[y]) / (signal * variance + noise)

    network.denoise = perfect
    torch.manual_seed(0)
    drawn = network.sample(torch.ones(20_000, dtype=torch.long)).numpy()
    assert drawn.mean(axis=0) == pytest.approx([2.0, -1.0], abs=0.02)
    assert np.cov(drawn.T) == pytest.approx(variance * np.eye(2), abs=0.02)


def test_forged_rows_are_labelled_by_the_discriminator() -> None:
    """A generator of standard normal noise, and a discriminator that holds what lies to the right for disasters."""
    network = gan.Gan(params_of("gan", dimensions=2, latent=2, dropout=0.0)).eval()
    network.generator = torch.nn.Identity()
    network.log_discriminator = lambda x: (x[:, :1] * torch.tensor([-4.0, 4.0, 0.0])).log_softmax(dim=1)
    torch.manual_seed(0)
    left, right = (network.sample(torch.full((2000,), label)) for label in (0, 1))
    assert (left[:, 0] < 0).float().mean() > 0.9
    assert (right[:, 0] > 0).float().mean() > 0.9
    assert right[:, 1].std().item() == pytest.approx(1.0, abs=0.1), "and else as the generator has them"
    network.log_discriminator = lambda x: torch.tensor([[0.0, -300.0, 0.0]]).repeat(len(x), 1)
    assert len(network.sample(torch.full((10,), 1))) == 10, "even if it believes in none"


def test_all_that_are_listed_can_sample_and_the_autoencoder_cannot(
    params: GenerationParams, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data/embed").mkdir(parents=True)
    (tmp_path / "data/embed/minilm.safetensors").touch()
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    names = [generation.read_family(name, params.encoder).name() for name in params.families]
    assert len(set(names)) == len(names)
    for name in ("vectors.autoencoder", "counts.logistic", "vectors.none"):
        with pytest.raises(InputError, match=rf"generation\.families: {name}: .*"):
            generation.read_family(name, params.encoder)


# --- measures -----------------------------------------------------------------------------------------------------------


def texts_of(tweets: pd.DataFrame) -> np.ndarray:
    return tweets["text"].to_numpy(dtype=object)


def test_copies_teach_as_much_as_what_they_are_copies_of(sample: Prepared) -> None:
    tweets, labels = training_rows(sample.train, held_out=0)
    held_out = sample.train[sample.train["fold"] == 0]
    rows, real = (texts_of(tweets), labels), (texts_of(held_out), held_out["target"].to_numpy())
    rest: dict[str, Any] = {"groups": held_out["group"].to_numpy(), "C": 1.0, "draws": 100, "seed": 0}
    same = sample_quality.accuracy_score("copy", rows, rows, real, **rest)
    assert same.generated == same.real == right_after(*rows, *real, 1.0).mean() > 0.6
    assert (same.low, same.high) == (0.0, 0.0)
    wrong = sample_quality.accuracy_score("wrong", (rows[0], 1 - labels), rows, real, **rest)
    assert wrong.generated == pytest.approx(1 - same.real, abs=0.05)
    assert wrong.high < -0.1


def test_copies_are_seen_as_memorised(sample: Prepared) -> None:
    tweets, _ = training_rows(sample.train, held_out=0)
    train = texts_of(tweets)
    copies = np.array([train[7], " ".join(reversed(train[7].upper().split())), train[7] + " qwerty fire"], dtype=object)
    of_train, of_copies = points([train], [copies])
    distance, position = nearest(of_train, of_copies)
    assert distance[0] == distance[1] == 0, "the same words, in whatever order and case"
    assert distance[2] > 0
    assert position[0] == 7
    found = sample_quality.novelty("copies", np.zeros(5), np.full(5, 0.3))
    assert [(each.generated, each.real) for each in found] == [(0, 0.3), (1, 0), (1, 0)]
    x = np.random.default_rng(0).normal(size=(500, 384)) + 5
    distance, position = nearest(x, x[:100])
    assert (distance == 0).all()
    assert (position == np.arange(100)).all()


def test_spread_and_distinct_by_hand() -> None:
    assert spread(np.array([[0.0], [1.0], [3.0]])) == pytest.approx((1 + 2 + 3) / 3)
    same, different = np.array(["fire here"] * 3, dtype=object), np.array(["fire here", "cake there"], dtype=object)
    assert spread(points([same], [])[0]) == pytest.approx(0)
    assert spread(points([different], [])[0]) == pytest.approx(1)
    assert distinct(same, 1) == 2 / 6
    assert distinct(same, 2) == 1 / 3
    assert distinct(np.array(["a a b", "A"], dtype=object), 1) == 2 / 4
    assert distinct(np.array([""], dtype=object), 1) == 0


def test_the_gain_is_paired_and_has_students_interval() -> None:
    found = sample_quality.gain("a", 32, [(0.7, 0.6), (0.8, 0.6), (0.9, 0.6)])
    assert (found.generated, found.real, found.rows) == pytest.approx((0.8, 0.6, 32))
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-5)


def copier(sample: Callable[[Any, int, int, int], list[str]]) -> Made:
    """A family whose model are the texts that it learnt, by label."""

    def fit(tweets: pd.DataFrame, labels: np.ndarray, _: int) -> list[list[str]]:
        return [tweets["text"][labels == label].tolist() for label in (0, 1)]

    return Made(fit, lambda model, tweets: np.zeros(len(tweets)), sample=sample, called="copier")


def test_one_that_copies_and_one_that_repeats_itself_are_found_out(sample: Prepared, params: GenerationParams) -> None:
    copies = copier(lambda model, label, n, seed: np.random.default_rng(seed).choice(model[label], n).tolist())
    lines, measures = generation.examine(copies, sample, params)
    found = {each.measure: each for each in measures}
    assert found["copies"].generated == 1
    assert found["nearest distance"].generated == 0 < found["nearest distance"].real
    assert (lines["text"] == lines["nearest_text"]).mean() > 0.95, "but for tweets of the same words"
    assert (lines["target"] == lines["nearest_target"]).mean() > 0.95
    assert lines["target"].tolist() == [0] * 60 + [1] * 60
    (few,) = generation.few_labels(copies, sample, params)
    assert few.rows == 32
    assert few.generated == pytest.approx(few.real, abs=0.1)
    _, measures = generation.examine(copier(lambda model, label, n, _: model[label][:1] * n), sample, params)
    found = {each.measure: each for each in measures}
    assert found["self-similarity"].generated == pytest.approx(1)
    assert found["distinct-2"].generated < found["distinct-2"].real / 5


def test_over_vectors_the_nearest_tweet_stands_for_a_sample(params: GenerationParams) -> None:
    tweets, labels = two_clouds(400)
    tweets = tweets.assign(id=np.arange(400) + 1000, text=[f"tweet {i}" for i in range(400)], fold=np.arange(400) % 5)
    tweets = tweets.assign(target=labels, train_target=labels)
    own = params_of("mixture", dimensions=4, components=[1])
    lines, measures = generation.examine(mixture.FAMILY(own), Prepared(tweets, tweets, ""), params)
    assert lines["text"].isna().all()
    assert (lines["nearest_target"] == lines["target"]).mean() > 0.95
    assert (lines["nearest_text"] == "tweet " + (lines["nearest_id"] - 1000).astype(str)).all()
    assert ((lines["nearest_id"] - 1000) % 5 != params.fold).all()
    found = {each.measure: each for each in measures}
    assert found["accuracy score"].generated > 0.95
    assert found["mean pairwise distance"].generated == pytest.approx(found["mean pairwise distance"].real, rel=0.2)
    assert found["copies"].generated == 0


def test_the_stage_writes_what_it_says(sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own: dict[str, object] = {"families": ["counts.ngram_lm"], "augmentation": {"sizes": [32]}, "per_class": 20}
    prepared_folder(tmp_path, monkeypatch, sample.train.head(90), sample.test.head(10), generation=own)
    generation.main()
    metrics = pd.read_csv("study/generation/metrics.csv")
    assert set(metrics["measure"]) == {
        *("accuracy score", "few labels", "nearest distance", "closer than 1 % of real", "copies"),
        *("self-similarity", "distinct-1", "distinct-2"),
    }
    samples = pd.read_json("study/generation/samples.jsonl", lines=True)
    assert (
        samples["family"].tolist() == ["ngram_lm"] * metrics.loc[metrics["measure"] == "accuracy score", "rows"].item()
    )
    table = Path("study/generation/table.md").read_text()
    assert "| ngram_lm |" in table
    assert "nan" not in table
    set_param(tmp_path, "generation.fold", 9)
    with pytest.raises(InputError, match=r"generation\.fold: there is no fold 9"):
        generation.main()
