"""How good samples are: can a classifier learn from them, are they new, are they as diverse as real tweets?

Rows, real or generated, are texts of shape (n,) or vectors of shape (n, d). Points are what distances are taken between:
vectors as they are, by Euclid, and texts as TF-IDF of their words in a sparse matrix, by the cosine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse, stats
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import paired_cosine_distances, paired_euclidean_distances, pairwise_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

from pipeline.data.clean import word_pattern
from pipeline.stats.bootstrap import bootstrap_means

Rows = np.ndarray
Labelled = tuple[Rows, np.ndarray]
"""Rows with their labels."""
Points = Any
"""An array, or a sparse matrix: neither is the other to Python's types."""


@dataclass(frozen=True)
class Measure:
    """One number of generated rows beside that of real ones."""

    family: str
    measure: str
    generated: float
    real: float
    low: float = np.nan
    """Ends of the 95 % interval of generated minus real."""
    high: float = np.nan
    rows: int = 0
    """That were learnt from: as many generated as real ones, or the labelled ones; 0 where nothing was learnt."""


def right_after(rows: Rows, labels: np.ndarray, held_out: Rows, targets: np.ndarray, C: float) -> np.ndarray:
    """Whether a logistic regression on these rows is right about each held-out one: 0 or 1, shape (held out,).

    On words of texts that occur or not, or on vectors. Of generated rows alone the mean is the classification accuracy score
    (Ravuri & Vinyals 2019, https://arxiv.org/abs/1905.10887): to do as well as real rows, they must be right about each class,
    and about all of it.
    """
    logistic = LogisticRegression(C=C, max_iter=2000)
    words = CountVectorizer(token_pattern=word_pattern(), binary=True)
    own: Any = logistic if rows.ndim > 1 else make_pipeline(words, logistic)
    return np.asarray(own.fit(rows, labels).predict(held_out) == targets, dtype=float)


def points(real: list[Rows], generated: list[Rows]) -> list[Points]:
    """Rows of each kind as points, real ones first; the real ones say how much a word weighs."""
    if real[0].ndim > 1:
        return [*real, *generated]
    words = TfidfVectorizer(token_pattern=word_pattern()).fit(np.concatenate(real))
    return [words.transform(rows).tocsr() for rows in [*real, *generated]]


def nearest(train: Points, rows: Points) -> tuple[np.ndarray, np.ndarray]:
    """Of each row: the distance to the nearest training row, and that one's position; both of shape (rows,).

    A copy is at distance 0: the search rounds, so the distances are taken once more.
    """
    metric, paired = "euclidean", paired_euclidean_distances
    if sparse.issparse(train):
        metric, paired = "cosine", paired_cosine_distances
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute", metric=metric).fit(train)
    position = neighbours.kneighbors(rows, return_distance=False)[:, 0]
    return np.asarray(paired(rows, train[position])).round(9), position


def spread(rows: Points) -> float:
    """The mean distance of two different rows."""
    distances = pairwise_distances(rows, metric="cosine" if sparse.issparse(rows) else "euclidean")
    return float(distances.sum() / (len(distances) * (len(distances) - 1)))


def distinct(texts: Rows, n: int) -> float:
    """Distinct-n: the share of different ones among all runs of n words (Li et al. 2016, https://aclanthology.org/N16-1014).

    It falls with the number of texts: compare as many.
    """
    runs = CountVectorizer(token_pattern=word_pattern(), ngram_range=(n, n)).build_analyzer()
    found = [run for text in texts for run in runs(text)]
    return len(set(found)) / max(len(found), 1)


def accuracy_score(
    family: str,
    generated: Labelled,
    real: Labelled,
    held_out: Labelled,
    groups: np.ndarray,
    *,
    C: float,
    draws: int,
    seed: int,
) -> Measure:
    """The classification accuracy score of generated rows with their labels, beside that of real ones.

    The interval is that of the held-out rows' draw, by bootstrap over their groups, of shape (held out,).
    """
    of_generated, of_real = (right_after(*rows, *held_out, C) for rows in (generated, real))
    low, high = (float(end[0]) for end in bootstrap_means(of_generated - of_real, groups, draws, seed))
    return Measure(family, "accuracy score", float(of_generated.mean()), float(of_real.mean()), low, high, len(real[1]))


def novelty(family: str, generated: np.ndarray, real: np.ndarray) -> list[Measure]:
    """From distances to the nearest training row: those of the samples and of the held-out tweets, each of shape (rows,)."""
    close = np.percentile(real, 1)
    return [
        Measure(family, "nearest distance", float(np.median(generated)), float(np.median(real))),
        Measure(family, "closer than 1 % of real", float((generated < close).mean()), float((real < close).mean())),
        Measure(family, "copies", float((generated == 0).mean()), float((real == 0).mean())),
    ]


def diversity(family: str, generated: list[tuple[Rows, Points]], real: list[tuple[Rows, Points]]) -> list[Measure]:
    """From the rows and points of label 0 and of label 1, as many generated as real ones; the mean of both labels.

    Within classes, since that classes lie apart is no diversity.
    """
    apart, real_apart = (float(np.mean([spread(points) for _, points in each])) for each in (generated, real))
    if generated[0][0].ndim > 1:
        return [Measure(family, "mean pairwise distance", apart, real_apart)]
    found = [Measure(family, "self-similarity", 1 - apart, 1 - real_apart)]
    for n in (1, 2):
        share, real_share = (float(np.mean([distinct(texts, n) for texts, _ in each])) for each in (generated, real))
        found.append(Measure(family, f"distinct-{n}", share, real_share))
    return found


def gain(family: str, size: int, found: Sequence[tuple[float, float]]) -> Measure:
    """The mean over seeds of accuracies with and without samples, and the interval of their difference (Student's t)."""
    with_samples, without = np.array(found).T
    difference = with_samples - without
    half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(difference)
    low, high = float(difference.mean() - half), float(difference.mean() + half)
    return Measure(family, "few labels", float(with_samples.mean()), float(without.mean()), low, high, size)
