"""Parts of the training rows: nested subsets that all classifiers share, and held-out parts without near-duplicates."""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from pipeline.contracts import InputError, near_duplicates


def nested_order(tweets: pd.DataFrame, labels: np.ndarray, seed: int) -> np.ndarray:
    """Positions of the rows in an order any beginning of which has the classes in proportion, near-duplicates together.

    Groups of near-duplicates are shuffled; the rows of each class, group by group, are then spread evenly. What else a
    source's group column holds together may come apart: few labels are of many authors, as if they were drawn at random.
    """
    rng = np.random.default_rng(seed)
    groups, of_row = np.unique(near_duplicates(tweets).to_numpy(), return_inverse=True)
    by_group = np.argsort(rng.permutation(len(groups))[of_row], kind="stable")
    place = np.empty(len(labels))
    for label in (0, 1):
        rows = by_group[labels[by_group] == label]
        place[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    return np.argsort(place, kind="stable")


def first_rows(tweets: pd.DataFrame, labels: np.ndarray, count: int | None) -> tuple[pd.DataFrame, np.ndarray]:
    """The first `count` rows, and their labels, of the nested order; all that there are if they are fewer, or for null.

    The order is that of seed 0, whatever a training's own seed: every model of a fold learns from the same rows.
    """
    if count is None:
        return tweets, labels
    chosen = nested_order(tweets, labels, 0)[:count]
    return tweets.iloc[chosen], labels[chosen]


def split_by_group(tweets: pd.DataFrame, labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions to learn from and to validate on; groups stay together, and both sides hold both classes."""
    # of few and large groups, each of one class, not many splits have both in both parts
    splits = GroupShuffleSplit(200, test_size=share, random_state=seed).split(tweets, groups=tweets["group"])
    for learnt, held_out in splits:
        if len(set(labels[learnt])) == len(set(labels[held_out])) == 2:
            return learnt, held_out
    raise InputError(f"{len(tweets)} training rows cannot be split so that both parts hold both classes")


def unanimous(tweets: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    """Positions of one tweet of each near-duplicate group whose members carry one label: what can stand as an example."""
    alike = near_duplicates(tweets)
    one_label = pd.Series(labels, index=alike.index).groupby(alike).transform("nunique") == 1
    return np.flatnonzero(one_label & ~alike.duplicated())
