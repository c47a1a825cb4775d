"""Where the classifiers fail: on which kinds of tweets, where twins disagree, and which labels may be wrong.

- slices: is a classifier worse on tweets with a link, with a certain keyword, ... than on the rest?
- disagreements: tweets that a generative classifier decides otherwise than its discriminative twin
- confident errors of each classifier
- label noise: labels that confident learning suspects, listed and never left out; and what a training that leaves out or turns
  those suspected inside its training folds is worth, scored against the original label of every row

The page has numbers alone, since it may be shared; the tweets are in the csv files beside it.

in:  data/prepared, predictions/*.parquet, and what the classifiers of errors.relabel need
out: errors/: table.md, slices.csv, disagreements.csv, confident_errors.csv, label_noise.csv, relabelled.csv
run: dvc repro errors   (or python -m pipeline.stage errors.errors)
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from pipeline.compare.scored import BootstrapParams, TwinsParams, read_all, scored_rows
from pipeline.compare.table import CLASSIFIER
from pipeline.compare.taking_part import family_of
from pipeline.contracts import InputError, Prepared, read_params, read_prepared, write_text
from pipeline.data.source import DataParams
from pipeline.errors.disagreements import SCHOOLS, by_pair, confident_errors, disagreements
from pipeline.errors.label_noise import Treatment, compare_treatments, list_suspects, platt_scaled_mean
from pipeline.errors.slices import judge_slices, slices_of
from pipeline.fit.classifier import read_classifier_of
from pipeline.spreadsheet import write_tweets
from pipeline.stats.bootstrap import bootstrap_means
from pipeline.stats.decisions import decide, decided_rightly
from pipeline.tables import DASH, LOW_HIGH, Column, Row, Table, interval, p_value, page, points

OUT = Path("errors")
RELABELLED = ["classifier", "treatment", "trained_without", "accuracy", "low", "high"]
RELABELLED += ["difference", "difference_low", "difference_high"]
MOST_SLICES = 40
"""Of the page."""


class ErrorsParams(BootstrapParams):
    min_rows: int = Field(20, ge=5)
    """Least number of tweets in a slice, near-duplicates counted once."""
    show: int = Field(50, ge=1)
    """Most confident errors of each classifier that are listed."""
    relabel: list[str] = Field(["naive_bayes", "logistic"])
    """Classifiers that take part, trained without the labels that are suspected."""


def compare_with_keep(
    scores: dict[Treatment, np.ndarray], suspects: float, train: pd.DataFrame, params: ErrorsParams
) -> list[list[object]]:
    """A row of `RELABELLED` for each treatment, without the classifier: its accuracy on the original labels, and minus `keep`."""
    targets, rows = train["target"].to_numpy(), []
    right = {how: (decide(targets, found) == targets).astype(float) for how, found in scores.items()}
    for how in scores:
        values = np.stack([right[how], right[how] - right["keep"]], axis=1)
        ends = bootstrap_means(values, train["group"].to_numpy(), params.draws, params.seed)
        measured = np.stack([values.mean(axis=0), *ends]).T.ravel()  # of both: the value, then its ends
        rows.append([how, 0 if how == "keep" else round(suspects), *measured])
    return rows


def relabelled(prepared: Prepared, params: ErrorsParams) -> pd.DataFrame:
    """What each treatment of suspected labels is worth to each classifier of `params.relabel`."""
    families = {name: family_of(name, "params.yaml: errors.relabel") for name in params.relabel}
    if params.relabel and prepared.train["fold"].nunique() < 3:
        raise InputError(
            "errors.relabel: labels are judged by models that two folds are kept from; set prepare.folds to 3"
        )
    rows = []
    for name, family in families.items():
        own = read_classifier_of(family.module, family.preset, "errors.relabel")
        treated = compare_treatments(own, own.with_inputs(prepared), name)
        rows += [[name, *row] for row in compare_with_keep(*treated, prepared.train, params)]
    return pd.DataFrame(rows, columns=RELABELLED)


def slices(rows: dict[str, pd.DataFrame], train: pd.DataFrame, params: ErrorsParams) -> pd.DataFrame:
    """What `judge_slices` says of each classifier, by the `scored_rows` of each; all cover all train rows."""
    masks, groups = slices_of(train, params.min_rows), train["group"].to_numpy()
    judged = [pd.DataFrame(columns=["classifier", "slice", "worse"])] if not (masks and rows) else []
    for name in tqdm(rows if masks else [], desc="errors", unit="classifier"):
        right = decided_rightly(rows[name]).to_numpy(dtype=float)
        found = judge_slices(right, masks, groups, params.draws, params.seed)
        found.insert(0, "classifier", name)
        judged.append(found)
    return pd.concat(judged)


# --- the page ---------------------------------------------------------------------------------------------------------


def minus_keep(row: Row) -> str:
    return DASH if row["treatment"] == "keep" else interval(row, "difference", "+.2f", 100)


ACCURACY = Column("Accuracy", "accuracy", ".3f", ends=LOW_HIGH)
WORSE = [
    Column("Slice", "slice"),
    Column("Texts", "rows", ",.0f"),
    Column("Classifiers worse there", "classifiers", ",.0f"),
    Column("Most so", "classifier"),
    replace(ACCURACY, title="Its accuracy"),
    points("Minus the rest, points"),
    Column("p", "p_holm", p_value),
]
APART = [
    Column("Twins", lambda row: f"{row['generative']}, {row['discriminative']}"),
    Column("Texts", "rows", ",.0f"),
    Column("The generative one right", "right", ",.0f"),
    Column("The discriminative one right", lambda row: row["rows"] - row["right"], ",.0f"),
]
TREATED = [
    CLASSIFIER,
    Column("Suspected labels", "treatment"),
    Column("Per training set", "trained_without", ",.0f"),
    ACCURACY,
    Column("Minus keep, points", minus_keep, order="difference"),
]


def worse_slices(slices: pd.DataFrame) -> pd.DataFrame:
    """The slices on which classifiers are worse than on the rest, those of most classifiers first; each by the worst of them."""
    worse = slices[slices["worse"].astype(bool)]
    counts = worse["slice"].value_counts().head(MOST_SLICES).rename("classifiers")
    lowest = worse.sort_values("difference", kind="stable").drop_duplicates("slice").set_index("slice")
    return counts.to_frame().join(lowest).reset_index()


def render(tables: dict[str, pd.DataFrame], classifiers: int, rows: int, labels: list[str], left_out: list[str]) -> str:
    slices, apart, noise = tables["slices"], tables["disagreements"], tables["label_noise"]
    intro = (
        f"{classifiers} classifiers that scored each of {rows:,} texts, out-of-fold, on {slices['slice'].nunique()} slices "
        "(`errors/slices.csv`). Intervals are by bootstrap over groups; p is Fisher's, a group counted as one text, after "
        "Holm's correction over the slices of a classifier."
    )
    parts = [intro]
    if len(slices) and slices["worse"].any():
        parts += [
            "Slices on which a classifier is worse than on the rest:",
            Table(worse_slices(slices), WORSE).markdown(),
        ]
    else:
        parts.append("On no slice is a classifier worse than on the rest.")
    if len(apart):
        pairs = pd.DataFrame(by_pair(apart), columns=[*SCHOOLS, "rows", "right"])
        said = "Texts that a generative classifier and its discriminative twin decide differently"
        parts += [f"{said} (`errors/disagreements.csv`):", Table(pairs, APART).markdown()]
    else:
        parts.append("No text is decided differently by twins: no two of them ran, or they agree on all.")
    surest, positive, conflicts = len(tables["confident_errors"]), (noise["target"] == 1).sum(), noise["conflict"].sum()
    suspects = (
        f"Confident learning suspects {len(noise):,} labels ({len(noise) / rows:.1%}; `errors/label_noise.csv`), "
        f"{int(positive):,} of them {labels[1]} by their label; {int(conflicts):,} have a near-duplicate with the other "
        "label. All rows stay, and are scored against the label that they came with."
    )
    parts += [f"The {surest:,} surest errors of all classifiers are in `errors/confident_errors.csv`.", suspects]
    if len(tables["relabelled"]):
        said = "What it is worth to drop or turn the labels that are suspected inside the training folds:"
        parts += [said, Table(tables["relabelled"], TREATED).markdown()]
    return page(*parts, *left_out)


def main() -> None:
    params, prepared = read_params("errors", ErrorsParams), read_prepared()
    train, labels = prepared.train, read_params("data", DataParams).labels
    classifiers, left_out = read_all(prepared)
    rows = {one.name: scored_rows(prepared, one) for one in classifiers}
    whole = {name: one for name, one in rows.items() if len(one) == len(train) and one["score"].notna().all()}
    scores = np.stack([one["score"].to_numpy() for one in whole.values()])
    probable = platt_scaled_mean(scores, train["target"].to_numpy(), train["fold"].to_numpy())
    tables = {
        "slices": slices(whole, train, params),
        "disagreements": disagreements(train, classifiers, read_params("twins", TwinsParams).pairs),
        "confident_errors": pd.concat(confident_errors(train, name, one, params.show) for name, one in rows.items()),
        "label_noise": list_suspects(train, probable),
        "relabelled": relabelled(prepared, params),
    }
    for name, table in tables.items():
        write_tweets(OUT / f"{name}.csv", table.round(5))
    write_text(OUT / "table.md", render(tables, len(whole), len(train), labels, left_out))
