"""What people said of a tweet's near-duplicates: known of tweets to submit that have some among the train tweets.

A classifier scores train rows by models that saw none of their near-duplicates, as it would score new tweets. A leaderboard's do
have such among the train tweets, and their labels are known. So a row's log-odds become

    log-odds + w · log (n₁ + 1) / (n₀ + 1),

n₁ and n₀ the near-duplicates with either label among the train rows, itself left out: their odds by the rule of succession. As
the scores know nothing of these labels, w and what it gains are as honest on train rows as the scores are.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit

from pipeline.compare.blend_weights import log_losses, to_log_odds
from pipeline.compare.scored import BootstrapParams, accuracy_interval
from pipeline.contracts import Prepared, near_duplicates
from pipeline.stats.bootstrap import clears_chance
from pipeline.stats.decisions import decide

HEAVIEST = 5.0
"""The most that w may be: a few near-duplicates then outweigh any score."""


def votes(prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of the labels of each train row's near-duplicates, shape (n_train,), and each test row's; 0 without any."""
    train, targets = near_duplicates(prepared.train).to_numpy(), prepared.train["target"].to_numpy(dtype="int64")
    counts = pd.crosstab(train, targets).reindex(columns=[0, 1], fill_value=0)
    own = np.eye(2, dtype="int64")[targets]
    of_train = counts.loc[train].to_numpy() - own
    of_test = counts.reindex(near_duplicates(prepared.test), fill_value=0).to_numpy()
    first, second = (np.log((each[:, 1] + 1) / (each[:, 0] + 1)) for each in (of_train, of_test))
    return first, second


def moved(scores: np.ndarray, voted: np.ndarray, weight: float) -> np.ndarray:
    """The scores with the votes counted; all have shape (n,)."""
    return np.where(voted != 0, expit(to_log_odds(scores) + weight * voted), scores)


def fit(scores: np.ndarray, voted: np.ndarray, targets: np.ndarray) -> float:
    """The w with the least log loss on the rows that have votes, 0 of none; all have shape (n,), and unparsed rows no say."""
    some = (voted != 0) & ~np.isnan(scores)
    if not some.any():
        return 0.0
    log_odds, labels, voted = to_log_odds(scores[some]), targets[some], voted[some]
    found = minimize_scalar(lambda w: log_losses(log_odds + w * voted, labels).sum(), bounds=(0, HEAVIEST))
    return float(found.x)


def listen(
    rows: pd.DataFrame,
    folds: np.ndarray,
    voted: tuple[np.ndarray, np.ndarray],
    threshold: float,
    params: BootstrapParams,
) -> tuple[dict[str, float], dict[str, float | None]]:
    """How far to count the votes on train and test rows, `weight`: 0 unless its gain clears chance; and what is then `expected`.

    `rows` are the `scored_rows`, with their folds, shape (n,); each fold is moved by the w of the others. What is expected is the
    accuracy on test rows, of which another share may have votes than of the train rows.
    """
    targets, scores, groups = (rows[column].to_numpy() for column in ("target", "score", "group"))
    of_train, of_test = voted
    with_votes = scores.copy()
    for fold in np.unique(folds):
        held_out = folds == fold
        weight = fit(scores[~held_out], of_train[~held_out], targets[~held_out])
        with_votes[held_out] = moved(scores[held_out], of_train[held_out], weight)
    without, right = (decide(targets, each, threshold) == targets for each in (scores, with_votes))
    gain = right.astype(float) - without
    if not (len(of_test) and clears_chance(gain, groups, params.draws, params.seed)):
        return {"weight": 0.0, "gain": float(gain.mean())}, expected(without, rows["group"], params)
    some, train_share, test_share = of_train != 0, float((of_train != 0).mean()), float((of_test != 0).mean())
    as_in_test = np.where(some, test_share / train_share, (1 - test_share) / (1 - train_share))
    found = {"weight": fit(scores, of_train, targets), "gain": float(gain.mean())}
    found |= {"train_rows": train_share, "test_rows": test_share}
    return found, expected(as_in_test * right, rows["group"], params)


def expected(values: np.ndarray, groups: pd.Series, params: BootstrapParams) -> dict[str, float | None]:
    """The mean of the values, shape (n,), and its interval."""
    low, high = accuracy_interval(pd.Series(values, index=groups.index), groups, params)
    return {"expected_accuracy": float(values.mean()), "expected_low": low, "expected_high": high}
