"""Rows that share a value of the source's group column are never split, and count as near-duplicates nowhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, set_param

from pipeline.contracts import near_duplicates, read_prepared
from pipeline.data.near_duplicates import merge_groups
from pipeline.data.prepare import PrepareParams, main, prepare
from pipeline.data.source import DataParams, read_source
from pipeline.prompting.examples import choose_retrieved, pool_of

TRAIN = """id,text,target,author
1,The harbour burns,1,ann
2,Soup for dinner,0,ann
3,A quake in the hills,1,
4,Nothing on tonight,0,
5,the harbour burns!,1,bob
6,My bus is late,0,bob
7,Rain and more rain,0,cy
8,Roof fell in,1,cy
9,Soup for dinner,1,dee
"""
TEST = "id,text,author\n20,Who has my pen,cy\n21,Bus is late again today,eve\n"


@pytest.fixture
def by_author(tmp_path: Path, data_params: DataParams) -> DataParams:
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text(TEST)
    columns = data_params.columns.model_copy(update={"keyword": None, "location": None, "group": "author"})
    return data_params.model_copy(update={"source": str(tmp_path), "columns": columns})


def prepared(data: DataParams, **changes: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    params = PrepareParams(folds=2, seed=0, near_duplicate=0.5, conflicts="keep").model_copy(update=changes)
    return prepare(*read_source(data), params)


def test_groups_are_what_near_duplicates_and_values_connect() -> None:
    """0-1 are near-duplicates, 1 and 3 share a value, and 3-4 are near-duplicates; nulls connect nothing."""
    found = merge_groups(np.array([0, 0, 1, 2, 2, 3, 4]), pd.Series(["a", "b", None, "b", "c", None, "c"]))
    assert found.tolist() == [0, 0, 1, 0, 0, 2, 0]
    assert merge_groups(np.array([0, 1, 0]), pd.Series([None] * 3, dtype=object)).tolist() == [0, 1, 0]


def test_an_authors_rows_are_never_split(by_author: DataParams) -> None:
    train, test = prepared(by_author)
    groups = train.set_index("id")["group"]
    assert groups[[1, 2, 5, 6, 9]].nunique() == 1, "ann and bob wrote the same, ann and dee wrote the same"
    assert groups[[7, 8]].nunique() == 1
    assert groups.nunique() == 4, "rows without an author are alone"
    assert (train.groupby("group")["fold"].nunique() == 1).all()
    assert test["group"].tolist() == [groups[7], groups.max() + 1], "train and test share their authors"


def test_conflicts_are_those_of_near_duplicates(by_author: DataParams) -> None:
    """An author with both labels contradicts nobody: only the two soups do."""
    learned = prepared(by_author, conflicts="drop")[0].set_index("id")["train_target"]
    assert learned.index[learned.isna()].tolist() == [2, 9]
    train, _ = prepared(by_author)
    assert near_duplicates(train).nunique() == 7
    assert pool_of(train)["id"].tolist() == [1, 3, 4, 6, 7, 8], "each text once, whoever wrote it"


def test_no_example_is_by_the_author_of_the_question(by_author: DataParams) -> None:
    train, _ = prepared(by_author)
    pool = pool_of(train)
    vectors = np.tile([1.0, 0.0], (len(pool), 1))
    asked = train[train["id"] == 2]
    (shown,) = choose_retrieved(pool, vectors, asked, vectors[:1], 2)
    assert {one["group"] for one in shown} <= set(train["group"]) - set(asked["group"])
    assert len(shown) == 2


def test_the_data_report_counts_them(by_author: DataParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    set_param(tmp_path, "data", by_author.model_dump())
    set_param(tmp_path, "prepare.folds", 2)
    monkeypatch.chdir(tmp_path)
    main()
    report = json.loads(Path("data/prepared/report.json").read_text())
    assert report["group_column"] == {
        "column": "author",
        "values": 4,
        "rows_without": 2,
        "groups_with_near_duplicates_merged": 4,
        "largest_group": 5,
        "test_rows_with_one_in_train": 1,
    }
    assert report["near_duplicates"]["groups"] == 7
    assert report["conflicts"]["rows_in_them"] == 2
    assert "| group column: values | 4 |" in Path("data/prepared/report.md").read_text()
    assert "duplicate" in read_prepared().train
