"""The few labels that classifiers are compared at: nested subsets of the training rows."""

import numpy as np
import pandas as pd


def nested_order(tweets: pd.DataFrame, labels: np.ndarray, seed: int) -> np.ndarray:
    """Positions of the rows in an order any beginning of which has the classes in proportion, near-duplicates together.

    Groups are shuffled; the rows of each class, group by group, are then spread evenly.
    """
    rng = np.random.default_rng(seed)
    groups, of_row = np.unique(tweets["group"].to_numpy(), return_inverse=True)
    by_group = np.argsort(rng.permutation(len(groups))[of_row], kind="stable")
    place = np.empty(len(labels))
    for label in (0, 1):
        rows = by_group[labels[by_group] == label]
        place[rows] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    return np.argsort(place, kind="stable")
