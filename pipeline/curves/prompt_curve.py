"""A prompt in the learning curves: the level it reaches without a label, and what n labels add by Platt scaling.

Platt scaling (Platt 1999) is a logistic regression on the LLM's log-odds: two numbers to learn, from nested subsets of the
tweets that the LLM was asked about, drawn as for all curves.

in:  data/prepared, predictions/prompt_<prompt>.parquet, predictions/uncalibrated/…, costs/prompt_<prompt>.json
out: study/learning_curve/prompt_<prompt>.parquet, study/learning_curve/prompt_<prompt>_platt.parquet: size, seed, fold, id, score
run: make study   (or python -m pipeline.stage --study curves.prompt_curve zero_shot)
"""

import argparse

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from pipeline.compare.taking_part import predictions_of
from pipeline.contracts import (
    PREDICTIONS,
    UNCALIBRATED,
    InputError,
    Name,
    Params,
    Predictions,
    Prepared,
    plain_name,
    read_costs,
    read_params,
    read_predictions,
    read_prepared,
)
from pipeline.curves.learning_curve import LearningCurveParams, draw_curve, sizes_of, write_curve
from pipeline.fit.subsets import nested_order
from pipeline.stats.metrics import log_odds


class PromptCurveParams(Params):
    prompts: list[Name]
    """Prompts without examples, each a stage of its own."""
    seeds: int = Field(10, ge=1)
    """Subsets of each size, the folds held out in turn."""


def asked(prepared: Prepared, predictions: Predictions) -> pd.DataFrame:
    """The train tweets that the LLM was asked about, with its `score`; NaN where its reply could not be read."""
    scores = predictions.train.set_index("id")["score"]
    tweets = prepared.train[prepared.train["id"].isin(scores.index)].reset_index(drop=True)
    return tweets.assign(score=scores.loc[tweets["id"]].to_numpy())


def as_it_is(name: str, tweets: pd.DataFrame, sizes: list[int], seeds: int) -> pd.DataFrame:
    """The curve of the scores as they are: labels change nothing."""
    return draw_curve(name, tweets, sizes, seeds, lambda fold, *_: tweets["score"][tweets["fold"] == fold].to_numpy())


def platt_scaled(name: str, tweets: pd.DataFrame, sizes: list[int], seeds: int) -> pd.DataFrame:
    """The curve of the held-out scores after Platt scaling on `size` labels of the other folds; all have a score."""
    said, folds = log_odds(tweets["score"].to_numpy())[:, None], tweets["fold"].to_numpy()

    def score(fold: int, size: int, seed: int) -> np.ndarray:
        others = np.flatnonzero((folds != fold) & tweets["train_target"].notna().to_numpy())
        labels = tweets["train_target"].iloc[others].to_numpy(dtype=int)
        known = nested_order(tweets.iloc[others], labels, seed)[:size]
        # its default penalty keeps the slope finite where few labels are told apart without an error
        fitted = LogisticRegression().fit(said[others[known]], labels[known])
        return np.asarray(fitted.predict_proba(said[folds == fold])[:, 1])

    return draw_curve(name, tweets, sizes, seeds, score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt", type=plain_name, help="one of classifiers.prompts, without examples")
    name = f"prompt_{parser.parse_args().prompt}"
    params, curves = read_params("prompt_curve", PromptCurveParams), read_params("learning_curve", LearningCurveParams)
    prepared = read_prepared()
    llm = read_costs(name).llm
    if llm is None or llm.example_labels or llm.calibration_labels:
        raise InputError(
            f"prompt_curve: {name} has learnt from labels; name a prompt without examples, and calibrate it without labels"
        )
    scored, raw = (
        asked(prepared, read_predictions(predictions_of(name, folder), prepared))
        for folder in (PREDICTIONS, UNCALIBRATED)
    )
    raw, platt = raw.dropna(subset="score"), f"{name}_platt"
    few = sizes_of(Prepared(raw, prepared.test, prepared.digest), curves, None)
    write_curve(name, as_it_is(name, scored, sizes_of(prepared, curves, None), params.seeds), prepared)
    write_curve(platt, platt_scaled(platt, raw, few, params.seeds), prepared)
