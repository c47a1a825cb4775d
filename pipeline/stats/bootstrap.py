"""Bootstrap intervals by group: retweets of one story, or texts of one author, are not independent evidence."""

from collections.abc import Callable

import numpy as np
from scipy import stats

Statistic = Callable[[np.ndarray], np.ndarray]
"""From row weights of shape (draws, n) to k statistics per draw, shape (k, draws)."""

CELLS = 10_000_000
"""Row weights that are held at once: 80 MB, and a few times that inside of a statistic."""


def effective_groups(sizes: np.ndarray) -> float:
    """How many groups of one size are worth as much as groups of these sizes, shape (groups,) (Kish 1965)."""
    return float(sizes.sum()) ** 2 / float(np.square(sizes, dtype=float).sum())


def level(groups: float) -> float:
    """The level of the expanded percentile interval (Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789).

    As far out as Student's t with G - 1 degrees of freedom, for a bootstrap's standard error that is too small by √((G - 1) / G);
    it never leaves what the statistic can be. G: effective groups (Carter et al. 2017, https://doi.org/10.1162/REST_a_00639).
    """
    return float(1 - 2 * stats.norm.sf(np.sqrt(groups / (groups - 1)) * stats.t.isf(0.025, groups - 1)))


def group_bootstrap(statistic: Statistic, groups: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % intervals of k statistics, each of shape (k,), at `level`; groups of rows have shape (n,).

    Whole groups are drawn with replacement (the cluster bootstrap; Davison & Hinkley 1997, section 3.8).
    """
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max()) + 1
    if count < 2:  # one group says nothing about how much groups vary
        nothing = np.full(len(statistic(np.ones((1, len(group))))), np.nan)
        return nothing, nothing

    def of_drawn(drawn: np.ndarray, axis: int = -1) -> np.ndarray:  # noqa: ARG001 - scipy asks for it
        drawn = np.atleast_2d(drawn).astype(int)
        offsets = np.arange(len(drawn))[:, None] * count
        times = np.bincount((drawn + offsets).ravel(), minlength=len(drawn) * count).reshape(len(drawn), count)
        return statistic(times[:, group].astype(float))

    found = stats.bootstrap(
        (np.arange(count),),
        of_drawn,
        n_resamples=draws,
        batch=min(100, max(1, CELLS // len(group))),  # draws at a time: what is drawn does not depend on it
        vectorized=True,
        method="percentile",
        confidence_level=level(effective_groups(np.bincount(group))),
        rng=np.random.default_rng(seed),
    )
    return found.confidence_interval.low, found.confidence_interval.high


def bootstrap_means(values: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the intervals of the mean of values of shape (n,), or of each column of (n, k): each of shape (1,) or (k,)."""

    def means(weights: np.ndarray) -> np.ndarray:
        return np.atleast_2d((weights @ values).T / weights.sum(axis=1))

    return group_bootstrap(means, groups, draws, seed)


def clears_chance(gain: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> bool:
    """Whether the interval of the mean gain, of rows of shape (n,) with their groups, lies above 0; of no rows it doesn't."""
    return bool(len(gain) and gain.mean() > 0 and bootstrap_means(gain, groups, draws, seed)[0][0] > 0)
