"""Folds by group are scikit-learn's own, to the last row."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from pipeline.data.folds import stratified_group_folds


def of_scikit_learn(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    found = np.empty(len(labels), dtype=int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        found[held_out] = number
    return found


def test_many_groups_are_no_different() -> None:
    """With thousands of groups the folds' shares differ by less than scikit-learn tells apart, and sizes decide."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(2000), np.minimum(20, rng.zipf(2.5, 2000)))
    labels = (rng.random(len(groups)) < 0.43).astype(int)
    assert (stratified_group_folds(labels, groups, 5, 0) == of_scikit_learn(labels, groups, 5, 0)).all()


@pytest.mark.parametrize(("rows", "groups"), [(3, 3), (20, 4)])
def test_more_folds_than_groups_or_rows_are_refused(rows: int, groups: int) -> None:
    labels, group = np.arange(rows) % 2, np.arange(rows) % groups
    with pytest.raises(ValueError, match="5 folds are too many"):
        stratified_group_folds(labels, group, 5, 0)
    with pytest.raises(ValueError, match=r"n_splits"):
        of_scikit_learn(labels, group, 5, 0)
