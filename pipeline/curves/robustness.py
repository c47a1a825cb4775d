"""How much worse each classifier gets when tweets are garbled, or speak of other things than those it learnt from.

- noise: the words of held-out tweets are dropped, or replaced by words drawn from the training tweets, at rising rates; the
  model is that of the clean training tweets (a view of Kasa et al. 2025, "Generative or Discriminative? Revisiting Text
  Classification in the Era of Transformers", EMNLP)
- shift: the keywords are dealt into as many hands as there are folds; each hand's tweets are scored by a model that saw none
  of its keywords, and compared with what a model of other folds says of the same tweets; not measured without keywords

in:  data/prepared, and what the classifiers need
out: study/robustness/: table.md, noise.csv, shift.csv
run: make study   (or python -m pipeline.stage --study curves.robustness)
"""

import itertools
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from pipeline.compare.scored import BootstrapParams, accuracy_interval
from pipeline.contracts import Prepared, read_params, read_prepared, write_text
from pipeline.contracts.files import write_csv
from pipeline.curves.learning_curve import LearningCurveParams, read_curve_classifier
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import REFIT, training_rows
from pipeline.places import STUDY
from pipeline.stats.decisions import decided_rightly
from pipeline.tables import LOW_HIGH, Column, page, spread

OUT = STUDY / "robustness"

Noise = Literal["drop", "substitute"]
KINDS: tuple[Noise, ...] = ("drop", "substitute")
SHIFT = ["classifier", "what", "value", "low", "high"]
NO_SHIFT = "What unseen keywords cost was not measured: there are too few keywords to leave some out and still learn both labels."


class RobustnessParams(BootstrapParams):
    classifiers: list[str] = Field(["naive_bayes", "logistic"], min_length=1)
    """Keys of learning_curve.curves."""
    rates: list[Annotated[float, Field(gt=0, le=1)]] = Field([0.05, 0.1, 0.2, 0.3], min_length=1)
    """Shares of the words that are dropped or replaced."""


def garble(texts: pd.Series, kind: Noise, rate: float, vocabulary: np.ndarray, seed: int) -> list[str]:
    """The texts with each word dropped, or replaced by one of the vocabulary (drawn evenly), at this rate.

    One word at least is left of each.
    """
    rng = np.random.default_rng(seed)
    garbled = []
    for text in texts:
        words = np.array(text.split(), dtype=object)
        hit = rng.random(len(words)) < rate
        if kind == "substitute":
            words[hit] = rng.choice(vocabulary, hit.sum())
        elif len(words):
            hit[rng.integers(len(words))] &= not hit.all()
            words = words[~hit]
        garbled.append(" ".join(words))
    return garbled


def right_about(tweets: pd.DataFrame, own: Classifier, model: Any) -> pd.Series:
    """Whether the model decides each tweet rightly at one half, indexed by id."""
    return decided_rightly(tweets.set_index("id")[["target"]].assign(score=own.predict(model, tweets)))


def under_noise(own: Classifier, prepared: Prepared, params: RobustnessParams) -> pd.DataFrame:
    """Whether each train row is decided rightly, by a model of other folds, in columns (kind, rate); rate 0: as it is."""
    folds = []
    for fold in sorted(prepared.train["fold"].unique().tolist()):
        tweets, labels = training_rows(prepared.train, fold)
        model = own.fit(tweets, labels, params.seed)
        held_out = prepared.train[prepared.train["fold"] == fold]
        vocabulary = np.array(" ".join(tweets["text"]).split(), dtype=object)
        right = {("none", 0.0): right_about(held_out, own, model)}
        for kind, rate in itertools.product(KINDS, params.rates):
            garbled = held_out.assign(text=garble(held_out["text"], kind, rate, vocabulary, fold))
            right[kind, rate] = right_about(own.read_new(garbled), own, model)
        folds.append(pd.DataFrame(right))
    return pd.concat(folds)


def deal_keywords(train: pd.DataFrame, seed: int) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """The keywords dealt into as many hands as folds, those without one as a keyword: the tweets of each hand, and the others.

    Near-duplicates of a hand's tweets are not among the others.
    """
    keywords, count = train["keyword"].fillna(""), train["fold"].nunique()
    order = np.random.default_rng(seed).permutation(keywords.unique())
    hand_of = keywords.map({keyword: place % count for place, keyword in enumerate(order)})
    hands = [train[hand_of == hand] for hand in sorted(hand_of.unique())]
    return [(one, train[~train.index.isin(one.index) & ~train["group"].isin(one["group"])]) for one in hands]


def can_be_dealt(train: pd.DataFrame, seed: int) -> bool:
    """Whether each hand of keywords leaves tweets of both labels to learn from; without keywords there is one hand."""
    return all(others["train_target"].nunique() == 2 for _, others in deal_keywords(train, seed))


def under_shift(own: Classifier, prepared: Prepared, params: RobustnessParams) -> pd.Series:
    """Whether each train row is decided rightly by a model that saw neither its keyword nor its near-duplicates."""
    right: pd.Series = pd.concat(
        right_about(held_out, own, own.fit(*training_rows(others, held_out=REFIT), params.seed))
        for held_out, others in deal_keywords(prepared.train, params.seed)
    )
    return right


def interval(values: pd.Series, groups: pd.Series, params: RobustnessParams) -> dict[str, float | None]:
    """The mean of values by id, with the ends of its interval; groups by id."""
    low, high = accuracy_interval(values, groups, params)
    return {"value": float(values.to_numpy(dtype=float).mean()), "low": low, "high": high}


def render(noise: pd.DataFrame, shift: pd.DataFrame) -> str:
    """The page: accuracy at each rate of noise, and what new disasters cost."""
    accuracy, lost = Column("", "value", ".3f", 1, LOW_HIGH), Column("", "value", ".2f", 100, LOW_HIGH)
    classifier = Column("classifier", "classifier")
    noise = noise.assign(noise=noise["kind"] + noise["rate"].map(lambda rate: f" {rate:.0%}" if rate else ""))
    by_rate = spread(noise, classifier, {name: name for name in noise["noise"].unique()}, "noise", accuracy.text)
    parts = [
        "Accuracy on held-out texts whose words are dropped or replaced (95 % interval by bootstrap over groups):",
        by_rate.markdown(),
    ]
    if shift.empty:
        return page(*parts, NO_SHIFT)
    titles = {"seen": "Keywords seen", "unseen": "Keywords unseen", "lost": "Lost, points"}
    parts += [
        "Accuracy on texts with keywords that training has not seen, against the same texts with keywords that it has:",
        spread(
            shift, classifier, titles, "what", lambda row: (lost if row["what"] == "lost" else accuracy).text(row)
        ).markdown(),
    ]
    return page(*parts)


def main() -> None:
    params, tweets = read_params("robustness", RobustnessParams), read_prepared()
    curves, groups = read_params("learning_curve", LearningCurveParams), tweets.train.set_index("id")["group"]
    dealt = can_be_dealt(tweets.train, params.seed)
    noise, shift = [], []
    for name in tqdm(params.classifiers, desc="robustness", unit="classifier"):
        own = read_curve_classifier(name, curves, "robustness.classifiers")
        prepared = own.with_inputs(tweets)
        right = under_noise(own, prepared, params)
        for noised in right.columns:
            found = interval(right[noised], groups, params)
            noise.append({"classifier": name, "kind": noised[0], "rate": noised[1]} | found)
        if dealt:
            seen, unseen = right["none", 0.0], under_shift(own, prepared, params)
            for what, values in (("seen", seen), ("unseen", unseen), ("lost", seen.astype(int) - unseen.astype(int))):
                shift.append({"classifier": name, "what": what} | interval(values, groups, params))
    tables = {"noise": pd.DataFrame(noise), "shift": pd.DataFrame(shift, columns=SHIFT)}
    for name, table in tables.items():
        write_csv(OUT / f"{name}.csv", table, 5)
    write_text(OUT / "table.md", render(**tables))
