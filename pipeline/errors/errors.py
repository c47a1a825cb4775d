"""Where the classifiers fail: on which kinds of tweets, where twins disagree, and which labels may be wrong.

- slices: is a classifier worse on tweets with a link, with a certain keyword, ... than on the rest?
- disagreements: tweets that a generative classifier decides otherwise than its discriminative twin
- confident errors of each classifier
- label noise: labels that confident learning suspects, listed and never left out; and what a training that leaves out or turns
  those suspected inside its training folds is worth, scored against the original label of every row

in:  data/prepared, predictions/*.parquet, and what the classifiers of errors.relabel need
out: errors/: table.md, slices.csv, disagreements.csv, confident_errors.csv, label_noise.csv, relabelled.csv
run: dvc repro errors   (or python -m pipeline.stage errors.errors)
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from pipeline.compare.scored import TwinsParams, read_all, scored_rows
from pipeline.compare.taking_part import family_of
from pipeline.contracts import (
    InputError,
    Params,
    Prepared,
    read_params,
    read_prepared,
    write_text,
)
from pipeline.data.source import DataParams
from pipeline.errors.disagreements import confident_errors, disagreements
from pipeline.errors.errors_table import render
from pipeline.errors.label_noise import Treated, Treatment, calibrated_mean, compare_treatments, fits, list_suspects
from pipeline.errors.slices import judge_slices, slices_of
from pipeline.fit.classifier import read_classifier_of
from pipeline.spreadsheet import write_tweets
from pipeline.stats.bootstrap import bootstrap_means
from pipeline.stats.decisions import decide, decided_rightly

OUT = Path("errors")


class ErrorsParams(Params):
    min_rows: int = Field(20, ge=5)
    """Least number of tweets in a slice, near-duplicates counted once."""
    show: int = Field(50, ge=1)
    """Most confident errors of each classifier that are listed."""
    relabel: list[str] = Field(["naive_bayes", "logistic"])
    """Classifiers that take part, trained without the labels that are suspected."""
    draws: int = Field(1000, ge=100)
    """Of the bootstrap, for each interval."""
    seed: int = Field(0, ge=0)


def compare_with_keep(
    name: str, treated: dict[Treatment, Treated], train: pd.DataFrame, params: ErrorsParams
) -> list[dict[str, object]]:
    """A row for each treatment: accuracy against the original labels, and that minus the accuracy of `keep`."""
    targets, groups = train["target"].to_numpy(), train["group"].to_numpy()
    right = {
        treatment: (decide(targets, found.scores) == targets).astype(float) for treatment, found in treated.items()
    }
    rows: list[dict[str, object]] = []
    for treatment, found in treated.items():
        values = np.stack([right[treatment], right[treatment] - right["keep"]], axis=1)
        low, high = bootstrap_means(values, groups, params.draws, params.seed)
        accuracy, difference = values.mean(axis=0)
        rows.append(
            {"classifier": name, "treatment": treatment, "trained_without": round(found.trained_without)}
            | {"accuracy": accuracy, "low": low[0], "high": high[0]}
            | {"difference": difference, "difference_low": low[1], "difference_high": high[1]}
        )
    return rows


def relabelled(prepared: Prepared, params: ErrorsParams) -> pd.DataFrame:
    """What each treatment of suspected labels is worth to each classifier of `params.relabel`."""
    families = {name: family_of(name, "params.yaml: errors.relabel") for name in params.relabel}
    folds = prepared.train["fold"].nunique()
    if params.relabel and folds < 3:
        raise InputError(
            "errors.relabel: labels are judged by models that two folds are kept from; set prepare.folds to 3"
        )
    rows = []
    for name, family in families.items():
        trainer = read_classifier_of(family.module, family.preset, "errors.relabel")
        with tqdm(total=fits(folds), desc=f"errors {name}", unit="model") as progress:
            treated = compare_treatments(trainer, trainer.with_inputs(prepared), progress)
        rows += compare_with_keep(name, treated, prepared.train, params)
    columns = ["classifier", "treatment", "trained_without", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "difference_low", "difference_high"])


def main() -> None:
    params, prepared = read_params("errors", ErrorsParams), read_prepared()
    train, labels = prepared.train, read_params("data", DataParams).labels
    classifiers, left_out = read_all(prepared)
    rows = {one.name: scored_rows(prepared, one) for one in classifiers}
    everywhere = [
        one for one in classifiers if len(rows[one.name]) == len(train) and rows[one.name]["score"].notna().all()
    ]
    slices, groups = slices_of(train, params.min_rows), train["group"].to_numpy()
    judged = []
    for one in tqdm(everywhere if slices else [], desc="errors", unit="classifier"):
        right = decided_rightly(rows[one.name]).to_numpy(dtype=float)
        judged.append(judge_slices(right, slices, groups, params.draws, params.seed).assign(classifier=one.name))
    targets, folds = train["target"].to_numpy(), train["fold"].to_numpy()
    scores = np.stack([rows[one.name]["score"].to_numpy() for one in everywhere])
    by_slice = pd.concat(judged) if judged else pd.DataFrame(columns=["slice", "classifier", "worse"])
    tables = {
        "slices": by_slice.set_index("classifier").reset_index(),
        "disagreements": disagreements(train, classifiers, read_params("twins", TwinsParams).pairs),
        "confident_errors": pd.concat(
            [confident_errors(train, one, rows[one.name], params.show) for one in classifiers]
        ),
        "label_noise": list_suspects(train, calibrated_mean(scores, targets, folds)),
        "relabelled": relabelled(prepared, params),
    }
    for name, table in tables.items():
        write_tweets(OUT / f"{name}.csv", table.round(5))
    write_text(
        OUT / "table.md",
        render(**tables, classifiers=len(everywhere), rows=len(train), labels=labels, left_out=left_out),
    )
