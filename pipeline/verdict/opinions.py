"""What classifiers make of single tweets: where twins disagree, and where a classifier is sure and wrong."""

import pandas as pd

from pipeline.contracts import Predictions
from pipeline.verdict.scored import THRESHOLD, decided_rightly


def shown_tweets(train: pd.DataFrame) -> pd.DataFrame:
    """What a list shows of each tweet, by id."""
    return train.set_index("id")[["target", "keyword", "raw_text"]]


def scores_of(train: pd.DataFrame, classifiers: list[Predictions]) -> pd.DataFrame:
    """The score of each tweet, by id, by each classifier, a column each: NaN for those that it did not score or read."""
    scores = {one.name: one.train.set_index("id")["score"] for one in classifiers}
    return pd.DataFrame(scores, index=pd.Index(train["id"]))


def disagreements(train: pd.DataFrame, classifiers: list[Predictions], twins: list[tuple[str, str]]) -> pd.DataFrame:
    """The tweets that a generative classifier and its twin decide differently, of each pair the largest gap first.

    Of pairs that are both there. Unlike classifiers disagree for what they read; twins for their school.
    """
    scores, tweets = scores_of(train, classifiers), shown_tweets(train)
    found = []
    for generative, discriminative in (pair for pair in twins if {*pair} <= {*scores}):
        of_both = (
            scores[[generative, discriminative]].dropna().set_axis(["score_generative", "score_discriminative"], axis=1)
        )
        apart = of_both[(of_both > THRESHOLD).sum(axis=1) == 1]
        gap = (apart["score_generative"] - apart["score_discriminative"]).abs()
        names = {"generative": generative, "discriminative": discriminative}
        listed = tweets.join(apart.assign(gap=gap, **names), how="right")
        found.append(listed.sort_values("gap", ascending=False, kind="stable").rename_axis("id").reset_index())
    names_and_scores = ["generative", "discriminative", "score_generative", "score_discriminative", "gap"]
    return pd.concat(found) if found else pd.DataFrame(columns=["id", *tweets, *names_and_scores])


def counted(apart: pd.DataFrame) -> pd.DataFrame:
    """For each pair of `disagreements`: `generative`, `discriminative`, the `tweets`, and on how many either one is `right`."""
    right = (apart["score_generative"] > THRESHOLD) == (apart["target"] == 1)
    pairs = apart.assign(generative_right=right, discriminative_right=~right).groupby(
        ["generative", "discriminative"], sort=False
    )
    counts = pairs[["generative_right", "discriminative_right"]].sum()
    return counts.assign(tweets=counts.sum(axis=1)).reset_index()


def confident_errors(train: pd.DataFrame, one: Predictions, rows: pd.DataFrame, show: int) -> pd.DataFrame:
    """A classifier's wrong decisions, the surest first; a reply that could not be read is not sure of anything."""
    read = rows.dropna(subset="score")
    wrong = read[~decided_rightly(read)]
    surest = (wrong["score"] - THRESHOLD).abs().sort_values(ascending=False, kind="stable").head(show).index
    listed = shown_tweets(train).loc[surest].assign(classifier=one.name, score=wrong["score"][surest]).reset_index()
    return listed[["classifier", "id", "target", "score", "keyword", "raw_text"]]
