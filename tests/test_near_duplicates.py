"""Near-duplicates share a group, whatever their order; others do not."""

import numpy as np

from pipeline.data.near_duplicates import bands, group_near_duplicates, jaccard, shingles

STORY = ["more", "homes", "razed", "by", "the", "northern", "california", "wildfire", "overnight", "officials", "say"]


def test_a_changed_word_or_a_cut_end_stays_in_the_group() -> None:
    changed = [*STORY[:3], "through", *STORY[4:]]
    groups = group_near_duplicates([STORY, changed, STORY[:-2], ["my", "mixtape", "is", "fire"]], 0.5)
    assert groups.tolist() == [0, 0, 0, 1]


def test_groups_are_chains() -> None:
    """a ~ b and b ~ c puts a, b and c together, even though a and c are not near."""
    a, b, c = STORY[:8], STORY[2:10], STORY[4:]
    assert jaccard(shingles(a), shingles(c)) < 0.4 <= jaccard(shingles(a), shingles(b))
    assert group_near_duplicates([a, b, c], 0.4).tolist() == [0, 0, 0]


def test_texts_without_words_stay_alone() -> None:
    assert group_near_duplicates([[], STORY, [], STORY], 0.5).tolist() == [0, 1, 2, 1]


def test_all_pairs_above_the_threshold_are_found() -> None:
    """Hashing only proposes candidates: compare with all pairs on texts drawn to overlap by every degree."""
    rng = np.random.default_rng(0)
    texts = [[str(word) for word in rng.choice(30, size=rng.integers(3, 12))] for _ in range(150)]
    groups = group_near_duplicates(texts, 0.5)
    for i, a in enumerate(texts):
        for j, b in enumerate(texts[:i]):
            if jaccard(shingles(a), shingles(b)) >= 0.5:
                assert groups[i] == groups[j]


def test_few_pairs_at_the_threshold_are_missed() -> None:
    for threshold in (0.3, 0.5, 0.8, 1.0):
        count, rows = bands(threshold)
        assert count * rows <= 128
        assert 1 - (1 - threshold**rows) ** count >= 0.995
