"""Which tweets tell most about classifiers: some on which twins disagree, some sure errors, some on which all are right."""

import re

import numpy as np
import pandas as pd
from scipy.special import expit

from pipeline.contracts import Predictions
from pipeline.errors.disagreements import disagreements, scores_of
from pipeline.stats.decisions import THRESHOLD
from pipeline.stats.metrics import log_odds

MARKUP = (r"</?[A-Za-z]", r"&lt;", r"<|>|&(?:#\d+|\w+);")
"""Text that a careless page would take for HTML, the most dangerous first."""


def markup(text: str) -> int:
    """The place in `MARKUP` of the worst that the text holds; its length for none."""
    return next((place for place, pattern in enumerate(MARKUP) if re.search(pattern, text)), len(MARKUP))


def ordered_kinds(train: pd.DataFrame, classifiers: list[Predictions], twins: list[tuple[str, str]]) -> list[pd.Index]:
    """Ids of twins' disagreements, of errors of all together, and of tweets that all are right about, telling ones first.

    The last in turns of both labels, so that there are some of each.
    """
    targets, scores = train.set_index("id")["target"], scores_of(train, classifiers)
    apart = disagreements(train, classifiers, twins).sort_values("gap", ascending=False, kind="stable")["id"].unique()
    together = expit(scores.apply(log_odds).mean(axis=1)).dropna()
    sureness = (together - THRESHOLD).abs().sort_values(ascending=False, kind="stable")
    together, targets, scores = (each.loc[sureness.index] for each in (together, targets, scores))
    wrong = sureness.index[(together > THRESHOLD) != (targets == 1)]
    each_right = (scores > THRESHOLD).eq(targets == 1, axis=0) | scores.isna()
    easy = targets[each_right.all(axis=1)]
    turns = easy.groupby(easy).cumcount().sort_values(kind="stable").index
    return [pd.Index(apart), wrong, turns]


def telling_tweets(
    train: pd.DataFrame, classifiers: list[Predictions], twins: list[tuple[str, str]], pool: pd.Index, number: int
) -> list[int]:
    """Ids of so many tweets of the pool, a third of each of `ordered_kinds` where there are enough, without near-duplicates.

    If any tweet at all holds something like HTML, one of these does: whoever shows them must be ready for it.
    """
    by_id, third = train.set_index("id"), number // 3
    kinds = [ids[ids.isin(pool)] for ids in ordered_kinds(train, classifiers, twins)]
    chosen: list[int] = []

    def take(ids: pd.Index, most: int) -> None:
        for one in ids:
            if most <= 0 or len(chosen) == number:
                return
            if by_id.loc[one, "group"] not in set(by_id.loc[chosen, "group"]):
                chosen.append(int(one))
                most -= 1

    for ids, share in zip(kinds, (third, third, number - 2 * third), strict=True):
        take(ids, share)
    for ids in (*kinds, pool):  # where a kind had too few
        take(ids, number)
    dangers = by_id["raw_text"].map(markup)
    worst = by_id.index[np.lexsort((~by_id.index.isin(pool), dangers))[0]]
    if chosen and dangers[worst] < dangers[chosen].min():
        chosen[-1] = int(worst)
    return chosen
