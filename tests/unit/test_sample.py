"""The bundled sample has what its README promises."""

import itertools

import pandas as pd
import pytest
from conftest import SAMPLE

from pipeline.contracts import Prepared
from pipeline.data.clean import clean, words


@pytest.fixture(scope="module")
def tweets() -> pd.DataFrame:
    return pd.concat([pd.read_csv(SAMPLE / "train.csv"), pd.read_csv(SAMPLE / "test.csv")], ignore_index=True)


@pytest.fixture(scope="module")
def planted() -> pd.DataFrame:
    return pd.read_csv(SAMPLE / "planted.csv")


def families(tweets: pd.DataFrame, planted: pd.DataFrame) -> pd.Series:
    """The id of the tweet that each tweet is a planted copy of, or its own."""
    return tweets["id"].map(planted.set_index("id")["copy_of"]).fillna(tweets["id"])


def test_only_planted_copies_resemble_each_other(tweets: pd.DataFrame, planted: pd.DataFrame) -> None:
    family = families(tweets, planted)

    def five_grams(text: str) -> set[tuple[str, ...]]:
        found = words(clean(text))
        return {tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))}

    grams = [five_grams(text) for text in tweets["text"]]
    for i, j in itertools.combinations(range(len(tweets)), 2):
        if family[i] != family[j]:
            assert len(grams[i] & grams[j]) < 0.4 * len(grams[i] | grams[j]), tweets["text"][[i, j]].tolist()


def test_near_duplicate_groups_are_the_planted_families(
    tweets: pd.DataFrame, planted: pd.DataFrame, sample: Prepared
) -> None:
    group = pd.concat([sample.train, sample.test], ignore_index=True)["group"]
    families_of_groups = families(tweets, planted).groupby(group)
    assert (families_of_groups.nunique() == 1).all(), "tweets that were not planted as copies are grouped"
    together = group.groupby(families(tweets, planted)).nunique() == 1
    assert together.mean() > 0.98, "planted copies are not grouped"


def test_conflicts_carry_both_labels(sample: Prepared, planted: pd.DataFrame) -> None:
    target = sample.train.set_index("id")["target"]
    conflicts = planted[planted["kind"] == "conflict"]
    assert len(conflicts) >= 15
    assert (target[conflicts["id"]].to_numpy() != target[conflicts["copy_of"]].to_numpy()).all()
