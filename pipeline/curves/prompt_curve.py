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
from scipy.special import logit
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
    written_whole,
)
from pipeline.curves.learning_curve import OUT, LearningCurveParams, sizes_of
from pipeline.fit.subsets import nested_order

CLIP = 1e-6  # votes and hard replies can be 0 or 1


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


def level(tweets: pd.DataFrame, points: list[tuple[int, int]]) -> pd.DataFrame:
    """The scores as they are, at each of the points (seed, size): labels change nothing."""
    folds = sorted(tweets["fold"].unique())
    frames: list[pd.DataFrame] = []
    for seed, size in points:
        fold = folds[seed % len(folds)]
        held_out = tweets[tweets["fold"] == fold]
        frames.append(held_out[["id", "score"]].assign(size=size, seed=seed, fold=fold))
    return pd.concat(frames, ignore_index=True)


def platt(tweets: pd.DataFrame, points: list[tuple[int, int]]) -> pd.DataFrame:
    """The held-out scores after Platt scaling on `size` labels of the other folds, at each of the points (seed, size)."""
    tweets = tweets.dropna(subset="score")
    x, folds = logit(tweets["score"].clip(CLIP, 1 - CLIP)).to_numpy()[:, None], sorted(tweets["fold"].unique())
    frames = []
    for seed, size in points:
        fold = folds[seed % len(folds)]
        held_out = (tweets["fold"] == fold).to_numpy()
        others = np.flatnonzero(~held_out & tweets["train_target"].notna().to_numpy())
        labels = tweets["train_target"].iloc[others].to_numpy(dtype=int)
        known = nested_order(tweets.iloc[others], labels, seed)[:size]
        # its default penalty keeps the slope finite where few labels are told apart without an error
        fitted = LogisticRegression().fit(x[others[known]], labels[known])
        scores = fitted.predict_proba(x[held_out])[:, 1]
        rows = pd.DataFrame({"id": tweets.loc[held_out, "id"].to_numpy(), "score": scores})
        frames.append(rows.assign(size=size, seed=seed, fold=fold))
    return pd.concat(frames, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt", type=plain_name, help="one of classifiers.prompts, without examples")
    name = f"prompt_{parser.parse_args().prompt}"
    params, sizes = read_params("prompt_curve", PromptCurveParams), read_params("learning_curve", LearningCurveParams)
    prepared = read_prepared()
    llm = read_costs(name).llm
    if llm is None or llm.example_labels or llm.calibration_labels:
        raise InputError(
            f"prompt_curve: {name} has learnt from labels; name a prompt without examples, and calibrate it without labels"
        )
    seeds = range(params.seeds)
    as_it_is, raw = (
        asked(prepared, read_predictions(predictions_of(name, folder), prepared))
        for folder in (PREDICTIONS, UNCALIBRATED)
    )
    few = Prepared(raw.dropna(subset="score"), prepared.test, prepared.digest)
    points = [(seed, size) for seed in seeds for size in sizes_of(prepared, sizes, None)]
    for file, frame in (
        (name, level(as_it_is, points)),
        (f"{name}_platt", platt(raw, [(seed, size) for seed in seeds for size in sizes_of(few, sizes, None)])),
    ):
        frame.attrs = {"name": file, "prepared": prepared.digest}
        with written_whole(OUT / f"{file}.parquet") as partial:
            frame[["size", "seed", "fold", "id", "score"]].to_parquet(partial, index=False)
