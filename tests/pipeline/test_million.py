"""The benchmark of many rows makes what it says, and measures what a stage takes."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SAMPLE

from benchmarks import million
from pipeline.data.clean import clean, words
from pipeline.data.near_duplicates import group_near_duplicates


def test_rows_are_new_texts_in_groups_of_at_most_twenty() -> None:
    tweets = pd.read_csv(SAMPLE / "train.csv")
    made = million.make(tweets, 3000, seed=0)
    assert made["id"].tolist() == list(range(3000))
    assert not set(made["text"]) & set(tweets["text"])
    groups = group_near_duplicates(made["text"].map(clean).map(words).tolist(), 0.5)
    sizes = np.bincount(groups)
    assert 10 < sizes.max() <= million.LARGEST
    assert (sizes == 1).mean() > 0.5
    assert (made.groupby(groups)["target"].nunique() == 1).all(), "a text's near-duplicates carry its label"
    assert made.equals(million.make(tweets, 3000, seed=0))


def test_growth_is_held_against_n_log_n() -> None:
    rows = [10**4, 10**5, 10**6]
    for cpu, growth in ([0.001 * n * np.log(n) for n in rows], [1, 1]), ([1, 10, 1000], [0.8, 8.33]):
        made = pd.DataFrame({"rows": rows, "stage": "prepare", "cpu_seconds": cpu})
        assert million.with_growth(made)["n_log_n"].tolist()[1:] == pytest.approx(growth, abs=0.01)


@pytest.mark.slow
def test_the_four_stages_run_on_what_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rows", "1000", "--source", str(SAMPLE), "--scratch", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["million", *arguments])
    million.main()
    printed = capsys.readouterr().out
    assert all(f"{stage} " in printed for stage in million.STAGES)
    assert not list(tmp_path.iterdir()), "what is made is gone afterwards"
