"""Folds are fair and labels are treated as params say."""

import numpy as np
import pandas as pd
import pytest

from pipeline.contracts import Prepared
from pipeline.data.prepare import assign_folds, training_targets


def test_folds_are_stratified_and_even(sample: Prepared) -> None:
    folds = sample.train.groupby("fold")["target"].agg(["size", "mean"])
    assert len(folds) == 5
    assert folds["size"].max() - folds["size"].min() <= 5
    assert folds["mean"].max() - folds["mean"].min() < 0.03


def test_folds_depend_on_the_seed_alone() -> None:
    targets, groups = np.tile([0, 1], 50), np.arange(100) // 2 % 40
    assert (assign_folds(targets, groups, 5, 0) == assign_folds(targets, groups, 5, 0)).all()
    assert (assign_folds(targets, groups, 5, 0) != assign_folds(targets, groups, 5, 1)).any()


@pytest.mark.parametrize(
    ("conflicts", "learned"),
    [
        ("keep", [0, 1, 1, 0, 1, 1]),
        ("majority", [1, 1, 1, None, None, 1]),
        ("drop", [None, None, None, None, None, 1]),
    ],
)
def test_training_targets(conflicts: str, learned: list[int | None]) -> None:
    targets, groups = pd.Series([0, 1, 1, 0, 1, 1]), pd.Series([0, 0, 0, 1, 1, 2])
    found = training_targets(targets, groups, conflicts)
    assert [None if pd.isna(value) else int(value) for value in found] == learned
