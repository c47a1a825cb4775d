"""Raw tweets to prepared ones: validated, cleaned, grouped by near-duplicates and by the source's own groups, split into folds.

in:  data.source (train.csv, test.csv)
out: data/prepared/{train,test}.parquet, report.json and report.md
run: dvc repro prepare   (or python -m pipeline.stage data.prepare)
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from pipeline.contracts import PREPARED, InputError, Params, near_duplicates, read_params, write_text, written_whole
from pipeline.data.clean import clean, clean_keywords, units
from pipeline.data.folds import stratified_group_folds
from pipeline.data.near_duplicates import group_near_duplicates, merge_groups
from pipeline.data.source import DataParams, read_source

Conflicts = Literal["keep", "majority", "drop"]


class PrepareParams(Params):
    folds: int = Field(5, ge=2)
    seed: int = Field(0, ge=0, lt=2**32)
    near_duplicate: float = Field(0.5, gt=0, le=1)
    """Least overlap (Jaccard of words and word pairs) of two tweets that must not be split between folds."""
    conflicts: Conflicts = "keep"
    """What training does with near-duplicates that carry both labels; every row is scored against its own label."""


def assign_folds(targets: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each row, shape (n,): stratified by target, no group in two folds."""
    if folds > (rarest := min(len(np.unique(groups[targets == label])) for label in (0, 1))):
        raise InputError(
            f"params.yaml: prepare.folds: {folds} is too many; groups of tweets with the rarer label: {rarest}"
        )
    return stratified_group_folds(targets, groups, folds, seed).astype("int8")


def training_targets(targets: pd.Series, groups: pd.Series, conflicts: Conflicts) -> pd.Series:
    """What training may learn from: the target, its group's majority, or null for a row that is left out.

    Under `majority` a group whose labels are tied is left out, like every conflicting group under `drop`.
    """
    share = targets.groupby(groups).transform("mean")
    learned = targets.astype("Int8")
    if conflicts == "majority":
        return (share > 0.5).astype("Int8").mask(share == 0.5)
    return learned.mask((share > 0) & (share < 1)) if conflicts == "drop" else learned


def prepare(train: pd.DataFrame, test: pd.DataFrame, params: PrepareParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The prepared frames (see `Prepared`) of validated raw ones; groups are numbered over both."""
    tweets = pd.concat([train, test], ignore_index=True)
    cleaned = tweets["text"].map(lru_cache(clean))
    row_of, texts = pd.factorize(cleaned)
    duplicates = group_near_duplicates(map(units, texts), params.near_duplicate)[row_of]
    groups = merge_groups(duplicates, tweets["group"])
    tweets = tweets.assign(
        keyword=clean_keywords(tweets["keyword"]), raw_text=tweets["text"], text=cleaned, duplicate=duplicates
    )
    columns = ["id", "keyword", "location", "text", "raw_text", "group"]
    columns += ["duplicate"] if tweets["group"].notna().any() else []
    tweets["group"] = groups
    train, test = tweets.iloc[: len(train)], tweets.iloc[len(train) :][columns].reset_index(drop=True)
    target = train["target"].astype("int8")
    return train[columns].assign(
        target=target,
        train_target=training_targets(target, near_duplicates(train), params.conflicts),
        fold=assign_folds(target.to_numpy(), train["group"].to_numpy(), params.folds, params.seed),
    ), test


def describe(train: pd.DataFrame, test: pd.DataFrame, data: DataParams, given: pd.Series) -> dict[str, Any]:
    """The data report as nested numbers; `given` are the train rows' groups as the source has them."""
    duplicates = near_duplicates(train)
    sizes = duplicates.value_counts()
    labels = train.groupby(duplicates)["target"].nunique()
    lengths = train["text"].map(lambda text: len(text.split()))
    folds = train.groupby("fold")["target"].agg(["size", "mean"])
    by_column = {
        "column": data.columns.group,
        "values": int(given.nunique()),
        "rows_without": int(given.isna().sum()),
        "groups_with_near_duplicates_merged": int(train["group"].nunique()),
        "largest_group": int(train["group"].value_counts().max()),
        "test_rows_with_one_in_train": int(test["group"].isin(train["group"]).sum()),
    }
    return {
        "source": data.source,
        "labels": data.labels,
        "rows": {"train": len(train), "test": len(test)},
        "label_rate": round(float(train["target"].mean()), 4),
        "near_duplicates": {
            "groups": len(sizes),
            "rows_in_groups_of_two_or_more": int(sizes[sizes > 1].sum()),
            "largest_group": int(sizes.max()),
            "test_rows_with_one_in_train": int(near_duplicates(test).isin(duplicates).sum()),
        },
        **({"group_column": by_column} if data.columns.group else {}),
        "conflicts": {
            "groups_with_both_labels": int((labels > 1).sum()),
            "rows_in_them": int(sizes[labels[labels > 1].index].sum()),
            "rows_left_out_of_training": int(train["train_target"].isna().sum()),
        },
        "missing": {column: int(train[column].isna().sum()) for column in ("keyword", "location")},
        "words_per_tweet": {str(q): int(lengths.quantile(q / 100)) for q in (0, 5, 50, 95, 100)},
        "folds": {
            str(fold): {"rows": int(row["size"]), "label_rate": round(float(row["mean"]), 4)}
            for fold, row in folds.iterrows()
        },
    }


def flat(report: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The numbers of a nested report, each by its path."""
    for key, value in report.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from flat(value, f"{name}: ")
        else:
            yield name, " / ".join(value) if isinstance(value, list) else value


def main() -> None:
    data, params = read_params("data", DataParams), read_params("prepare", PrepareParams)
    raw_train, raw_test = read_source(data)
    train, test = prepare(raw_train, raw_test, params)
    report = describe(train, test, data, raw_train["group"])
    for name, frame in (("train", train), ("test", test)):
        with written_whole(PREPARED / f"{name}.parquet") as partial:
            frame.to_parquet(partial, index=False)
    table = "\n".join(f"| {name} | {value} |" for name, value in flat(report))
    write_text(PREPARED / "report.md", f"# The data\n\n| what | value |\n|---|---|\n{table}\n")
    write_text(PREPARED / "report.json", json.dumps(report, indent=2) + "\n")
    print(
        f"prepare: {len(train)} train and {len(test)} test tweets, {report['near_duplicates']['groups']} distinct in train"
    )
