"""What classifiers make of single tweets: where the schools disagree, and where a classifier is sure and wrong."""

import pandas as pd
from scipy.special import expit, logit

from pipeline.contracts import Predictions, School
from pipeline.verdict.scored import THRESHOLD, decided_rightly

SCHOOLS: tuple[School, ...] = ("generative", "discriminative")
CLIP = 1e-6  # keeps the log-odds of a certain score finite


def shown_tweets(train: pd.DataFrame) -> pd.DataFrame:
    """What a list shows of each tweet, by id."""
    return train.set_index("id")[["target", "keyword", "raw_text"]]


def opinions(train: pd.DataFrame, classifiers: list[Predictions]) -> pd.DataFrame:
    """By id: what each school's classifiers that scored a row make of it together, the `gap`, and `score_<classifier>`.

    A school's opinion is the logistic of its mean log-odds; the gap is that between the two opinions, which may be unknown.
    """
    scores = pd.DataFrame(
        {one.name: one.train.set_index("id")["score"] for one in classifiers}, index=pd.Index(train["id"])
    )
    log_odds = pd.DataFrame(logit(scores.clip(CLIP, 1 - CLIP)), index=scores.index, columns=scores.columns)
    found = pd.DataFrame(
        {
            school: expit(log_odds[[one.name for one in classifiers if one.school == school]].mean(axis=1))
            for school in SCHOOLS
        }
    )
    found["gap"] = (found["generative"] - found["discriminative"]).abs()
    return found.join(scores.add_prefix("score_"))


def disagreements(train: pd.DataFrame, classifiers: list[Predictions], show: int) -> pd.DataFrame:
    """The tweets that the two schools decide differently, the largest gap first."""
    found = opinions(train, classifiers)
    decided = found[list(SCHOOLS)].dropna() > THRESHOLD
    found = found.loc[decided.index[decided["generative"] != decided["discriminative"]]]
    ordered = found.sort_values("gap", ascending=False, kind="stable").head(show)
    return shown_tweets(train).loc[ordered.index].join(ordered).reset_index()


def confident_errors(train: pd.DataFrame, one: Predictions, rows: pd.DataFrame, show: int) -> pd.DataFrame:
    """A classifier's wrong decisions, the surest first; a reply that could not be read is not sure of anything."""
    read = rows.dropna(subset="score")
    wrong = read[~decided_rightly(read)]
    surest = (wrong["score"] - THRESHOLD).abs().sort_values(ascending=False, kind="stable").head(show).index
    listed = shown_tweets(train).loc[surest].assign(classifier=one.name, score=wrong["score"][surest]).reset_index()
    return listed[["classifier", "id", "target", "score", "keyword", "raw_text"]]
