"""How far probabilities are from what happens: calibration errors without the noise in them, and the Brier score taken apart."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from pipeline.stats.bootstrap import effective_groups, group_bootstrap
from pipeline.stats.metrics import METRICS, equal_mass_bins, weighted

PLAIN = ("log_loss", "brier", "ece")
PARTS = ("reliability", "resolution", "uncertainty")
MEASURES = (*PLAIN, "ece_debiased", *PARTS)


@dataclass(frozen=True)
class Scored:
    """Rows with their targets (0/1), scores (P(target = 1), none missing), near-duplicate groups and folds, each (n,).

    Rows of a group depend on each other, groups do not; no group is in two folds.
    """

    targets: np.ndarray
    scores: np.ndarray
    groups: np.ndarray
    folds: np.ndarray


def squared_mean(
    weights: np.ndarray, values: np.ndarray, groups: np.ndarray, folds: np.ndarray, *, debiased: bool
) -> np.ndarray:
    """Square of the folds' mean of the values, shape (n,), for each row of weights, shape (draws, n): shape (draws,).

    It is the mean of the products of any two rows of a fold. `debiased` leaves out those within a group, in which noise does not
    cancel out (a U-statistic; rows of a group share a weight). Without two groups it is 0.
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    sizes, sums = np.bincount(group).astype(float), np.bincount(group, weights=values)
    times, held_by = weights[:, first], folds[first][:, None] == np.unique(folds)
    products: np.ndarray = ((times @ (sums[:, None] * held_by)) ** 2).sum(axis=1)
    pairs: np.ndarray = ((times @ (sizes[:, None] * held_by)) ** 2).sum(axis=1)
    if debiased:
        products, pairs = products - times @ sums**2, pairs - times @ sizes**2
    return np.asarray(np.divide(products, pairs, out=np.zeros_like(products), where=pairs > 0))


def brier_parts(rows: Scored, weights: np.ndarray, *, debiased: bool) -> np.ndarray:
    """`PARTS` of the Brier score for each row of weights, shape (draws, n), the same for rows of a group: shape (3, draws).

    Murphy (1973): Brier = reliability - resolution + uncertainty. Reliability is the mean over equal-mass bins of the squared
    gap between mean score and share of positives, uncertainty the variance of targets, and resolution what remains, so also
    what scores tell within bins (Stephenson et al. 2008, https://doi.org/10.1175/2007WAF2006116.1).

    Noise widens every gap. `debiased` takes out what it adds on average, as Kumar et al. (2019,
    https://arxiv.org/abs/1909.10155) do, here for groups instead of rows: calibrated scores come to 0 on average, so at times
    below. Gaps are those of a fold: what fitted its scores saw the labels of the others, and errs low where they err high.
    Over all folds that would cancel out, and scores seem better calibrated than those of new tweets.
    """
    bins, total = equal_mass_bins(rows.scores), weights.sum(axis=1)
    residual = rows.targets - rows.scores
    reliability = np.zeros(len(weights))
    for one in np.unique(bins):
        here = bins == one
        part = weights[:, here]
        gaps = squared_mean(part, residual[here], rows.groups[here], rows.folds[here], debiased=debiased)
        reliability += gaps * part.sum(axis=1) / total
    share, one_fold = weights @ rows.targets / total, np.zeros_like(rows.folds)
    uncertainty = share - squared_mean(weights, rows.targets, rows.groups, one_fold, debiased=debiased)
    return np.stack([reliability, reliability + uncertainty - weights @ residual**2 / total, uncertainty])


def measures(rows: Scored, draws: int, seed: int) -> dict[str, float]:
    """`MEASURES`, each with the ends of its 95 % interval by grouped bootstrap.

    `ece_debiased` is the root of the debiased reliability: the root-mean-square gap, where `ece` is the mean absolute one. Draws
    vary around the plain parts, noise and all: their spread is laid around the debiased ones, with its sides changed (the basic
    interval, in the form of Kumar et al.'s implementation).
    """
    plain = [METRICS.index(metric) for metric in PLAIN]

    def drawn(weights: np.ndarray) -> np.ndarray:
        parts = brier_parts(rows, weights, debiased=True)
        return np.concatenate([weighted(rows.targets, rows.scores, weights)[plain], parts])

    once = np.ones((1, len(rows.targets)))
    value = drawn(once)[:, 0]
    low, high = group_bootstrap(drawn, rows.groups, draws, seed)
    parts = slice(len(PLAIN), None)
    middle = value[parts] + brier_parts(rows, once, debiased=False)[:, 0]
    low[parts], high[parts] = middle - high[parts], middle - low[parts]
    found: dict[str, float] = {}
    for end, values in (("", value), ("_low", low), ("_high", high)):
        found |= {f"{name}{end}": float(one) for name, one in zip((*PLAIN, *PARTS), values, strict=True)}
        square = found[f"reliability{end}"]  # an estimate, which may be negative
        found[f"ece_debiased{end}"] = float(np.copysign(np.sqrt(abs(square)), square))
    return {f"{name}{end}": found[f"{name}{end}"] for name in MEASURES for end in ("", "_low", "_high")}


def reliability_diagram(rows: Scored) -> pd.DataFrame:
    """Each equal-mass bin's mean score (`predicted`) and share of positives (`observed`) with the ends of its 95 % interval.

    Wilson's (1927), which holds at shares of 0 and 1 too, for as many rows as the bin has `effective_groups`.
    """
    found, bins = [], equal_mass_bins(rows.scores)
    for one in np.unique(bins):
        here = bins == one
        worth = effective_groups(np.unique(rows.groups[here], return_counts=True)[1])
        observed = rows.targets[here].mean()
        low, high = proportion_confint(observed * worth, worth, method="wilson")
        found.append((one, rows.scores[here].mean(), observed, low, high, int(here.sum())))
    return pd.DataFrame(found, columns=["bin", "predicted", "observed", "low", "high", "rows"])
