"""What notebooks ask of the prepared tweets: pure functions from tweets to small tables."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from pipeline.contracts import near_duplicates
from pipeline.data.clean import units
from pipeline.data.near_duplicates import jaccard, shingles


def shares(parts: Mapping[Any, pd.Series]) -> pd.DataFrame:
    """By name of several lots of targets: `rows`, the `share` of 1, and `low` and `high` of its 95 % interval (Wilson 1927)."""
    found = {}
    for name, targets in parts.items():
        ends = (
            binomtest(int(targets.sum()), len(targets)).proportion_ci(method="wilson")
            if len(targets)
            else (np.nan,) * 2
        )
        found[name] = [len(targets), targets.mean(), *ends]
    return pd.DataFrame.from_dict(found, orient="index", columns=["rows", "share", "low", "high"])


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


def conflicts(train: pd.DataFrame) -> pd.DataFrame:
    """The `families` whose tweets carry both labels."""
    return families(train[train.groupby(near_duplicates(train))["target"].transform("nunique") > 1])


def both_ways(train: pd.DataFrame, keyword: str, each: int = 2) -> pd.DataFrame:
    """The shortest tweets of a keyword with target 1, and the shortest with target 0."""
    rows = train[train["keyword"] == keyword]
    rows = rows.assign(length=rows["text"].str.len()).sort_values(["length", "id"])
    return rows.groupby("target").head(each).sort_values("target", ascending=False)[["target", "text"]]
