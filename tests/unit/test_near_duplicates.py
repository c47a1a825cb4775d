"""Near-duplicates share a group, whatever their order; others do not; and few pairs are looked at to find them."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from conftest import SAMPLE
from scipy.sparse.csgraph import connected_components

from benchmarks.million import make
from pipeline.data import near_duplicates
from pipeline.data.clean import clean, words
from pipeline.data.near_duplicates import group_near_duplicates, jaccard, shingles

STORY = ["more", "homes", "razed", "by", "the", "northern", "california", "wildfire", "overnight", "officials", "say"]


def made_texts(n: int) -> list[list[str]]:
    """The words of so many new texts, made of the sample's, in groups of 1 to 20 near-duplicates."""
    return [words(clean(text)) for text in make(pd.read_csv(SAMPLE / "train.csv"), n, seed=0)["text"]]


def groups_by_all_pairs(texts: list[list[str]], threshold: float) -> list[int]:
    """What the pairs that are near connect, numbered by first appearance."""
    sets = [shingles(words) for words in texts]
    near = [[bool(one) and jaccard(one, other) >= threshold for other in sets] for one in sets]
    return connected_components(np.array(near))[1].tolist()


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 2 / 3, 0.8, 1.0])
@pytest.mark.parametrize(("vocabulary", "longest"), [(30, 12), (4, 5), (300, 25)])
def test_groups_are_those_of_all_pairs(threshold: float, vocabulary: int, longest: int) -> None:
    """On texts that overlap by every degree, many of them by exactly the threshold."""
    rng = np.random.default_rng(vocabulary)
    texts = [rng.choice(vocabulary, size=rng.integers(0, longest)).astype(str).tolist() for _ in range(120)]
    texts += [words[: rng.integers(len(words) + 1)] for words in texts[:60]]
    assert group_near_duplicates(texts, threshold).tolist() == groups_by_all_pairs(texts, threshold)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    texts = [rng.choice(40, size=rng.integers(4, 9)).astype(str).tolist() for _ in range(400)]
    expected = group_near_duplicates(texts, 0.3)
    assert 20 < expected.max() < 380
    monkeypatch.setattr(near_duplicates, "BLOCK", 100)
    assert (group_near_duplicates(texts, 0.3) == expected).all()


def pairs_looked_at(texts: list[list[str]]) -> tuple[int, int]:
    """How many pairs grouping some texts makes: those that share a shingle, and those whose overlap is counted."""
    ours = near_duplicates
    with (
        patch.object(ours, "possible", wraps=ours.possible) as possible,
        patch.object(ours, "near", wraps=ours.near) as near,
    ):
        group_near_duplicates(texts, 0.5)
    shared = sum(len(call.args[0].text) for call in possible.call_args_list)
    return shared, sum(call.args[2].shape[1] for call in near.call_args_list)


def test_pairs_grow_with_the_texts_and_not_with_their_square() -> None:
    """Eight times the texts make 64 times the pairs; what is looked at may grow twice as much as n log n does, 21 times."""
    few, many = made_texts(1_000), made_texts(8_000)
    growth = 2 * 8 * np.log(len(many)) / np.log(len(few))
    for of_few, of_many in zip(pairs_looked_at(few), pairs_looked_at(many), strict=True):
        assert 0 < of_few < of_many < growth * of_few


def test_a_storm_of_one_story_is_linear_too() -> None:
    """Thousands of versions of one text share its shingles, and 4.5 million pairs are near: a few links for each will do."""
    rng = np.random.default_rng(0)
    storm = [list(STORY) for _ in range(3000)]
    for number, version in enumerate(storm):
        version[rng.integers(len(version))] = f"new{number}"
    assert group_near_duplicates(storm, 0.5).max() == 0
    assert max(pairs_looked_at(storm)) < 50 * len(storm)
