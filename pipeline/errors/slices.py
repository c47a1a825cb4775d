"""Kinds of tweets, and whether a classifier is worse on one of them than on the rest."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from statsmodels.stats.multitest import multipletests

from pipeline.data.clean import words
from pipeline.stats.bootstrap import effective_groups, group_bootstrap

SIGNIFICANT = 0.05

COMMON_WORDS = ENGLISH_STOP_WORDS - {
    "amount", "bill", "bottom", "call", "cry", "describe", "detail", "empty", "fill", "find", "fire", "found", "front", "full",
    "interest", "mill", "move", "name", "part", "serious", "show", "side", "sincere", "system", "thick", "thin",
}  # fmt: skip
"""Without those of scikit-learn's list that say what a tweet is about."""

PATTERNS = {
    "link": r"\bhttp\b",
    "mention": r"@user\b",
    "hashtag": r"#\w",
    "word in capitals": r"\b[A-Z]{4,}\b",  # shorter ones are mostly abbreviations, such as USA
}
"""What to look for in the cleaned text."""


def without_common_words(tweet: list[str]) -> bool:
    """Whether none of at least four words is among the commonest of English: a headline, a list of hashtags, or not English.

    Guessers of language find next to nothing in ten words: py3langid called 3 of Kaggle's tweets foreign, which are English.
    """
    return len(tweet) >= 4 and not COMMON_WORDS.intersection(tweet)


def foreign_letters(text: str) -> bool:
    """Whether more than a tenth of the letters are outside of ASCII: another script, or many accents."""
    letters = [character for character in text if character.isalpha()]
    return sum(not letter.isascii() for letter in letters) > len(letters) / 10


def slices_of(tweets: pd.DataFrame, least: int) -> dict[str, np.ndarray]:
    """Which of the prepared tweets belong to each slice, shape (n,) each; it and the rest both hold `least` groups."""
    text, in_words = tweets["text"], tweets["text"].map(words)
    found = {name: text.str.contains(pattern, regex=True) for name, pattern in PATTERNS.items()}
    found |= {f"no {column}": tweets[column].isna() for column in ("keyword", "location")}
    found["no common English word"] = in_words.map(without_common_words)
    found["foreign letters"] = text.map(foreign_letters)
    quarters = pd.qcut(in_words.map(len), 4, duplicates="drop")
    for quarter in quarters.cat.categories:
        found[f"{int(np.floor(quarter.left)) + 1} to {int(quarter.right)} words"] = quarters == quarter
    found |= {f"keyword: {one}": tweets["keyword"] == one for one in sorted(tweets["keyword"].dropna().unique())}
    masks = {name: np.asarray(mask, dtype=bool) for name, mask in found.items()}
    groups = tweets["group"]
    return {name: mask for name, mask in masks.items() if min(groups[mask].nunique(), groups[~mask].nunique()) >= least}


def p_of_difference(right: np.ndarray, mask: np.ndarray, groups: np.ndarray) -> float:
    """That a slice and the rest are equally easy: Fisher's exact test on as many rows as they have `effective_groups`."""
    table = []
    for part in (mask, ~mask):
        rows = effective_groups(np.unique(groups[part], return_counts=True)[1])
        hits = round(rows * right[part].mean())
        table.append([hits, round(rows) - hits])
    return float(fisher_exact(table).pvalue)


def judge_slices(
    right: np.ndarray, slices: Mapping[str, np.ndarray], groups: np.ndarray, draws: int, seed: int
) -> pd.DataFrame:
    """For each slice a classifier's accuracy, that minus its accuracy on the rest, and whether it is worse there.

    `right` (0 or 1) and groups have shape (n,). Intervals are by bootstrap over groups, p by `p_of_difference`; `p_holm` is
    corrected for the number of slices (Holm 1979), and a slice is `worse` if that is below 0.05 and the difference negative.
    """
    inside = np.stack(list(slices.values()), axis=1).astype(float)
    hits = inside * right[:, None]

    def statistic(weights: np.ndarray) -> np.ndarray:
        within, total = weights @ hits, (weights @ right)[:, None]
        size, all_rows = weights @ inside, weights.sum(axis=1)[:, None]
        accuracy = within / size
        return np.concatenate([accuracy, accuracy - (total - within) / (all_rows - size)], axis=1).T

    found = statistic(np.ones((1, len(right))))[:, 0].reshape(2, -1)
    low, high = (end.reshape(2, -1) for end in group_bootstrap(statistic, groups, draws, seed))
    p = [p_of_difference(right, mask, groups) for mask in slices.values()]
    table = pd.DataFrame(
        {
            "slice": list(slices),
            "rows": inside.sum(axis=0).astype(int),
            "accuracy": found[0],
            "low": low[0],
            "high": high[0],
            "difference": found[1],
            "difference_low": low[1],
            "difference_high": high[1],
            "p": p,
            "p_holm": multipletests(p, method="holm")[1],
        }
    )
    return table.assign(worse=(table["p_holm"] < SIGNIFICANT) & (table["difference"] < 0))
