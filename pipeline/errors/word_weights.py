"""How much each word of a tweet says to a classifier, in log-odds: above 0 it speaks for target 1.

A word is what stands between spaces, whatever a classifier reads it as: pieces, or runs of words, are credited to the words that
they lie in. So the same tweet has the same words for every classifier.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from scipy.sparse import csr_matrix

from pipeline.counts.counts import features, whole
from pipeline.data.clean import word_pattern
from pipeline.fit.tuning import Tuned, log_odds

Span = tuple[int, int]


class Explained(NamedTuple):
    """A score's log-odds as a sum: what no word says, `base`, and the weight of each word in order."""

    base: float
    words: list[tuple[str, float]]

    @property
    def log_odds(self) -> float:
        return self.base + sum(weight for _, weight in self.words)


def credited(text: str, spans: Sequence[Span], weights: Sequence[float]) -> list[tuple[str, float]]:
    """Each word of the text with the weights of the spans (start and end in characters) whose last character is in it."""
    found = list(zip(spans, weights, strict=True))
    return [
        (word[0], sum(weight for (_, end), weight in found if word.start() < end <= word.end()))
        for word in re.finditer(r"\S+", text)
    ]


def counted_spans(text: str) -> list[Span]:
    """Where the words that are counted lie in the text."""
    return [match.span() for match in re.finditer(word_pattern(), text)]


def weights_of_spans(text: str, spans: Sequence[Span], weights: Mapping[str, float], longest: int) -> list[float]:
    """The weight of each span: of every run of up to `longest` of them an equal share, a run that recurs being one term."""
    tokens = [text[start:end].lower() for start, end in spans]
    runs = [(first, length) for length in range(1, longest + 1) for first in range(len(tokens) - length + 1)]
    terms = {run: "word__" + " ".join(tokens[run[0] : sum(run)]) for run in runs}
    times = Counter(terms.values())
    found = [0.0] * len(tokens)
    for (first, length), term in terms.items():
        for place in range(first, first + length):
            found[place] += weights.get(term, 0.0) / (times[term] * length)
    return found


def explain_counts(model: Tuned, weights: pd.Series, tweet: pd.DataFrame) -> Explained:
    """The score of one tweet, a frame of one row, by a model on counts; weights are in log-odds, by term.

    The keyword comes first, as `[keyword] fire`, if the model knows any. All is scaled as the model's temperature scales it.
    """
    classifier = model.pipeline["classifier"]
    text, keyword = features(tweet).iloc[0]
    spans = counted_spans(text)
    if [text[start:end].lower() for start, end in spans] != [text.lower()[a:b] for a, b in counted_spans(text.lower())]:
        text = text.lower()  # a few letters of the world are two when they are small
        spans = counted_spans(text)
    by_term: dict[str, float] = dict(zip(weights.index.astype(str), weights.tolist(), strict=True))
    longest = model.pipeline["features"].named_transformers_["word"].ngram_range[1]
    (term,) = whole(keyword)
    has_keywords = any(one.startswith("keyword__") for one in by_term)
    words = [(f"[keyword] {term}", by_term.get(f"keyword__{term.lower()}", 0.0))] if has_keywords else []
    words += credited(text, spans, weights_of_spans(text, spans, by_term, longest))
    empty = float(log_odds(classifier, csr_matrix((1, len(weights))))[0])
    scale = model.rule.inverse_temperature
    return Explained(scale * empty, [(word, scale * weight) for word, weight in words])
