"""The features that the twins share: which words, runs of words and keyword occur in a tweet."""

import itertools
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline

from pipeline.contracts import InputError
from pipeline.data.clean import word_pattern
from pipeline.fit.tuning import Tuned, TunedParams, choose, fit_tuned, out_of_inner_folds
from pipeline.places import results
from pipeline.spreadsheet import write_tweets


class CountsParams(TunedParams):
    """What is counted; it is chosen inside the training folds, once for all families, and before their own hyperparameters."""

    ngrams: list[Annotated[int, Field(ge=1)]] = Field([1, 2], min_length=1)
    """Longest runs of words to try."""
    min_count: list[Annotated[int, Field(ge=1)]] = Field([1, 2], min_length=1)
    """Least numbers of training tweets that a word or run must occur in, to try."""


def whole(keyword: str) -> list[str]:
    """A keyword is one token, spaces and all, and so is its absence."""
    return [keyword or "(none)"]


def features(tweets: pd.DataFrame) -> pd.DataFrame:
    """The columns that are counted: `text`, and `keyword` with "" where it is missing."""
    return tweets[["text", "keyword"]].fillna({"keyword": ""})


def vectorizer(ngrams: int, min_count: int, *, keywords: bool) -> ColumnTransformer:
    """From `features` to presence of words and, if asked, keywords: a sparse matrix of 0 and 1, shape (n, vocabulary).

    Hashtags count as the word they hold, and so do mentions and links.

    Presence instead of counts, as Wang & Manning (2012, https://aclanthology.org/P12-2018) found best for short texts.
    """
    words = CountVectorizer(token_pattern=word_pattern(), ngram_range=(1, ngrams), min_df=min_count, binary=True)
    counted = [("word", words, "text")]
    counted += [("keyword", CountVectorizer(analyzer=whole), "keyword")] if keywords else []
    return ColumnTransformer(counted, sparse_threshold=1.0)


class Counted(TransformerMixin, BaseEstimator):
    """What `vectorizer(ngrams, min_count)` makes of rows whose words were all counted before, shape (n, terms).

    `lengths` are how many words each term is a run of, shape (terms,), and 0 for keywords. Reading texts is most of the work on
    counts: for the inner folds they are read once.
    """

    def __init__(self, lengths: np.ndarray, ngrams: int, min_count: int) -> None:
        self.lengths = lengths
        self.ngrams = ngrams
        self.min_count = min_count

    def fit(self, counts: csr_array, _: object = None) -> "Counted":
        rows = np.bincount(counts.indices, minlength=counts.shape[1])
        frequent = np.where(self.lengths == 0, rows > 0, rows >= self.min_count)
        self.kept_ = np.flatnonzero(frequent & (self.lengths <= self.ngrams))
        return self

    def transform(self, counts: csr_array) -> csr_array:
        return counts[:, self.kept_]


def count_all(tweets: pd.DataFrame, ngrams: int, min_count: int, *, keywords: bool) -> tuple[csr_array, np.ndarray]:
    """The counts of all rows, shape (n, terms), and the `lengths` of their terms."""
    counter = vectorizer(ngrams, min_count, keywords=keywords)
    counts = csr_array(counter.fit_transform(features(tweets)))
    counts.sort_indices()  # as they are in rows that a fitted vectorizer transforms: sums come out the same to the last digit
    kinds, found = zip(*(name.split("__", 1) for name in counter.get_feature_names_out()), strict=True)
    lengths = [(kind == "word") * (term.count(" ") + 1) for kind, term in zip(kinds, found, strict=True)]
    return counts, np.array(lengths)


VOTERS = (MultinomialNB(), LogisticRegression(max_iter=1000))
"""Who chooses what is counted: a classifier of either school, as scikit-learn sets it, whichever family will use the counts."""


def choose_on_counts(
    classifiers: Sequence[BaseEstimator], tweets: pd.DataFrame, labels: np.ndarray, params: CountsParams
) -> Tuned:
    """The classifier that is most accurate on inner folds by group, for labels of shape (n,), on counts that all families share.

    The counts are those on which the `VOTERS` are most accurate on average: they depend on the tweets and labels alone, so that
    a generative family and its discriminative twin see the same, and neither has a say that the other has not.
    """
    keywords = bool(tweets["keyword"].notna().any())  # where none has one, its absence says nothing
    try:
        counts, lengths = count_all(tweets, max(params.ngrams), min(params.min_count), keywords=keywords)
    except ValueError:  # scikit-learn's, of a vocabulary without words
        raise InputError("params.yaml: counts.min_count: no word is in so many of the training tweets") from None
    pairs = itertools.product(params.ngrams, params.min_count)
    tried = [pair for pair in pairs if len(Counted(lengths, *pair).fit(counts).kept_)]  # none may occur twice
    counted = [Counted(lengths, *each) for each in tried]
    of_folds = (counts, labels, tweets["group"], params.inner_folds)
    best = 0
    if len(counted) > 1:
        right = (out_of_inner_folds(counted, VOTERS, *of_folds) > 0) == labels
        best = int(np.argmax(right.mean(axis=(1, 2))))
    classifier, rule = choose(counted[best], classifiers, *of_folds)
    return fit_tuned(vectorizer(*tried[best], keywords=keywords), classifier, features(tweets), labels, rule)


def terms(pipeline: Pipeline) -> np.ndarray:
    """The vocabulary of a fitted pipeline, as `word__fire` or `keyword__fire`, shape (vocabulary,)."""
    return np.asarray(pipeline["features"].get_feature_names_out())


def write_words(name: str, weights: list[pd.Series]) -> None:
    """Write `models/<name>/words.csv`: per term its weight towards target 1, mean over the folds that counted it.

    Each fold's weights are indexed by `terms`.
    """
    table = pd.concat(weights).groupby(level=0).agg(weight="mean", folds="size").rename_axis("term").reset_index()
    table[["kind", "term"]] = table["term"].str.split("__", n=1, expand=True)
    table = table.sort_values(["weight", "term"], ascending=[False, True])[["kind", "term", "weight", "folds"]]
    write_tweets(results("models") / name / "words.csv", table)  # a keyword may be a formula
