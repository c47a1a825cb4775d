"""Folds by group are scikit-learn's own, to the last row."""

import warnings

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


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
@pytest.mark.parametrize("rarer", [0.05, 0.43])
@pytest.mark.parametrize("rows_per_group", [1, 3, 12])
def test_folds_are_those_of_scikit_learn(folds: int, rarer: float, rows_per_group: int) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(150, 400))
        labels = np.where(rng.random(n) < rarer, 1, 0)
        labels[:2] = [0, 1]
        groups = 7 * rng.integers(0, n // rows_per_group, n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a label is rarer than there are folds
            expected = of_scikit_learn(labels, groups, folds, seed)
        assert (stratified_group_folds(labels, groups, folds, seed) == expected).all()


def test_many_groups_are_no_different() -> None:
    """With thousands of groups the folds' shares differ by less than scikit-learn tells apart, and sizes decide."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(2000), np.minimum(20, rng.zipf(2.5, 2000)))
    labels = (rng.random(len(groups)) < 0.43).astype(int)
    assert (stratified_group_folds(labels, groups, 5, 0) == of_scikit_learn(labels, groups, 5, 0)).all()


def test_one_label_alone_is_folded_too() -> None:
    labels, groups = np.ones(30, dtype=int), np.arange(30) // 2
    assert (stratified_group_folds(labels, groups, 3, 0) == of_scikit_learn(labels, groups, 3, 0)).all()


@pytest.mark.parametrize(("rows", "groups"), [(3, 3), (20, 4)])
def test_more_folds_than_groups_or_rows_are_refused(rows: int, groups: int) -> None:
    labels, group = np.arange(rows) % 2, np.arange(rows) % groups
    with pytest.raises(ValueError, match="5 folds are too many"):
        stratified_group_folds(labels, group, 5, 0)
    with pytest.raises(ValueError, match=r"n_splits"):
        of_scikit_learn(labels, group, 5, 0)
