"""What notebooks ask of the prepared tweets: pure functions from tweets to small tables."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from pipeline.contracts import near_duplicates
from pipeline.data.clean import units
from pipeline.data.near_duplicates import jaccard, shingles


def shares(parts: Mapping[Any, pd.Series]) -> pd.DataFrame:
    """By name of several lots of targets: `rows`, the `share` of 1, and `low` and `high` of its 95 % interval (Wilson 1927)."""
    found = pd.DataFrame(
        {name: [len(targets), targets.sum()] for name, targets in parts.items()}, index=["rows", "ones"]
    ).T
    with np.errstate(divide="ignore", invalid="ignore"):  # of none there is no share
        low, high = proportion_confint(found["ones"], found["rows"], method="wilson")
    return found.assign(share=found["ones"] / found["rows"], low=low, high=high).drop(columns="ones")


def shares_by(train: pd.DataFrame, by: str | pd.Series) -> pd.DataFrame:
    """`shares` for each value of a column, or of values of shape (n,); the largest first."""
    return shares(dict([*train.groupby(by)["target"]])).sort_values("share", ascending=False)


def shares_with(train: pd.DataFrame, phrases: Sequence[str]) -> pd.DataFrame:
    """`shares` among the tweets that hold each phrase as whole words; a tweet may hold several."""
    lower = train["text"].str.lower()
    return shares({phrase: train.loc[lower.str.contains(rf"\b{re.escape(phrase)}\b"), "target"] for phrase in phrases})


def families(tweets: pd.DataFrame, least: int = 2) -> pd.DataFrame:
    """The tweets of the groups of at least so many near-duplicates, largest group first, next to each other.

    `overlap`: Jaccard of words and word pairs with the first of its group, as the grouping has it.
    """
    tweets = tweets.assign(group=near_duplicates(tweets))
    tweets = tweets.assign(size=tweets.groupby("group")["id"].transform("size"))
    found = tweets[tweets["size"] >= least].sort_values(["size", "group", "id"], ascending=[False, True, True])
    items = pd.Series([shingles(units(text)) for text in found["text"]], index=found.index, dtype=object)
    first = items.groupby(found["group"]).transform("first")
    return found.assign(overlap=[jaccard(a, b) for a, b in zip(items, first, strict=True)])
