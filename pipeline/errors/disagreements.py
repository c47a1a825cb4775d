"""What classifiers make of single tweets: where twins disagree, and where a classifier is sure and wrong."""

import pandas as pd

from pipeline.contracts import Predictions
from pipeline.stats.decisions import THRESHOLD, decided_rightly

SCHOOLS = ["generative", "discriminative"]
SCORES = ["score_generative", "score_discriminative"]


def shown_tweets(train: pd.DataFrame) -> pd.DataFrame:
    """What a list shows of each tweet, by id."""
    return train.set_index("id")[["target", "keyword", "raw_text"]]


def scores_of(train: pd.DataFrame, classifiers: list[Predictions]) -> pd.DataFrame:
    """The score of each tweet, by id, by each classifier, a column each: NaN for those that it did not score or read."""
    scores = {one.name: one.train.set_index("id")["score"] for one in classifiers}
    return pd.DataFrame(scores, index=pd.Index(train["id"]))


def disagreements(train: pd.DataFrame, classifiers: list[Predictions], twins: list[tuple[str, str]]) -> pd.DataFrame:
    """The tweets that a generative classifier and its twin decide differently, of each pair the largest gap first.

    Of pairs that are both there, and with which of the two is `right`: `generative` and `discriminative` are their names.
    Unlike classifiers disagree for what they read; twins for their school.
    """
    scores, found = scores_of(train, classifiers), []
    for generative, discriminative in (pair for pair in twins if {*pair} <= {*scores}):
        both = scores[[generative, discriminative]].dropna().set_axis(SCORES, axis=1)
        apart = shown_tweets(train).join(both[(both > THRESHOLD).sum(axis=1) == 1], how="right")
        right = (apart["score_generative"] > THRESHOLD) == (apart["target"] == 1)
        apart = apart.assign(
            generative=generative,
            discriminative=discriminative,
            right=right.map({True: "generative", False: "discriminative"}),
            gap=(apart["score_generative"] - apart["score_discriminative"]).abs(),
        )
        found.append(apart.sort_values("gap", ascending=False, kind="stable").rename_axis("id").reset_index())
    return pd.concat(found) if found else pd.DataFrame(columns=["id", "raw_text", *SCHOOLS, "gap"])


def by_pair(apart: pd.DataFrame) -> list[tuple[str, str, int, int]]:
    """Of each pair of `disagreements`: both names, on how many tweets they disagree, on how many the generative one is right."""
    pairs = apart.groupby(SCHOOLS, sort=False)["right"]
    return [(str(a), str(b), len(right), int((right == "generative").sum())) for (a, b), right in pairs]


def confident_errors(train: pd.DataFrame, name: str, rows: pd.DataFrame, show: int) -> pd.DataFrame:
    """A classifier's wrong decisions, of its `scored_rows`, the surest first; an unread reply is not sure of anything."""
    read = rows.dropna(subset="score")
    wrong = read.loc[~decided_rightly(read), "score"]
    surest = (wrong - THRESHOLD).abs().sort_values(ascending=False, kind="stable").head(show).index
    listed = shown_tweets(train).loc[surest].assign(classifier=name, score=wrong[surest]).reset_index()
    return listed[["classifier", "id", "target", "score", "keyword", "raw_text"]]
