"""The bundled sample has what its README promises."""

import itertools

import pandas as pd
from conftest import SAMPLE

from pipeline.contracts import Prepared
from pipeline.data.clean import clean, words

TWEETS = pd.concat([pd.read_csv(SAMPLE / f"{name}.csv") for name in ("train", "test")], ignore_index=True)
PLANTED = pd.read_csv(SAMPLE / "planted.csv")
FAMILY = TWEETS["id"].map(PLANTED.set_index("id")["copy_of"]).fillna(TWEETS["id"])
"""The id of the tweet that each tweet is a planted copy of, or its own."""


def test_only_planted_copies_resemble_each_other() -> None:
    def five_grams(text: str) -> set[tuple[str, ...]]:
        found = words(clean(text))
        return {tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))}

    grams = [five_grams(text) for text in TWEETS["text"]]
    for i, j in itertools.combinations(range(len(TWEETS)), 2):
        if FAMILY[i] != FAMILY[j]:
            assert len(grams[i] & grams[j]) < 0.4 * len(grams[i] | grams[j]), TWEETS["text"][[i, j]].tolist()


def test_near_duplicate_groups_are_the_planted_families(sample: Prepared) -> None:
    group = pd.concat([sample.train, sample.test], ignore_index=True)["group"]
    assert (FAMILY.groupby(group).nunique() == 1).all(), "tweets that were not planted as copies are grouped"
    together = group.groupby(FAMILY).nunique() == 1
    assert together.mean() > 0.98, "planted copies are not grouped"


def test_conflicts_carry_both_labels(sample: Prepared) -> None:
    target = sample.train.set_index("id")["target"]
    conflicts = PLANTED[PLANTED["kind"] == "conflict"]
    assert len(conflicts) >= 15
    assert (target[conflicts["id"]].to_numpy() != target[conflicts["copy_of"]].to_numpy()).all()
