"""The features that the twins share: how often each word, run of words and keyword occurs in a tweet."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from pipeline.contracts import Params, written_whole

# A word, with an apostrophe inside if it has one; hashtags count as the word they hold, and so do mentions and links.
WORD = r"\w+(?:'\w+)*"


class CountsParams(Params):
    """What is counted, and how the twins' hyperparameters are chosen."""

    ngrams: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    """Longest run of words to count; the best is chosen inside the training folds."""
    min_count: int = Field(ge=1)
    """Least number of training tweets that a word or run must occur in."""
    inner_folds: int = Field(ge=2)
    """Folds, by group, that hyperparameters are compared on inside the training rows."""


def whole(keyword: str) -> list[str]:
    """A keyword is one token, spaces and all, and so is its absence."""
    return [keyword or "(none)"]


def features(tweets: pd.DataFrame) -> pd.DataFrame:
    """The columns that are counted: `text`, and `keyword` with "" where it is missing."""
    return tweets[["text", "keyword"]].fillna({"keyword": ""})


def vectorizer(params: CountsParams) -> ColumnTransformer:
    """From `features` to presence of words and keywords: a sparse matrix of 0 and 1, shape (n, vocabulary).

    Presence instead of counts, as Wang & Manning (2012, https://aclanthology.org/P12-2018) found best for short texts.
    """
    words = CountVectorizer(token_pattern=WORD, min_df=params.min_count, binary=True)
    return ColumnTransformer([("word", words, "text"), ("keyword", CountVectorizer(analyzer=whole), "keyword")])


def search(
    classifier: BaseEstimator,
    grid: dict[str, list[float]],
    tweets: pd.DataFrame,
    labels: np.ndarray,
    params: CountsParams,
) -> Pipeline:
    """The pipeline of counts and classifier whose n-grams and hyperparameters are most accurate on inner folds by group.

    `grid` names the classifier's hyperparameters and the values to try; labels have shape (n,).
    """
    pipeline = Pipeline([("counts", vectorizer(params)), ("classifier", classifier)])
    space = {
        "counts__word__ngram_range": [(1, n) for n in params.ngrams],
        **{f"classifier__{name}": values for name, values in grid.items()},
    }
    inner = StratifiedGroupKFold(params.inner_folds, shuffle=True, random_state=0)
    found = GridSearchCV(pipeline, space, cv=inner, scoring="accuracy", n_jobs=-1, error_score="raise")
    return found.fit(features(tweets), labels, groups=tweets["group"]).best_estimator_


def terms(model: Pipeline) -> np.ndarray:
    """The vocabulary of a fitted pipeline, as `word__fire` or `keyword__fire`, shape (vocabulary,)."""
    names: np.ndarray = model["counts"].get_feature_names_out()
    return names


def write_words(name: str, weights: list[pd.Series]) -> None:
    """Write `models/<name>/words.csv`: per term its weight towards target 1, mean over the folds that counted it.

    Each fold's weights are indexed by `terms`.
    """
    table = pd.concat(weights).groupby(level=0).agg(weight="mean", folds="size").rename_axis("term").reset_index()
    table[["kind", "term"]] = table["term"].str.split("__", n=1, expand=True)
    table = table.sort_values(["weight", "term"], ascending=[False, True])[["kind", "term", "weight", "folds"]]
    with written_whole(Path("models") / name / "words.csv") as partial:
        table.to_csv(partial, index=False)
