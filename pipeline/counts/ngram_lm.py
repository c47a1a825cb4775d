"""N-gram language model: one a class, which tells a tweet word by word. Generative, and it knows the order of words.

    p(tweet | y) = Π_i p_y(w_i | h_i)    h: the keyword and the words before, as far back as the order allows
    p(w | h) = (max(c(h w) - D, 0) + D n(h) p(w | h')) / c(h)    h': h without its first word

Interpolated absolute discounting (Ney, Essen & Kneser 1994, https://doi.org/10.1006/csla.1994.1001): D is taken off each count
c(h w) and given to the n(h) words seen after h as the shorter history h' would share it out; the shortest is followed by all
words of the vocabulary alike. An order of 1 has no history: a multinomial naive Bayes with another smoothing. Order and D
are those that make held-out tweets of their class most probable, as a language model is judged, and not the most accurate.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.feature_extraction.text import CountVectorizer

from pipeline.contracts import InputError, Params
from pipeline.counts.on_counts import OnWords
from pipeline.data.clean import word_pattern
from pipeline.fit.bayes_rule import BayesRule, fit_bayes_rule, prior_log_odds, read_rule, write_rule
from pipeline.fit.cross_fit import inner_splits
from pipeline.fit.model_files import read_estimator, read_json, write_estimator, write_json

# No word of a tweet has angle brackets.
START, END, UNKNOWN = "<s>", "</s>", "<unk>"
KEYWORD, NONE = "<keyword {}>", "(none)"
LONGEST = 100
"""A sample ends after so many words, should the model not end it."""

History = tuple[str, ...]


class NgramLmParams(Params):
    order: list[Annotated[int, Field(ge=1)]] = Field([1, 2, 3], min_length=1)
    """Longest runs of words to try, the word that is told included."""
    discount: list[Annotated[float, Field(gt=0, lt=1)]] = Field([0.5, 0.75, 0.9], min_length=1)
    """D, to try."""
    inner_folds: int = Field(3, ge=2)


@dataclass(frozen=True)
class Counts:
    """What followed each history, of each length up to an order, in the tweets of one class."""

    following: dict[History, Counter[str]]

    @cached_property
    def totals(self) -> dict[History, int]:
        """c(h), kept because to add up a counter takes long."""
        return {history: seen.total() for history, seen in self.following.items()}

    def of_words(self, words: Sequence[str], history: History, order: int) -> np.ndarray:
        """c(h w), c(h) and n(h) of words that go on from a history, for h of 0 to order - 1 words: (words, order, 3)."""
        found = np.zeros((len(words), order, 3))
        run_on = (*history, *words)
        for i, word in enumerate(words, start=len(history)):
            for length in range(min(order, i + 1)):
                context = run_on[i - length : i]
                if seen := self.following.get(context):
                    found[i - len(history), length] = seen[word], self.totals[context], len(seen)
        return found


@dataclass(frozen=True)
class NgramLm:
    of_class: list[Counts]
    vocabulary: list[str]
    """All words of both classes; `UNKNOWN` is one more."""
    order: int
    discount: float
    rule: BayesRule

    def probabilities(self, label: int, words: Sequence[str], history: History) -> np.ndarray:
        """p(w | h) of each of the words after the same history, shape (words,)."""
        history = history[len(history) - min(self.order - 1, len(history)) :]
        found = [self.of_class[label].of_words([word], history, self.order) for word in words]
        return interpolated(np.concatenate(found), self.discount, len(self.vocabulary) + 1)


def tokens(tweets: pd.DataFrame) -> list[list[str]]:
    """Each tweet's keyword as one token, its words as the twins read them, and its end."""
    words = CountVectorizer(token_pattern=word_pattern()).build_analyzer()
    keywords = tweets["keyword"].fillna(NONE).str.lower()
    return [[KEYWORD.format(one), *words(text), END] for one, text in zip(keywords, tweets["text"], strict=True)]


def count(tweets: Iterable[Sequence[str]], order: int) -> Counts:
    following: dict[History, Counter[str]] = {}
    for tweet in tweets:
        padded = (START, *tweet)
        for i in range(1, len(padded)):
            for length in range(min(order, i + 1)):
                following.setdefault(padded[i - length : i], Counter())[padded[i]] += 1
    return Counts(following)


def count_classes(tweets: list[list[str]], labels: np.ndarray, order: int) -> tuple[list[Counts], list[str]]:
    """The counts of each class, and the vocabulary of both."""
    of_class = [count((tweets[i] for i in np.flatnonzero(labels == label)), order) for label in (0, 1)]
    return of_class, sorted({word for tweet in tweets for word in tweet})


def interpolated(found: np.ndarray, discount: float, size: int) -> np.ndarray:
    """p(w | h), shape (words,), from what `Counts.of_words` finds, shape (words, order, 3), and a vocabulary of that size."""
    p = np.full(len(found), 1 / size)
    for c_hw, c_h, n_h in np.moveaxis(found, 0, -1):
        longer = (np.maximum(c_hw - discount, 0) + discount * n_h * p) / np.maximum(c_h, 1)
        p = np.where(c_h > 0, longer, p)  # after a history that was never seen, the shorter one holds
    return p


def log_densities(
    of_class: list[Counts], tweets: list[list[str]], size: int, candidates: Sequence[tuple[int, float]]
) -> np.ndarray:
    """log p(tweet | y) by each (order, discount) of the candidates: shape (candidates, n, 2)."""
    if not tweets:
        return np.zeros((len(candidates), 0, 2))
    starts = np.cumsum([0, *map(len, tweets[:-1])])
    longest = max(order for order, _ in candidates)
    found = [np.concatenate([counts.of_words(tweet, (START,), longest) for tweet in tweets]) for counts in of_class]
    of_words = [
        [np.log(interpolated(each[:, :order], discount, size)) for each in found] for order, discount in candidates
    ]
    return np.moveaxis(np.add.reduceat(np.array(of_words), starts, axis=2), 1, 2)


def teller(model: NgramLm, label: int, rng: np.random.Generator) -> Callable[[History], str]:
    """From a history to the word that is told next, drawn from p(w | h).

    The formula is a recipe: with probability D n(h) / c(h) ask the shorter history, else take a word seen after this one.
    """
    counts, shares = model.of_class[label], dict[History, tuple[list[str], np.ndarray]]()

    def next_word(history: History) -> str:
        for length in range(min(model.order - 1, len(history)), -1, -1):
            context = history[len(history) - length :]
            if not (seen := counts.following.get(context)):
                continue
            if context not in shares:
                shares[context] = list(seen), np.cumsum(np.array(list(seen.values())) - model.discount)
            words, upto = shares[context]
            if (place := rng.random() * counts.totals[context]) < upto[-1]:
                return words[int(np.searchsorted(upto, place, side="right"))]
        return model.vocabulary[rng.integers(len(model.vocabulary))]  # any but UNKNOWN, which has no spelling

    return next_word


class Words(BaseModel):
    """What `save` writes as JSON; the counts are arrays of their places in the vocabulary, which is long."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    order: int = Field(ge=1)
    discount: float = Field(gt=0, lt=1)
    vocabulary: list[str] = Field(min_length=1)


def numbered(counts: Counts, places: dict[str, int]) -> dict[str, np.ndarray]:
    """By the histories' length, their words, the word that followed and how often it did: int32, shape (runs, length + 2)."""
    runs: dict[str, list[list[int]]] = {}
    for history, seen in counts.following.items():
        context = [places[word] for word in history]
        runs.setdefault(str(len(history)), []).extend([*context, places[word], n] for word, n in seen.items())
    return {length: np.array(rows, dtype=np.int32) for length, rows in runs.items()}


def spelt(runs: dict[str, np.ndarray], words: list[str]) -> Counts:
    """What `numbered` was given. Histories and what followed them are in their old order, from which samples are drawn."""
    following: dict[History, Counter[str]] = {}
    for length, rows in runs.items():
        width = int(length) + 2
        if rows.dtype != np.int32 or rows.ndim != 2 or rows.shape[1] != width or rows.min(initial=0) < 0:
            raise ValueError(f"runs after {length} words have shape {rows.shape}")
        for *context, word, n in rows.tolist():
            following.setdefault(tuple(words[place] for place in context), Counter())[words[word]] = n
    return Counts(following)


class NgramLmOnWords(OnWords[NgramLmParams]):
    school = "generative"
    samples = True

    def fit(self, tweets: pd.DataFrame, labels: np.ndarray, seed: int = 0) -> NgramLm:  # noqa: ARG002 - there is no chance in it
        """Order, discount and temperature are chosen on inner folds by group, then all is counted in all rows; labels (n,)."""
        prior, read, longest = prior_log_odds(labels), tokens(tweets), max(self.params.order)
        candidates = list(product(self.params.order, self.params.discount))
        out_of_fold = np.zeros((len(candidates), len(labels), 2))
        for learnt, held in inner_splits(labels, tweets["group"], self.params.inner_folds):
            of_class, vocabulary = count_classes([read[i] for i in learnt], labels[learnt], longest)
            out_of_fold[:, held] = log_densities(of_class, [read[i] for i in held], len(vocabulary) + 1, candidates)
        best = int(np.argmax(out_of_fold[:, np.arange(len(labels)), labels].mean(axis=1)))
        order, discount = candidates[best]
        rule = fit_bayes_rule(out_of_fold[best], labels, prior)
        return NgramLm(*count_classes(read, labels, order), order, discount, rule)

    def predict(self, model: NgramLm, tweets: pd.DataFrame) -> np.ndarray:
        size, own = len(model.vocabulary) + 1, [(model.order, model.discount)]
        return model.rule(log_densities(model.of_class, tokens(tweets), size, own)[0])

    def weights(self, model: NgramLm) -> pd.Series:
        """log p(w | 1) - log p(w | 0) of each word and keyword without history: how much it tells alone.

        That a keyword is missing is among them unless all are.
        """
        before, after = KEYWORD.split("{}")
        terms = {
            word: f"keyword__{word[len(before) : -len(after)]}" if word.startswith(before) else f"word__{word}"
            for word in model.vocabulary
            if word != END
        }
        if [term for term in terms.values() if term.startswith("keyword__")] == [f"keyword__{NONE}"]:
            del terms[KEYWORD.format(NONE)]
        against, towards = (np.log(model.probabilities(label, [*terms], ())) for label in (0, 1))
        return pd.Series(towards - against, index=[*terms.values()])

    def parameters(self, model: NgramLm) -> int:
        """Counts of the runs of words that were seen, and the priors."""
        return 2 + sum(len(seen) for counts in model.of_class for seen in counts.following.values())

    def sample(self, model: NgramLm, label: int, n: int, seed: int) -> list[str]:
        """`n` new texts of a class, each told word by word to its end; its keyword leads it on, and is left out."""
        next_word, texts = teller(model, label, np.random.default_rng(seed)), []
        for _ in range(n):
            told: History = (START,)
            while told[-1] != END and len(told) <= LONGEST:
                told = (*told, next_word(told))
            texts.append(" ".join(word for word in told if not word.startswith("<")))
        return texts

    def save(self, model: NgramLm, folder: Path) -> None:
        words = Words(order=model.order, discount=model.discount, vocabulary=model.vocabulary)
        places = {word: place for place, word in enumerate([*model.vocabulary, START])}
        write_json(folder / "words.json", words)
        write_estimator(folder / "counts.skops", [numbered(counts, places) for counts in model.of_class])
        write_rule(folder / "rule.json", model.rule)

    def load(self, folder: Path) -> NgramLm:
        path, words = folder / "counts.skops", read_json(folder / "words.json", Words)
        found = read_estimator(path, list)
        try:
            against, towards = (spelt(runs, [*words.vocabulary, START]) for runs in found)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise InputError(f"{path}: not the counts of two classes: {error}") from None
        return NgramLm(
            [against, towards], words.vocabulary, words.order, words.discount, read_rule(folder / "rule.json")
        )


FAMILY = NgramLmOnWords
