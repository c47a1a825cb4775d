"""How often 95 % intervals of an accuracy hold the truth when there are few groups, or one that is large.

run: python -m benchmarks.coverage      (about a minute)

The share of a group's texts that is decided rightly differs from group to group: its log-odds are normal around 1.4.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from pipeline.process import run
from pipeline.stats.bootstrap import bootstrap_means, effective_groups

GROUPS = {
    "10 of 50": [50] * 10,
    "25 of 20": [20] * 25,
    "15 of 5, 5 of 100": [5] * 15 + [100] * 5,
    "500 of 1": [1] * 500,
    "500 of 1, 1 of 200": [1] * 500 + [200],
}
SPREADS = (0.7, 1.5)
"""Standard deviation of the groups' log-odds."""
REPEATS, DRAWS = 1000, 400


def plain_and_studentised(right: np.ndarray, sizes: np.ndarray, seed: int) -> list[tuple[float, float]]:
    """Both intervals of the accuracy from right decisions and rows of each group, both of shape (groups,)."""
    count, accuracy = len(sizes), right.sum() / sizes.sum()
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS)
    rows = times @ sizes
    drawn = times @ right / rows
    errors = np.sqrt((times * (right - drawn[:, None] * sizes) ** 2).sum(axis=1)) / rows
    error = np.sqrt(((right - accuracy * sizes) ** 2).sum()) / sizes.sum()
    off = np.divide(drawn - accuracy, errors, out=np.zeros(DRAWS), where=errors > 0)
    low, high = np.quantile(off, [0.025, 0.975])
    return [tuple(np.quantile(drawn, [0.025, 0.975])), (accuracy - high * error, accuracy - low * error)]


def covered(sizes: np.ndarray, spread: float) -> dict[str, float]:
    """Share of the repeats in which each interval holds the truth, and its mean width."""
    rng = np.random.default_rng(0)
    truth = expit(1.4 + spread * rng.normal(size=1_000_000)).mean()
    groups, ends = np.repeat(np.arange(len(sizes)), sizes), []
    for seed in range(REPEATS):
        right = rng.binomial(sizes, expit(1.4 + spread * rng.normal(size=len(sizes))))
        rows = np.concatenate([np.arange(size) < hits for size, hits in zip(sizes, right, strict=True)]).astype(float)
        (low,), (high,) = bootstrap_means(rows, groups, DRAWS, seed)
        plain, studentised = plain_and_studentised(right, sizes, seed)
        ends.append([plain, (low, high), studentised])
    low, high = np.moveaxis(np.array(ends), 2, 0)
    held, width = ((low <= truth) & (truth <= high)).mean(axis=0), (high - low).mean(axis=0)
    names = ("percentile", "group_bootstrap", "studentised")
    return {
        f"{name} {what}": value
        for what, of in (("holds", held), ("width", width))
        for name, value in zip(names, of, strict=True)
    }


def main() -> None:
    found = {
        (name, spread): {"effective": effective_groups(np.array(sizes)), **covered(np.array(sizes), spread)}
        for name, sizes in GROUPS.items()
        for spread in SPREADS
    }
    print(pd.DataFrame.from_dict(found, orient="index").round(3).to_string())


if __name__ == "__main__":
    run(main)
